package node

import (
	"encoding/hex"
	"errors"
	"fmt"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/web/api"
)

// SpaceStatuses implements api.Spaces.
func (b backend) SpaceStatuses() (out []api.SpaceStatus) {
	for _, s := range b.n.archive.SpaceStatuses() {
		out = append(out, b.spaceStatus(s))
	}
	return out
}

func (b backend) spaceStatus(s archive.SpaceStatus) api.SpaceStatus {
	x := api.SpaceStatus{Name: s.Name, Pools: append([]string{}, s.Pools...), State: string(s.State), Why: s.Why, Hint: s.Hint, Done: s.Done, Found: s.Total,
		Total: s.Usage.Total, Used: s.Usage.Used, Free: s.Usage.Free, Waiting: s.Waiting, Leaving: s.Leaving}
	if len(s.Pools) > 0 {
		x.Pool = s.Pools[0]
	}
	if x.Why == "" && !s.Low.IsZero() {
		x.Why, x.Hint = lowSpace(s)
		x.Since = s.Low.UnixMilli()
	}
	if s.ID != [16]byte{} {
		x.ID = hex.EncodeToString(s.ID[:])
	}
	if !s.Since.IsZero() {
		x.Since = s.Since.UnixMilli()
	}
	switch {
	case s.State != archive.SpaceScanning && s.State != archive.SpaceInitializing:
		x.Done, x.Found = 0, 0
	case s.Total > 0:
		x.Progress = float64(s.Done*100/s.Total) / 100
	}
	if p, ok := b.n.places.get(s.Name); ok {
		x.Driver, x.Path, x.Leaving = p.cfg.Driver, p.cfg.Path, x.Leaving || p.stays != nil
		x.Settings = spaceSettings(p.cfg)
		for k := range p.cfg.Settings {
			x.Settings[k] = config.Hidden // may be a password
		}
		delete(x.Settings, "path")
	}
	return x
}

// Pools implements api.Spaces.
func (b backend) Pools() (out []api.Pool, err error) {
	plan, err := b.RetentionOutlook()
	if err != nil {
		return nil, err
	}
	set := b.n.current.Load()
	for _, q := range b.n.archive.Pools() {
		p, ok := set.Archive.Pool(q.Name)
		if !ok { // still in use, though the settings do not have it
			p = poolInForce(&q)
		}
		x := api.Pool{Name: p.Name, Spaces: p.Spaces, Streams: []string{}, Leaving: !ok, Settings: poolSettings(&p)}
		for _, s := range plan.Streams {
			if s.Pool == p.Name {
				x.Streams = append(x.Streams, s.UID)
			}
		}
		for _, r := range b.n.streams.list() { // also those without footage yet
			if r.pool == p.Name && r.set.Config.DVR.Enable && !slices.Contains(x.Streams, r.set.UID) {
				x.Streams = append(x.Streams, r.set.UID)
			}
		}
		for _, q := range plan.Pools {
			if q.Name == p.Name {
				x.Total, x.Free, x.Locked, x.PerDay, x.Days, x.FullIn = q.Total, q.Free, q.Locked, q.PerDay, q.Days, q.FullIn
			}
		}
		out = append(out, x)
	}
	return out, nil
}

// poolSettings are the keys of a [pool.NAME] in ini notation, all but spaces.
func poolSettings(p *archive.PoolConfig) map[string]string {
	return map[string]string{
		"overwrite": yesNo(p.Overwrite), "days": config.FormatDuration(p.Days), "overwrite-free": p.OverwriteFree.String(), "alarm-free": p.AlarmFree.String(),
		"lock-max": p.LockMax.String(), "delete-most": p.DeleteMost.String(), "sign": yesNo(p.Sign), "encrypt": yesNo(p.Encrypt),
		"archive-to": p.ArchiveTo, "archive-after": config.FormatDuration(p.ArchiveAfter), "archive-at": p.ArchiveAt.String(), "archive-rate": config.FormatBytes(p.ArchiveRate),
		"groom-after": config.FormatDuration(p.GroomAfter), "stage": p.Stage,
	}
}

func yesNo(b bool) string {
	if b {
		return "true"
	}
	return "false"
}

// RestoreSpace implements api.Spaces.
func (b backend) RestoreSpace(name string) error {
	err := b.n.archive.RestoreSpace(name)
	if errors.Is(err, archive.ErrNoSuchSpace) {
		return api.ErrNoSpace
	}
	return err
}

// InitializeSpace implements api.Spaces.
func (b backend) InitializeSpace(name, confirm string, locked bool) (*api.SpaceContents, error) {
	c, err := b.n.archive.InitializeSpace(b.n.web.ctx, name, confirm, locked)
	var u *archive.UnconfirmedError
	switch {
	case errors.Is(err, archive.ErrNoSuchSpace):
		return nil, api.ErrNoSpace
	case errors.As(err, &u):
		p := u.Problem()
		return nil, &api.Unconfirmed{What: p.What, Hint: p.Hint, Contents: *apiContents(&u.Contents)}
	case err != nil:
		return nil, err
	}
	return apiContents(c), nil
}

func apiContents(c *archive.SpaceContents) *api.SpaceContents {
	out := &api.SpaceContents{Files: c.Files, Bytes: c.Bytes, Locked: c.Locked, Confirm: c.Confirm, Streams: []api.SpaceStream{}}
	if c.Files > 0 {
		out.From, out.To = c.Span.From.Milli(), c.Span.To.Milli()
	}
	for _, s := range c.Streams {
		out.Streams = append(out.Streams, api.SpaceStream{UID: s.UID, Files: s.Files, Bytes: s.Bytes, Locked: s.Locked, From: s.Span.From.Milli(), To: s.Span.To.Milli()})
	}
	return out
}

// slowProblem says that a space does not sync as often as it should, if so.
func slowProblem(s archive.SpaceStatus) (api.Problem, bool) {
	return api.Problem{Level: "warning", Where: "space " + s.Name, Since: s.SlowSince.UnixMilli(),
		What: fmt.Sprintf("a sync takes %s, longer than fsync allows: a power cut loses up to that much more", s.Slow.Round(time.Millisecond)),
		Hint: "see whether the disk fails or something else keeps it busy; a space on a mount of its own is synced with one call; or raise fsync in [space." + s.Name + "]"}, s.Slow > 0
}

// staysProblem tells of files that a rule took and that lie there still.
func staysProblem(s archive.SpaceStatus) api.Problem {
	what := s.StaysOne + " cannot be deleted"
	if s.Stays > 1 {
		what = fmt.Sprintf("%d files cannot be deleted, one of them %s", s.Stays, s.StaysOne)
	}
	return api.Problem{Level: "warning", Where: "space " + s.Name, What: what + ": " + s.StaysWhy,
		Hint: "see whose it is, and whether it is immutable (lsattr); other files go, and it is tried again in every pass"}
}

// spaceProblem says what ails a space, if anything does.
func spaceProblem(s archive.SpaceStatus) (api.Problem, bool) {
	p := api.Problem{Level: "error", Where: "space " + s.Name, What: s.Why, Hint: s.Hint}
	if !s.Since.IsZero() {
		p.Since = s.Since.UnixMilli()
	}
	switch s.State {
	case archive.SpaceFull:
		p.What, p.Hint = "the space is full and nothing in it may be deleted", "end locks that are no longer needed (media-server lock list), write overwrite = true in its pool, or add a space to it"
		return p, true
	case archive.SpaceLost, archive.SpaceFailing, archive.SpaceReadOnly:
		if p.Hint == "" {
			p.Hint = "frames wait in memory and in the drivers meanwhile; mend the disk or name another space in the pool"
		}
		return p, true
	}
	if !s.Low.IsZero() {
		p.Level, p.Since = "warning", s.Low.UnixMilli()
		p.What, p.Hint = lowSpace(s)
		return p, true
	}
	return p, false
}

// lowSpace says that less than alarm-free is free.
func lowSpace(s archive.SpaceStatus) (what, hint string) {
	return fmt.Sprintf("%d of %d MB are free, less than alarm-free (%d MB), and deleting the oldest footage does not help or is not allowed", s.Usage.Free>>20, s.Usage.Total>>20, s.AlarmFree>>20),
		"look what else takes the disk, what locks keep (media-server lock list) and whether the pool may overwrite; or add a space to the pool"
}
