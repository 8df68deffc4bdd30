package archive

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/media"
)

// wish changes rules before a plan is made of them, to see what would happen;
// nil fields change nothing.
type wish struct {
	rules func(uid string, r Rules) Rules
	pool  func(p Pool) Pool
	space func(name string, l Limits) Limits
	every bool // list every file that would go, not only as many as one pass takes
}

func (w *wish) rulesOf(uid string, r Rules) Rules {
	if w.rules == nil {
		return r
	}
	return w.rules(uid, r)
}

func (w *wish) poolOf(p Pool) Pool {
	if w.pool == nil {
		return p
	}
	return w.pool(p)
}

func (w *wish) limitsOf(space string, l Limits) Limits {
	if w.space == nil {
		return l
	}
	return w.space(space, l)
}

// catStream is a stream of the catalogue with its rules.
type catStream struct {
	id    int64
	uid   string
	rules Rules
}

func (a *Archive) catStreams() (out []catStream, err error) {
	err = each(a.cat.reader(), "SELECT id, uid, rules FROM streams", func(rows *sql.Rows) error {
		var s catStream
		var text string
		err := rows.Scan(&s.id, &s.uid, &text)
		s.rules = parseRules(text)
		out = append(out, s)
		return err
	})
	return out, err
}

// retainStreams collects what the rules of each stream need to know.
func (a *Archive) retainStreams(now media.Wall, w wish) ([]retain.Stream, error) {
	all, err := a.catStreams()
	if err != nil {
		return nil, err
	}
	out := make([]retain.Stream, 0, len(all))
	for _, c := range all {
		r := w.rulesOf(c.uid, c.rules)
		s := retain.Stream{UID: c.uid, Duration: r.Duration, Keep: r.Keep, Capacity: r.Capacity}
		if p, err := a.pool(r.Pool); err == nil {
			pool := w.poolOf(*p)
			s.Days, s.Most = pool.Days, pool.DeleteMost
			s.DaysIn = a.daysElsewhere(p, w)
		}
		if err := a.retainStream(&s, c.id, now, w.every); err != nil {
			return nil, err
		}
		if a.asked.confirmed(&s) {
			s.Most = 0
		}
		out = append(out, s)
	}
	return out, nil
}

// daysElsewhere are the days of other pools than p, by space: footage is moved
// there from p, or lies there since the stream's pool was another one.
func (a *Archive) daysElsewhere(p *Pool, w wish) map[string]time.Duration {
	var out map[string]time.Duration
	for _, s := range a.allSpaces() {
		if q := a.poolIn(s.cfg.Name, p); q != nil && q.Name != p.Name {
			if out == nil {
				out = map[string]time.Duration{}
			}
			out[s.cfg.Name] = w.poolOf(*q).Days
		}
	}
	return out
}

// area is spaces in which one limit holds.
type area struct {
	limit time.Duration
	where string // condition on files f; "" = all spaces
}

// areas sorts the spaces by the limit that holds in them for a stream.
func (a *Archive) areas(s *retain.Stream) (out []area) {
	own, _ := s.Limit()
	by := map[time.Duration][]string{}
	var apart []string
	a.cat.mu.Lock()
	for name := range s.DaysIn {
		id, known := a.cat.spaces[name]
		if limit, _ := s.LimitIn(name); known && limit != own {
			by[limit] = append(by[limit], strconv.FormatInt(id, 10))
			apart = append(apart, strconv.FormatInt(id, 10))
		}
	}
	a.cat.mu.Unlock()
	if len(apart) == 0 {
		return []area{{limit: own}}
	}
	out = []area{{own, " AND f.space NOT IN (" + strings.Join(apart, ",") + ")"}}
	for limit, ids := range by {
		out = append(out, area{limit, " AND f.space IN (" + strings.Join(ids, ",") + ")"})
	}
	return slices.DeleteFunc(out, func(x area) bool { return x.limit <= 0 })
}

// retainStream adds the files that may have to go, and, where any does, what
// tells ordinary ageing from a rule that takes a lot at once.
func (a *Archive) retainStream(s *retain.Stream, id int64, now media.Wall, every bool) (err error) {
	areas := slices.DeleteFunc(a.areas(s), func(x area) bool { return x.limit <= 0 })
	if s.Capacity > 0 {
		if s.Bytes, err = a.usageOf(s.UID, id); err != nil {
			return err
		}
	}
	over := s.Capacity > 0 && s.Bytes > s.Capacity
	if len(areas) == 0 && !over {
		return nil
	}
	most := retainBatch
	if every {
		most = 1 << 30
	}
	if over { // also what was recorded before the clock was set back
		s.Oldest, err = a.candidates("f.stream", id, "", endOfTime, most)
	}
	for _, x := range areas {
		if over || err != nil {
			break
		}
		var fs []retain.File
		fs, err = a.candidates("f.stream", id, x.where, now.Add(-x.limit), most)
		s.Oldest = append(s.Oldest, fs...)
	}
	if err != nil || len(s.Oldest) == 0 || s.Most <= 0 {
		return err
	}
	if s.Bytes, err = a.usageOf(s.UID, id); err != nil {
		return err
	}
	for _, x := range areas {
		sum, err := a.overdue(s.UID, id, x.where, now.Add(-x.limit).Add(-retain.Slack))
		if err != nil {
			return err
		}
		s.Overdue.Files += sum.Files
		s.Overdue.Bytes += sum.Bytes
	}
	if over {
		s.Rate, err = a.rateOf(id, now)
	}
	return err
}

// overdue sums the files that end before until and are not locked.
func (a *Archive) overdue(uid string, id int64, where string, until media.Wall) (sum retain.Amount, err error) {
	err = each(a.cat.reader(), "SELECT f.t0, f.t1, f.size FROM files f WHERE f.stream = ? AND f.t0 < ? AND f.t1 <= ? AND f.flags & 3 = 0"+where, func(rows *sql.Rows) error {
		var t0, t1, size int64
		err := rows.Scan(&t0, &t1, &size)
		if err == nil && !a.locks.locked(uid, media.Span{From: media.Wall(t0), To: media.Wall(t1)}) {
			sum.Files++
			sum.Bytes += size
		}
		return err
	}, id, int64(until), int64(until))
	return sum, err
}

// rateOf is how many bytes a second of a stream's time came lately.
func (a *Archive) rateOf(id int64, now media.Wall) (float64, error) {
	var bytes, ns sql.NullInt64
	err := a.cat.reader().QueryRow("SELECT sum(size), sum(t1 - t0) FROM (SELECT size, t0, t1 FROM files WHERE stream = ? AND t0 < ? AND flags & 3 = 0 ORDER BY t0 DESC LIMIT 20)", id, int64(now)).Scan(&bytes, &ns)
	if err != nil || ns.Int64 <= 0 {
		return 0, err
	}
	return float64(bytes.Int64) / (float64(ns.Int64) / 1e9), nil
}

const endOfTime media.Wall = 1<<63 - 1

// candidates lists files of a stream or a space (by column; where may say more) that begin before
// until, oldest first, until most of them are not locked. A stretch that is
// locked as a whole is stepped over, not read.
func (a *Archive) candidates(column string, key int64, where string, until media.Wall, most int) ([]retain.File, error) {
	const step = 500
	uids, spaces, err := a.cat.names()
	if err != nil {
		return nil, err
	}
	var out []retain.File
	free := 0
	from, after := int64(-1<<62), int64(-1)
	for free < most {
		n := 0
		err := each(a.cat.reader(), fmt.Sprintf("SELECT f.id, f.stream, f.space, f.t0, f.t1, f.size FROM files f WHERE %s = ? AND (f.t0 > ? OR f.t0 = ? AND f.id > ?) AND f.t0 < ? AND f.flags & 3 = 0%s ORDER BY f.t0, f.id LIMIT %d", column, where, step),
			func(rows *sql.Rows) error {
				var f retain.File
				var id, stream, space, t0, t1 int64
				if err := rows.Scan(&id, &stream, &space, &t0, &t1, &f.Size); err != nil {
					return err
				}
				f.Stream, f.Space = uids[stream], spaces[space]
				f.ID, f.Span = uint64(id), media.Span{From: media.Wall(t0), To: media.Wall(t1)}
				// What came after the names were read is too young to go.
				f.Locked = f.Stream == "" || f.Space == "" || a.locks.locked(f.Stream, f.Span)
				if !f.Locked {
					free++
				}
				out = append(out, f)
				from, after = t0, id
				n++
				return nil
			}, key, from, from, after, int64(until))
		if err != nil {
			return nil, err
		}
		if n < step {
			return out, nil
		}
		if last := &out[len(out)-1]; last.Locked && column == "f.stream" {
			from = max(from, a.lockedUntil(last.Stream, last.Span))
		}
	}
	return out, nil
}

// names are the streams and spaces of the catalogue by number: looking them up
// for each of a million rows took half of the time.
func (c *catalogue) names() (uids, spaces map[int64]string, err error) {
	uids, spaces = map[int64]string{}, map[int64]string{}
	for query, into := range map[string]map[int64]string{"SELECT id, uid FROM streams": uids, "SELECT id, name FROM spaces": spaces} {
		err := each(c.reader(), query, func(rows *sql.Rows) error {
			var id int64
			var name string
			err := rows.Scan(&id, &name)
			into[id] = name
			return err
		})
		if err != nil {
			return nil, nil, err
		}
	}
	return uids, spaces, nil
}

// lockedUntil is the time up to which every file that begins behind sp begins
// inside the locked stretch that sp begins in.
func (a *Archive) lockedUntil(uid string, sp media.Span) int64 {
	for _, l := range a.locks.spans(uid) {
		if l.From <= sp.From && sp.From < l.To {
			return int64(l.To) - 1
		}
	}
	return int64(sp.From)
}

// pressure lists the spaces where the oldest must go; extra is what is asked for
// in each beside the rules. What is marked as going already, and could not be deleted
// yet, counts as if it had gone: it is not taken a second time. A pass of retention
// looks so (real), a preview too. unknown are spaces of which it is not known how full
// they are.
func (a *Archive) pressure(ctx context.Context, extra map[string]int64, w wish, real bool) (out []retain.Pressure, unknown map[string]bool, err error) {
	unknown = map[string]bool{}
	most := retainBatch
	if w.every {
		most = 1 << 30
	}
	l := newLooked()
	for _, s := range a.allSpaces() {
		name := s.cfg.Name
		a.cat.mu.Lock()
		id, known := a.cat.spaces[name]
		a.cat.mu.Unlock()
		going, err := a.goingBytes(s, id)
		if err != nil {
			return nil, nil, err
		}
		p := retain.Pressure{Space: name, Want: max(extra[name]-going, 0), By: retain.SpaceFree}
		r := l.read(ctx, s)
		u, err := r.u, r.err
		holds := u
		if err == nil {
			holds.Used, err = a.holdsAtLeast(s, u.Used)
		}
		v := s.measured(holds, w)
		t, may := a.overwriteFree(s, v.Total, w)
		var footage int64
		if err == nil {
			s.setUsage(u)
			if real && v.Free < t {
				a.learnDisk(ctx, l, s)
			}
			p.Asked = max(a.asks(ctx, l, s, v, t, w)-going, 0)
			p.Want = max(p.Want, p.Asked)
			p.By = s.pressedBy(v, w)
			if may && known {
				if footage, err = a.footageIn(s, id, time.Now().UnixNano()); err != nil {
					return nil, nil, err
				}
			}
			if real {
				s.look(footage, t, time.Now().UnixNano())
				s.mu.Lock()
				s.found, s.foundUsed = u.Free, u.Used
				s.mu.Unlock()
			}
		} else {
			unknown[name] = true
		}
		if !may {
			if real { // what was confirmed is not to be done any more
				a.asked.doneSpace(name)
			}
			s.liftFor(real, false)
			continue
		}
		if err == nil && known {
			a.weigh(s, &p, holds.Used, footage, going, t, extra[name], w)
		}
		if a.asked.confirmedSpace(name, wanted{a.rulesIn(s, w), min(p.Asked, p.Bytes)}) {
			if real && err == nil && v.Free >= 0 && !p.Exceeds(0) {
				a.asked.doneSpace(name)
			}
			p.Most = 0
		}
		if err == nil {
			unsure := real && s.hides(&p, u, v)
			if unsure { // the next pass knows
				p.Want, p.Asked, unknown[name] = 0, 0, true
			}
			held := p.Exceeds(0)
			lifted, _ := s.isLifted()
			full := v.Free <= 0 || extra[name] > 0 // there may be some room, but not enough for what waits
			s.doubt(real, unsure)
			s.liftFor(real, unsure || held && (lifted || full) || lifted && v.Free < 0)
		}
		if p.Want <= 0 || !known {
			continue
		}
		if p.Oldest, err = a.candidates("f.space", id, "", endOfTime, most); err != nil {
			return nil, nil, err
		}
		out = append(out, p)
	}
	if real {
		l.remember()
	}
	return out, unknown, nil
}

// holdsAtLeast is what a space holds: what it says itself, or what is listed of it
// while it says less. A new process of its storage begins to count, for minutes
// where there are millions of files, and by what it says until then a limit that
// is held would be kept, and then be missed a little at a time.
func (a *Archive) holdsAtLeast(s *space, used int64) (int64, error) {
	s.mu.Lock()
	counted := s.counted && used >= s.foundUsed-s.foundUsed/10 // a process may be new though nobody has noticed
	s.mu.Unlock()
	a.cat.mu.Lock()
	id, known := a.cat.spaces[s.cfg.Name]
	a.cat.mu.Unlock()
	if counted || !known {
		return used, nil
	}
	sum, err := a.footageIn(s, id, time.Now().UnixNano())
	if err != nil {
		return 0, err
	}
	s.mu.Lock()
	s.counted = used >= sum-sum/50 // not to the byte: rows come and go behind files
	s.mu.Unlock()
	return max(used, sum), nil
}

// liftFor lifts the limits of a space, in a pass that is real.
func (s *space) liftFor(real, on bool) {
	if real {
		s.lift(on)
	}
}

// pressedBy says which setting room is wanted by where there are v.Free bytes.
func (s *space) pressedBy(v Usage, w wish) retain.Why {
	l := s.wished(w)
	switch {
	case l.Size != (Threshold{}) && v.Used > v.Total:
		return retain.SizeLimit
	case l.Reserve.Of(v.Total) > 0 && v.Free <= 0:
		return retain.Reserve
	}
	return retain.SpaceFree
}

// weigh adds to a pressure what decides whether it waits for a person. used is what
// the space says that it holds, which is too little while its storage counts, footage
// what is listed of it, going what of both is to go already, free what is to be kept
// free.
func (a *Archive) weigh(s *space, p *retain.Pressure, used, footage, going, free, extra int64, w wish) {
	for _, q := range a.allPools() {
		if q = w.poolOf(q); q.Overwrite && q.DeleteMost > 0 && slices.Contains(q.Spaces, p.Space) && (p.Most == 0 || q.DeleteMost < p.Most) {
			p.Most = q.DeleteMost
		}
	}
	s.weigh(p, max(footage-going, 0), free, extra, w)
	p.Bytes = max(used-going, footage-going, 0)
	p.Need = max(p.Need-going, 0)
}
