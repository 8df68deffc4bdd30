package node

import (
	"encoding/hex"
	"errors"

	"media-server/core/archive"
	"media-server/core/config"
	"media-server/core/web/api"
)

// SpaceStatuses implements api.Spaces.
func (b backend) SpaceStatuses() (out []api.SpaceStatus) {
	for _, s := range b.n.archive.SpaceStatuses() {
		x := api.SpaceStatus{Name: s.Name, Pool: s.Pool, State: string(s.State), Why: s.Why, Hint: s.Hint, Done: s.Done, Found: s.Total,
			Total: s.Usage.Total, Used: s.Usage.Used, Free: s.Usage.Free, Waiting: s.Waiting}
		if s.ID != [16]byte{} {
			x.ID = hex.EncodeToString(s.ID[:])
		}
		if !s.Since.IsZero() {
			x.Since = s.Since.UnixMilli()
		}
		if s.State != archive.SpaceScanning {
			x.Done, x.Found = 0, 0
		} else if s.Total > 0 {
			x.Progress = float64(s.Done*100/s.Total) / 100
		}
		for _, c := range b.n.boot.Archive.Spaces {
			if c.Name == s.Name {
				x.Driver, x.Path = c.Driver, c.Path
			}
		}
		out = append(out, x)
	}
	return out
}

// Pools implements api.Spaces.
func (b backend) Pools() (out []api.Pool, err error) {
	plan, err := b.RetentionOutlook()
	if err != nil {
		return nil, err
	}
	set := b.n.boot
	for _, p := range set.Archive.Pools {
		x := api.Pool{Name: p.Name, Spaces: p.Spaces, Streams: []string{}, Settings: map[string]string{
			"overwrite": yesNo(p.Overwrite), "days": config.FormatDuration(p.Days), "overwrite-free": p.OverwriteFree.String(), "alarm-free": p.AlarmFree.String(),
			"lock-max": p.LockMax.String(), "delete-most": p.DeleteMost.String(), "sign": yesNo(p.Sign)}}
		for _, s := range plan.Streams {
			if s.Pool == p.Name {
				x.Streams = append(x.Streams, s.UID)
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

// spaceProblem says what ails a space, if anything does.
func spaceProblem(s archive.SpaceStatus) (api.Problem, bool) {
	p := api.Problem{Level: "error", Where: "space " + s.Name, What: s.Why, Hint: s.Hint}
	if !s.Since.IsZero() {
		p.Since = s.Since.UnixMilli()
	}
	switch s.State {
	case archive.SpaceFull:
		p.What, p.Hint = "the space is full and nothing in it may be deleted", "free space, lower dvr-keep, or add a space to the pool"
		return p, true
	case archive.SpaceLost, archive.SpaceFailing, archive.SpaceReadOnly:
		if p.Hint == "" {
			p.Hint = "frames wait in memory and in the drivers meanwhile; mend the disk or name another space in the pool"
		}
		return p, true
	}
	return p, false
}
