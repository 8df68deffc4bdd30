package node

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/retain"
	"media-server/core/config"
	"media-server/core/media"
	"media-server/core/web/api"
)

// always is all of time.
var always = media.Span{From: -1 << 62, To: 1<<63 - 1}

// Locks implements api.Locks.
func (b backend) Locks(uid string) (out []api.Lock) {
	for _, l := range b.n.archive.Locks(uid, always) {
		out = append(out, apiLock(l))
	}
	return out
}

func apiLock(l archive.Lock) api.Lock {
	x := api.Lock{ID: l.ID.String(), UID: l.UID, From: l.Span.From.Milli(), To: l.Span.To.Milli(), Reason: l.Reason, Who: l.Who, Made: l.Made.Milli()}
	if l.Until != 0 {
		x.Until = l.Until.Milli()
	}
	return x
}

// AddLock implements api.Locks.
func (b backend) AddLock(uid string, l api.NewLock) (api.Lock, error) {
	made, err := b.n.archive.AddLock(b.n.web.ctx, archive.Lock{UID: uid, Span: l.Span, Reason: l.Reason, Who: l.Who, Until: l.Until})
	return apiLock(made), err
}

// RemoveLock implements api.Locks.
func (b backend) RemoveLock(uid, id, who string) error {
	n, ok := archive.ParseLockID(id)
	if !ok {
		return api.ErrNoLock
	}
	err := b.n.archive.RemoveLock(b.n.web.ctx, uid, n, who)
	if errors.Is(err, archive.ErrNoLock) {
		return api.ErrNoLock
	}
	return err
}

// RetentionHeld implements api.Retention.
func (b backend) RetentionHeld() (out []api.HeldBack) {
	for _, h := range b.n.archive.Held() {
		out = append(out, api.HeldBack{UID: h.UID, Space: h.Space, Why: h.Why, Files: h.Files, Goes: h.Goes, Bytes: h.Bytes, Since: h.Since.UnixMilli()})
	}
	slices.SortFunc(out, func(x, y api.HeldBack) int {
		return cmp.Or(strings.Compare(x.UID, y.UID), strings.Compare(x.Space, y.Space))
	})
	return out
}

// RetentionOutlook implements api.Retention.
func (b backend) RetentionOutlook() (*api.RetentionPlan, error) {
	p, err := b.n.archive.Outlook()
	if err != nil {
		return nil, err
	}
	return apiPlan(p), nil
}

// ConfirmRetention implements api.Retention.
func (b backend) ConfirmRetention(uid string) bool { return b.n.archive.ConfirmRetention(uid) }

// ConfirmSpace implements api.Retention.
func (b backend) ConfirmSpace(name string) bool { return b.n.archive.ConfirmSpace(name) }

// RetentionPreview implements api.Retention.
func (b backend) RetentionPreview(c api.RetentionChanges) (*api.RetentionPlan, error) {
	ch := archive.Changes{Streams: map[string]archive.Rules{}, Days: map[string]time.Duration{}, Groom: map[string]time.Duration{},
		OverwriteFree: map[string]archive.Threshold{}, Overwrite: map[string]bool{}, Limits: map[string]archive.Limits{}}
	for uid, keys := range c.Streams {
		r, ok := b.n.archive.RulesOf(uid)
		if !ok {
			return nil, fmt.Errorf("there is no stream %q with footage", uid)
		}
		if err := tryRules(&r, keys, b.n.current.Load().Archive); err != nil {
			return nil, fmt.Errorf("streams.%s: %w", uid, err)
		}
		ch.Streams[uid] = r
	}
	for name, keys := range c.Pools {
		if _, ok := b.n.current.Load().Archive.Pool(name); !ok {
			return nil, fmt.Errorf("there is no pool %q", name)
		}
		for k, v := range keys {
			if err := tryPool(&ch, name, k, v); err != nil {
				return nil, fmt.Errorf("pools.%s: %s = %s: %w", name, k, v, err)
			}
		}
	}
	for name, keys := range c.Spaces {
		x, ok := b.n.places.get(name)
		if !ok {
			return nil, fmt.Errorf("there is no space %q", name)
		}
		l := limitsOf(x.cfg)
		for k, v := range keys {
			if err := tryLimit(&l, k, v); err != nil {
				return nil, fmt.Errorf("spaces.%s: %s = %s: %w", name, k, v, err)
			}
		}
		ch.Limits[name] = l
	}
	p, err := b.n.archive.Preview(b.n.web.ctx, ch)
	if err != nil {
		return nil, err
	}
	return apiPlan(p), nil
}

// tryPool notes a key of a pool that is to be tried.
func tryPool(ch *archive.Changes, name, k, v string) (err error) {
	switch k {
	case "days":
		ch.Days[name], err = config.ParseDuration(v)
	case "groom-after":
		ch.Groom[name], err = config.ParseDuration(v)
	case "overwrite-free":
		var size config.Size
		size, err = config.ParseSize(v)
		ch.OverwriteFree[name] = thresholdOf(size)
	case "overwrite":
		if v != "true" && v != "false" {
			return errors.New("write true or false")
		}
		ch.Overwrite[name] = v == "true"
	default:
		return errors.New("it cannot be tried; keys: days, groom-after, overwrite-free, overwrite")
	}
	return err
}

// tryLimit changes a limit of a space as its key would.
func tryLimit(l *archive.Limits, k, v string) error {
	size, err := config.ParseSize(v)
	switch {
	case k != "size-limit" && k != "reserve":
		return errors.New("it cannot be tried; keys: size-limit, reserve")
	case err != nil:
		return err
	case k == "size-limit":
		l.Size = thresholdOf(size)
	default:
		l.Reserve = thresholdOf(size)
	}
	return nil
}

// tryRules changes rules as keys of a stream file would.
func tryRules(r *archive.Rules, keys map[string]string, set archive.Config) (err error) {
	for k, v := range keys {
		switch k {
		case "dvr-duration":
			r.Duration, err = config.ParseDuration(v)
		case "dvr-keep":
			r.Keep, err = config.ParseDuration(v)
		case "dvr-capacity":
			var size config.Size
			if size, err = config.ParseSize(v); size.Percent != 0 {
				err = fmt.Errorf("a number of bytes is wanted, for example 100G")
			}
			r.Capacity = size.Bytes
		case "dvr-pool":
			if _, ok := set.Pool(v); !ok {
				err = fmt.Errorf("there is no pool %q", v)
			}
			r.Pool = v
		default:
			return fmt.Errorf("%q cannot be tried; keys: dvr-duration, dvr-keep, dvr-capacity, dvr-pool", k)
		}
		if err != nil {
			return fmt.Errorf("%s = %s: %w", k, v, err)
		}
	}
	return nil
}

func apiPlan(p *archive.Preview) *api.RetentionPlan {
	out := &api.RetentionPlan{Now: p.At.Milli(), Streams: []api.RetentionStream{}, Pools: []api.RetentionPool{}}
	for _, s := range p.Streams {
		x := api.RetentionStream{UID: s.UID, Pool: s.Pool, Bytes: s.Bytes, PerDay: s.PerDay, Locked: s.Locked, Days: inDays(s.Kept), LimitedBy: s.By,
			Deletes: s.Deletes, Goes: s.Goes, Why: s.Why, Asks: s.Held, Broken: s.Broken, KeepDays: inDays(s.Keep),
			Short: s.By != "" && s.Kept < s.Keep, Grooms: s.Grooms, GroomBytes: s.GroomBytes, GroomGain: s.GroomGain}
		if !s.Span.Empty() {
			x.First, x.Last = s.Span.From.Milli(), s.Span.To.Milli()
		}
		if s.Deletes > 0 {
			x.GoneFrom, x.GoneTo = s.Gone.From.Milli(), s.Gone.To.Milli()
		}
		out.Deletes += s.Deletes
		out.Goes += s.Goes
		out.Grooms += s.Grooms
		out.GroomGain += s.GroomGain
		out.Streams = append(out.Streams, x)
	}
	for _, q := range p.Pools {
		out.Pools = append(out.Pools, api.RetentionPool{Name: q.Name, Total: q.Total, Free: q.Free, Usable: q.Usable, Locked: q.Locked, PerDay: q.PerDay,
			Overwrite: q.Overwrite, Days: inDays(q.Kept), FullIn: inDays(q.Full)})
	}
	for _, s := range p.Spaces {
		out.Spaces = append(out.Spaces, api.RetentionSpace{Name: s.Name, Total: s.Total, Free: max(s.Free, 0), Over: max(-s.Free, 0), Deletes: s.Deletes, Goes: s.Goes, Why: s.Why, Asks: s.Held})
	}
	return out
}

// inDays rounds to hundredths of a day, a quarter of an hour.
func inDays(d time.Duration) float64 { return float64(d/(864*time.Second)) / 100 }

// retentionProblems are rules that wait for somebody, locks that leave too
// little room, and streams that are not kept as promised.
func (b backend) retentionProblems() (out []api.Problem) {
	for _, h := range b.RetentionHeld() {
		if h.Space != "" {
			out = append(out, heldSpaceProblem(&h))
			continue
		}
		out = append(out, api.Problem{Level: "warning", Where: "stream " + h.UID, UID: h.UID, Since: h.Since,
			What: fmt.Sprintf("%s would delete %d of %d MB at once; nothing of the stream is deleted by rule until somebody confirms", h.Why, h.Goes>>20, h.Bytes>>20),
			Hint: "look with: media-server retention preview; then correct the setting, or: media-server retention confirm " + h.UID})
	}
	alarms := b.n.archive.LockAlarms()
	slices.SortFunc(alarms, func(x, y archive.LockAlarm) int { return strings.Compare(x.Pool, y.Pool) })
	for _, l := range alarms {
		out = append(out, api.Problem{Level: "warning", Where: "pool " + l.Pool,
			What: fmt.Sprintf("locks keep %d of %d MB; other footage will have to go after %s", l.Locked>>20, l.Usable>>20, l.Kept.Round(time.Hour)),
			Hint: "remove locks that are no longer needed (media-server lock list), or add a space to the pool"})
	}
	for _, k := range b.n.archive.KeepAlarms() {
		out = append(out, keepProblem(&k))
	}
	if b.exportPending() {
		out = append(out, api.Problem{Level: "warning", Where: "[keys]", What: "the signing key has not been saved elsewhere",
			Hint: "run: media-server keys export -o FILE, and keep the file apart from this machine"})
	}
	out = append(out, b.keyProblems()...)
	if b.n.backups != nil {
		out = append(out, b.n.backups.problems()...)
	}
	if b.n.archive.RetentionWaits() {
		out = append(out, api.Problem{Level: "warning", Where: "state.db", What: "it is not known yet what is locked: nothing is deleted by rule until the ledgers of all spaces have been read",
			Hint: "normally over within seconds of a first start; if not, a space is away: bring it back, or remove its [space.NAME]"})
	}
	return out
}

// heldSpaceProblem says what a setting of a space, or a threshold of its pool,
// would delete there.
func heldSpaceProblem(h *api.HeldBack) api.Problem {
	return api.Problem{Level: "warning", Where: "space " + h.Space, Since: h.Since,
		What: fmt.Sprintf("%s would delete %d of %d MB at once; no more is deleted than recording needs until somebody confirms", h.Why, h.Goes>>20, h.Bytes>>20),
		Hint: "look with: media-server retention preview; then correct the setting, or: media-server retention confirm --space " + h.Space}
}

// keepProblem says that a stream will not be kept, or was not, as dvr-keep
// promises, and what keeps it longer.
func keepProblem(k *archive.KeepAlarm) api.Problem {
	p := api.Problem{Level: "warning", Where: "stream " + k.UID, UID: k.UID, Hint: "add a space to its pool, record less, or lower dvr-keep"}
	since := k.Risk
	if !k.Risk.IsZero() {
		p.What = fmt.Sprintf("footage will be kept for %.1f days, by %s; dvr-keep promises %.1f days", inDays(k.Kept), k.By, inDays(k.Keep))
		switch retain.Why(k.By) {
		case retain.Age:
			p.Hint = "raise dvr-duration, or lower dvr-keep"
		case retain.PoolDays:
			p.Hint = "raise days in [pool." + k.Pool + "], or lower dvr-keep"
		case retain.Capacity:
			p.Hint = "raise dvr-capacity, lower the camera's bit rate, or lower dvr-keep"
		case retain.SpaceFree:
			p.Hint = "add a space to pool " + k.Pool + ", lower bit rates, end locks that are no longer needed (media-server lock list), or lower dvr-keep"
		}
	}
	if !k.Broken.IsZero() {
		since = k.Broken
		if p.What != "" {
			p.What = "footage went earlier than dvr-keep promises; " + p.What
		} else {
			p.What = "footage went earlier than dvr-keep promises"
		}
	}
	p.Since = since.UnixMilli()
	return p
}
