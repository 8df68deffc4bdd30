package archive

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/media"
)

// Changes are rules that are not in force, to be tried; nil maps change
// nothing. Days: 0 = no limit.
type Changes struct {
	Streams map[string]Rules         // by uid, whole
	Days    map[string]time.Duration // longest time kept, by pool
	Groom   map[string]time.Duration // age at which files keep key frames only, by pool; 0 = never

	OverwriteFree map[string]Threshold // by pool
	Overwrite     map[string]bool      // likewise
	Limits        map[string]Limits    // by space, whole
}

// Preview is what rules would do if they were in force now.
type Preview struct {
	At      media.Wall
	Streams []StreamPreview // by uid
	Pools   []PoolPreview
	Spaces  []SpacePreview
}

// SpacePreview is what thresholds and limits would delete in one space.
type SpacePreview struct {
	Name    string
	Total   int64 // by its settings; 0 = the space has not told
	Free    int64 // likewise; negative: it holds so much more than it may
	Deletes int   // files that would go for want of room now
	Goes    int64 // their bytes
	Held    bool  // delete-most asks for a confirmation first
	Why     string
}

// StreamPreview is one stream of a Preview.
type StreamPreview struct {
	UID    string
	Pool   string
	Bytes  int64      // of sealed footage
	Span   media.Span // of it
	PerDay int64      // bytes that come in a day, as lately
	Locked int64      // bytes that locks keep
	Kept   time.Duration
	By     string // rule that limits Kept; "" = nothing does, or nothing comes

	Deletes int           // files that would go now
	Goes    int64         // their bytes
	Gone    media.Span    // from the first to the last of them
	Why     []string      // rules that take them
	Held    bool          // delete-most asks for a confirmation first
	Broken  bool          // dvr-keep is not held
	Keep    time.Duration // dvr-keep

	Grooms     int   // files that are old enough to keep their key frames only
	GroomBytes int64 // what they take now
	GroomGain  int64 // bytes of that which will go, estimated
}

// PoolPreview is one pool of a Preview.
type PoolPreview struct {
	Name      string
	Total     int64 // of the spaces that have told
	Free      int64
	Usable    int64 // what footage may take
	Locked    int64
	PerDay    int64
	Kept      time.Duration // age at which footage goes for want of room; 0 = the streams' rules are shorter
	Full      time.Duration // where nothing is overwritten: until it is full; 0 = never
	Overwrite bool
}

// Preview tells what the rules, changed so, would delete now, and how long each
// stream would be kept. It changes nothing. It reads a row of the catalogue for
// each file that would go: a few seconds for a million.
func (a *Archive) Preview(ctx context.Context, c Changes) (*Preview, error) {
	now := media.WallOf(time.Now())
	w := wish{every: true,
		rules: func(uid string, r Rules) Rules {
			if n, ok := c.Streams[uid]; ok {
				return n
			}
			return r
		},
		pool: func(p Pool) Pool {
			if d, ok := c.Days[p.Name]; ok {
				p.Days = d
			}
			if d, ok := c.Groom[p.Name]; ok {
				p.GroomAfter = d
			}
			if t, ok := c.OverwriteFree[p.Name]; ok {
				p.OverwriteFree = t
			}
			if yes, ok := c.Overwrite[p.Name]; ok {
				p.Overwrite = yes
			}
			return p
		},
		space: func(name string, l Limits) Limits {
			if n, ok := c.Limits[name]; ok {
				return n
			}
			return l
		}}
	streams, err := a.retainStreams(now, w)
	if err != nil {
		return nil, err
	}
	pressure, _, err := a.pressure(ctx, nil, w, false)
	if err != nil {
		return nil, err
	}
	plan := retain.Plan(now, streams, pressure)
	if len(plan.Held)+len(plan.HeldSpaces) > 0 { // what would go is the question
		ask := make([]retain.Stream, len(streams))
		for i, s := range streams {
			s.Most = 0
			ask[i] = s
		}
		free := slices.Clone(pressure)
		for i := range free {
			free[i].Most = 0
		}
		held, spaces := plan.Held, plan.HeldSpaces
		plan = retain.Plan(now, ask, free)
		plan.Held, plan.HeldSpaces = held, spaces
	}
	out, err := a.outlook(now, w, plan.Delete)
	if err != nil {
		return nil, err
	}
	by := map[string][]retain.Deletion{}
	for _, d := range plan.Delete {
		by[d.Stream] = append(by[d.Stream], d)
	}
	for i := range out.Streams {
		out.Streams[i].apply(&plan, by[out.Streams[i].UID])
	}
	out.Spaces = a.spacePreviews(&plan, w)
	return out, nil
}

func (a *Archive) spacePreviews(plan *retain.Result, w wish) (out []SpacePreview) {
	for _, s := range a.allSpaces() {
		s.mu.Lock()
		u := s.usage
		s.mu.Unlock()
		v := s.measured(u, w)
		x := SpacePreview{Name: s.cfg.Name, Total: v.Total, Free: v.Free}
		for i := range plan.Delete {
			if d := &plan.Delete[i]; d.Space == x.Name && d.Why == retain.SpaceFree {
				x.Deletes++
				x.Goes += d.Size
				x.Why = string(d.Why)
			}
		}
		for _, h := range plan.HeldSpaces {
			if h.Space == x.Name {
				x.Held, x.Why = true, string(h.Why)
			}
		}
		out = append(out, x)
	}
	return out
}

func (s *StreamPreview) apply(plan *retain.Result, dels []retain.Deletion) {
	for i := range dels {
		d := &dels[i]
		if s.Deletes == 0 {
			s.Gone = d.Span
		}
		s.Deletes++
		s.Goes += d.Size
		s.Gone = media.Span{From: min(s.Gone.From, d.Span.From), To: max(s.Gone.To, d.Span.To)}
		if !slices.Contains(s.Why, string(d.Why)) {
			s.Why = append(s.Why, string(d.Why))
		}
	}
	s.Held = slices.ContainsFunc(plan.Held, func(h retain.Held) bool { return h.UID == s.UID })
	s.Broken = slices.Contains(plan.Broken, s.UID)
}

// Outlook is how long each stream will be kept, and how full pools will get, as
// things are.
func (a *Archive) Outlook() (*Preview, error) {
	return a.outlook(media.WallOf(time.Now()), wish{}, nil)
}

// outlook looks ahead; del is what goes now.
func (a *Archive) outlook(now media.Wall, w wish, del []retain.Deletion) (*Preview, error) {
	all, err := a.catStreams()
	if err != nil {
		return nil, err
	}
	grooms, err := a.groomPlan(now, w, del)
	if err != nil {
		return nil, err
	}
	out := &Preview{At: now}
	var facts []retain.StreamFacts
	locked := map[string]int64{} // by pool
	for _, c := range all {
		r := w.rulesOf(c.uid, c.rules)
		s := StreamPreview{UID: c.uid, Pool: r.Pool, Keep: r.Keep}
		rs := retain.Stream{Duration: r.Duration}
		var stops []retain.Stop
		var groom time.Duration
		if p, err := a.pool(r.Pool); err == nil {
			s.Pool, rs.Days = p.Name, w.poolOf(*a.lastPool(p)).Days // footage is moved on, not deleted, before that
			stops, groom = a.stops(p, w)
		}
		if s.Bytes, err = a.usageOf(c.uid, c.id); err != nil {
			return nil, err
		}
		s.Span, _ = a.cat.bounds(c.uid)
		if s.PerDay, err = a.perDay(c.id, now); err != nil {
			return nil, err
		}
		if s.Locked, err = a.lockedBytes(c.uid); err != nil {
			return nil, err
		}
		if err := a.lockedAt(locked, c.uid, a.locks.spans(c.uid), stops, now); err != nil {
			return nil, err
		}
		f := retain.StreamFacts{UID: c.uid, Stops: stops, PerDay: s.PerDay, Capacity: r.Capacity}
		f.Limit, f.By = rs.Limit()
		grooms.apply(&s)
		f.Gain = s.GroomGain
		if f.GroomAfter = groom; groom > 0 {
			f.Stays = a.share(c.uid)
		}
		out.Streams, facts = append(out.Streams, s), append(facts, f)
	}
	named := a.allPools()
	shares := sharesOf(named, facts)
	pools := make([]retain.PoolFacts, len(named))
	for i := range named {
		p := w.poolOf(named[i])
		x := PoolPreview{Name: p.Name, Locked: locked[p.Name], Overwrite: p.Overwrite}
		var left int64
		x.Total, x.Free, x.Usable, left = a.room(&p, shares, w)
		out.Pools = append(out.Pools, x)
		pools[i] = retain.PoolFacts{Name: p.Name, Usable: x.Usable, Left: left, Locked: x.Locked, Overwrite: p.Overwrite}
	}
	ss, ps := retain.Forecast(pools, facts)
	for i := range ss {
		out.Streams[i].Kept, out.Streams[i].By = ss[i].Kept, string(ss[i].By)
	}
	for i := range ps {
		out.Pools[i].PerDay, out.Pools[i].Kept, out.Pools[i].Full = ps[i].PerDay, ps[i].Kept, ps[i].Full
	}
	slices.SortFunc(out.Streams, func(x, y StreamPreview) int { return cmp.Compare(x.UID, y.UID) })
	return out, nil
}

// sharesOf is which part of a space that several pools share each of them may
// reckon with: as much as comes into it in a day. A space of one pool is all its.
func sharesOf(pools []Pool, streams []retain.StreamFacts) func(pool, space string) float64 {
	rate := map[string]float64{}
	for _, s := range streams {
		for _, stop := range s.Stops {
			rate[stop.Pool] += float64(s.PerDay)
		}
	}
	return func(pool, space string) float64 {
		n, sum := 0, 0.0
		for i := range pools {
			if slices.Contains(pools[i].Spaces, space) {
				n++
				sum += rate[pools[i].Name]
			}
		}
		if sum == 0 {
			return 1 / float64(max(n, 1))
		}
		return rate[pool] / sum
	}
}

// atHours is how much later than its age footage moves on where it does so at
// hours: at the next of them.
const atHours = 24 * time.Hour

// stops are the pools that footage recorded in p passes through, and the age at
// which it is groomed on the way; 0 = nowhere.
func (a *Archive) stops(p *Pool, w wish) (out []retain.Stop, groom time.Duration) {
	from := time.Duration(0)
	for range a.allPools() { // a circle is refused by the settings; here it only ends
		x := w.poolOf(*p)
		out = append(out, retain.Stop{Pool: x.Name, From: from})
		next, err := a.pool(x.ArchiveTo)
		on := x.ArchiveTo != "" && err == nil
		leaves := x.ArchiveAfter
		if len(x.ArchiveAt) > 0 {
			leaves += atHours
		}
		if g := max(x.GroomAfter, from); groom == 0 && x.GroomAfter > 0 && (!on || g < leaves) {
			groom = g
		}
		if !on {
			break
		}
		p, from = next, max(leaves, from)
	}
	return out, groom
}

// lockedAt adds what locks keep of a stream to the pools of its stops. What is
// recorded later comes to the first of them.
func (a *Archive) lockedAt(sums map[string]int64, uid string, locks []media.Span, stops []retain.Stop, now media.Wall) error {
	seen := map[FileID]bool{}
	for _, sp := range locks {
		for k, stop := range stops {
			part := sp
			if k > 0 {
				part.To = min(sp.To, now.Add(-stop.From))
			}
			if k+1 < len(stops) {
				part.From = max(part.From, now.Add(-stops[k+1].From))
			}
			if part.Empty() {
				continue
			}
			sums[stop.Pool] += 0
			err := a.cat.sizes(uid, part, func(id FileID, size int64) {
				if !seen[id] {
					seen[id] = true
					sums[stop.Pool] += size
				}
			})
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// room is the size of a pool's spaces, what is free in them, what footage of the
// pool may take of them, and what of that is not taken.
func (a *Archive) room(p *Pool, share func(pool, space string) float64, w wish) (total, free, usable, left int64) {
	for _, name := range p.Spaces {
		s := a.space(name)
		if s == nil {
			continue
		}
		s.mu.Lock()
		u := s.usage
		s.mu.Unlock()
		u = s.measured(u, w)
		total, free = total+u.Total, free+max(u.Free, 0)
		keep := int64(0) // above the reserve
		if p.Overwrite {
			keep = p.OverwriteFree.Of(u.Total)
		}
		part := share(p.Name, name)
		usable += int64(float64(max(0, u.Used+u.Free-keep)) * part)
		left += int64(float64(max(0, u.Free-keep)) * part)
	}
	return total, free, usable, left
}

// perDay is how many bytes of a stream came in a day, over the last week or as
// long as it has been recorded; of one that was recorded a while ago nothing
// comes any more. What has been groomed does not tell how much came.
func (a *Archive) perDay(id int64, now media.Wall) (int64, error) {
	var first, last, sum sql.NullInt64
	err := a.cat.reader().QueryRow("SELECT min(t0), max(t1), sum(size) FROM files WHERE stream = ? AND t0 >= ? AND flags & 19 = 0", id, int64(now.Add(-7*24*time.Hour))).Scan(&first, &last, &sum)
	if err != nil || !first.Valid || now.Sub(media.Wall(last.Int64)) > 24*time.Hour {
		return 0, err
	}
	d := max(now.Sub(media.Wall(first.Int64)), time.Minute)
	return int64(float64(sum.Int64) / float64(d) * float64(24*time.Hour)), nil
}
