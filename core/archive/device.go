package archive

import (
	"context"
	"database/sql"
	"errors"
	"slices"
	"syscall"
	"time"
)

// looked is what one pass has asked of spaces already: none is waited for twice.
type looked struct {
	usage  map[*space]reading
	noDisk map[*space]bool // it cannot be told which disk they lie on
}

func newLooked() *looked {
	return &looked{usage: map[*space]reading{}, noDisk: map[*space]bool{}}
}

// reading is how full a space says that it is, and what had come to it and gone
// from it then.
type reading struct {
	u           Usage
	err         error
	wrote, gave int64
}

// read asks a space how full it is, once in a pass.
func (l *looked) read(ctx context.Context, s *space) reading {
	if r, asked := l.usage[s]; asked {
		return r
	}
	u, err := s.ask(ctx)
	s.mu.Lock()
	r := reading{u, err, int64(s.stats.written + s.stats.put), s.stats.gave}
	s.mu.Unlock()
	l.usage[s] = r
	return r
}

// asks is what thresholds and limits want freed in a space, of which v is known
// and t bytes of whose disk are to be free. What the disk is short of, each of the
// spaces on it sees whole: together they free it once, each as much of it as of
// their footage lies there, so that both keep theirs for as long as before.
func (a *Archive) asks(ctx context.Context, l *looked, s *space, v Usage, t int64, w wish) int64 {
	short := max(0, t-v.Free)
	if short == 0 {
		return 0
	}
	var own int64 // by its own limit
	if s.wished(w).Size != (Threshold{}) {
		own = max(0, t-(v.Total-v.Used))
	}
	return max(own, int64(float64(short)*a.shareOfDevice(ctx, l, s, v.Used, w)))
}

// shareOfDevice is a space's part of what may go from all spaces on its disk that
// want room themselves.
func (a *Archive) shareOfDevice(ctx context.Context, l *looked, s *space, used int64, w wish) float64 {
	s.mu.Lock()
	alone := s.alone
	s.mu.Unlock()
	if alone || used <= 0 {
		return 1
	}
	var others int64
	for _, x := range a.besides(ctx, l, s) {
		others += a.gives(ctx, l, x, w)
	}
	if others <= 0 {
		return 1
	}
	own := max(used-a.lockedIn(s), 0)
	return float64(own) / float64(own+others)
}

// besides are the other spaces on the disk of one.
func (a *Archive) besides(ctx context.Context, l *looked, s *space) (out []*space) {
	all := a.allSpaces()
	if len(all) < 2 {
		return nil
	}
	disk, known := a.deviceOf(ctx, l, s)
	if !known {
		return nil
	}
	for _, x := range all {
		if x == s || !x.readable() {
			continue
		}
		if d, ok := a.deviceOf(ctx, l, x); ok && d == disk {
			out = append(out, x)
		}
	}
	return out
}

// gives is how much may go from a space to make room on its disk: nothing where it
// wants no room itself, or waits for a person.
func (a *Archive) gives(ctx context.Context, l *looked, x *space, w wish) int64 {
	r := l.read(ctx, x)
	if r.err != nil {
		return 0
	}
	v := x.measured(r.u, w)
	t, may := a.overwriteFree(x, v.Total, w)
	x.mu.Lock()
	held := x.toll.holding
	x.mu.Unlock()
	if !may || held || t <= v.Free {
		return 0
	}
	return max(v.Used-a.lockedIn(x), 0)
}

// lockedIn is the size of what locks keep in a space; where that cannot be told it
// counts as none.
func (a *Archive) lockedIn(s *space) (sum int64) {
	a.cat.mu.Lock()
	id, known := a.cat.spaces[s.cfg.Name]
	a.cat.mu.Unlock()
	if !known {
		return 0
	}
	seen := map[FileID]bool{}
	for _, uid := range a.locks.uids() {
		for _, sp := range a.locks.spans(uid) {
			err := a.cat.sizesIn(id, uid, sp, func(id FileID, size int64) {
				if !seen[id] {
					seen[id] = true
					sum += size
				}
			})
			if err != nil {
				a.log.Warn("what locks keep in a space cannot be told", "space", s.cfg.Name, "err", err)
				return 0
			}
		}
	}
	return sum
}

// learnDisk notes whether what goes from the others on a space's disk makes room in it.
// Where each has a quota of its own it does not, and what is missing is not shared.
func (a *Archive) learnDisk(ctx context.Context, l *looked, s *space) {
	now := l.read(ctx, s)
	s.mu.Lock()
	was, limits := s.seen, s.limits
	s.mu.Unlock()
	if was == nil || now.err != nil || limits.Size != (Threshold{}) && now.u.Free >= now.u.Total-now.u.Used { // it tells of its limit
		return
	}
	var gone int64
	for _, x := range a.besides(ctx, l, s) {
		x.mu.Lock()
		then, r := x.seen, reading{wrote: int64(x.stats.written + x.stats.put), gave: x.stats.gave}
		x.mu.Unlock()
		if then != nil && r.gave > then.gave {
			gone += r.gave - then.gave - (r.wrote - then.wrote)
		}
	}
	if gone <= 0 {
		return
	}
	rise := now.u.Free - was.u.Free - (now.gave - was.gave) + (now.wrote - was.wrote)
	s.mu.Lock()
	s.alone = rise < gone/2
	s.mu.Unlock()
}

// remember keeps what a pass has read for the next.
func (l *looked) remember() {
	for s, r := range l.usage {
		s.mu.Lock()
		s.seen = nil
		if r.err == nil {
			s.seen = &r
		}
		s.mu.Unlock()
	}
}

// deviceOf is the file system that a space lies on, as this machine numbers it, told
// by one of its files; not known of a space without any, or whose storage gives no
// descriptors. A few are tried, the newest first: one may be damaged, or gone.
func (a *Archive) deviceOf(ctx context.Context, l *looked, s *space) (disk uint64, known bool) {
	s.mu.Lock()
	disk, known = s.device, s.deviceKnown
	can := s.opened && s.info.Descriptors
	s.mu.Unlock()
	if known || !can || l.noDisk[s] {
		return disk, known
	}
	names, err := a.endsOf(s.cfg.Name)
	if err != nil {
		a.log.Warn("the disk of a space cannot be told", "space", s.cfg.Name, "err", err)
	}
	fctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for _, name := range names {
		if disk, known = deviceOfFile(fctx, s.st, name); known {
			s.mu.Lock()
			s.device, s.deviceKnown = disk, true
			s.mu.Unlock()
			return disk, true
		}
	}
	l.noDisk[s] = true // the next pass asks again
	return 0, false
}

// endsOf are some of the newest files of a space and of the oldest.
func (a *Archive) endsOf(space string) (names []string, err error) {
	for _, order := range []string{"DESC", "ASC"} {
		err = errors.Join(err, each(a.cat.reader(), "SELECT name FROM files WHERE space = (SELECT id FROM spaces WHERE name = ?) AND flags & 3 = 0 ORDER BY t0 "+order+" LIMIT 3", func(rows *sql.Rows) error {
			var name string
			err := rows.Scan(&name)
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
			return err
		}, space))
	}
	return names, err
}

func deviceOfFile(ctx context.Context, st Storage, name string) (disk uint64, known bool) {
	if ctx.Err() != nil {
		return 0, false
	}
	f, err := st.File(ctx, name)
	if err != nil {
		return 0, false
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, false
	}
	sys, is := fi.Sys().(*syscall.Stat_t)
	if !is {
		return 0, false
	}
	return sys.Dev, true
}
