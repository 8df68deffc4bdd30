package archive

import (
	"context"
	"time"

	"media-server/core/archive/retain"
)

// Limits are how much of a disk a space may use, as its settings say.
type Limits struct {
	Size    Threshold // most that it may hold; zero = no limit
	Reserve Threshold // that it leaves free on the disk
}

// LiftedReserve is what a Limited storage leaves free on the disk all the same
// while its limits are lifted: deleting needs some, and so do the databases.
const LiftedReserve = 64 << 20

// in is u, told by a storage that goes by the limits now, as it is by the limits
// l. Nothing is cut off at zero: of a space that holds more than it may, Free is
// what is missing. What a limit hides of the disk is not known: by a larger one
// there is taken to be as much as it allows.
func (l Limits) in(u Usage, now Limits) Usage {
	if u.Total == 0 {
		return u
	}
	disk := u.Total
	if p := now.Size.Percent; p > 0 {
		disk = int64(float64(u.Total) * 100 / p)
	}
	raw := u.Free + now.Reserve.Of(disk)
	was, size := now.Size.Of(disk), l.Size.Of(disk)
	if was > 0 && size > was && was-u.Used <= u.Free {
		disk, raw = max(disk, size), max(raw, size-u.Used+l.Reserve.Of(disk))
	}
	u.Total, u.Free = disk, raw-l.Reserve.Of(disk)
	if l == now && u.Used > u.Total { // as it says itself
		u.Free = min(u.Free, u.Total-u.Used)
	}
	if size > 0 {
		u.Total, u.Free = min(u.Total, size), min(u.Free, size-u.Used)
	}
	return u
}

// lifted are the limits that a storage goes by whose limits are lifted.
func (l Limits) lifted() Limits {
	if l.Reserve == (Threshold{}) {
		return Limits{}
	}
	return Limits{Reserve: Threshold{Bytes: LiftedReserve}}
}

// wished are the limits in force, or that a wish puts in their place.
func (s *space) wished(w wish) Limits {
	s.mu.Lock()
	defer s.mu.Unlock()
	return w.limitsOf(s.cfg.Name, s.limits)
}

// measured is u by the limits in force, or that a wish puts in their place.
func (s *space) measured(u Usage, w wish) Usage {
	s.mu.Lock()
	l, now := s.limits, s.limits
	if s.liftedNow {
		now = l.lifted()
	}
	s.mu.Unlock()
	return w.limitsOf(s.cfg.Name, l).in(u, now)
}

// toll is what retention needs to tell ordinary overwriting from a threshold or
// limit that takes a lot at once; s.mu.
type toll struct {
	counted uint64 // bytes written when it looked last
	came    int64  // between that look and the one before, if the rules are the same
	by      bounds // the rules
	holding bool   // a threshold or limit waits for a person
	owed    int64  // then: came and not yet made room for; negative = room was made in advance

	// What went for thresholds and limits in a day, and what the space held at
	// most: as much as comes goes with ordinary overwriting, and what it holds
	// stays the same.
	since      int64 // Unix ns
	took, used int64
}

// bounds are the rules of a space when retention looked: what a change of them
// asks for is not asked for by what came.
type bounds struct {
	limits Limits
	free   int64 // overwrite-free, in bytes
}

// tollDay is how long what went is added up: what goes little by little within
// it goes at once.
const tollDay = 24 * 3600 * 1_000_000_000

// look begins a pass that finds the space holding used bytes, with free bytes to
// be kept free.
func (s *space) look(used, free, now int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.toll
	wrote := s.stats.written + s.stats.put
	came := int64(wrote - t.counted)
	t.counted, t.came = wrote, came
	if by := (bounds{s.limits, free}); by != t.by {
		t.by, t.came = by, 0
	}
	if t.holding {
		t.owed += came
	} else {
		t.owed = t.came
	}
	if !t.holding && now-t.since >= tollDay {
		t.since, t.took, t.used = now, 0, 0
	}
	t.used = max(t.used, used)
}

// gave notes bytes that are taken from the space, whatever for: there is that
// much room for what comes.
func (s *space) gave(bytes int64) {
	s.mu.Lock()
	s.toll.owed -= bytes
	s.mu.Unlock()
}

// pay ends a pass that takes bytes from the space for thresholds and limits, or
// because it is full.
func (s *space) pay(held, confirmed bool, bytes int64, full bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.toll
	t.holding = held
	if full { // that much less is there, and no setting has taken it
		t.used = max(t.used-bytes, 0)
	} else {
		t.took += bytes
	}
	if confirmed {
		t.took, t.used = 0, 0
	}
}

// weigh tells the facts of a pressure that decide whether it is held.
func (s *space) weigh(p *retain.Pressure, used, extra int64) {
	_, can := s.st.(Limited)
	s.mu.Lock()
	defer s.mu.Unlock()
	t := &s.toll
	p.Came, p.Bytes = t.came, used
	p.Took = max(0, min(t.took, t.used-used))
	p.Need = max(t.owed, 0)
	if s.liftedNow || !can { // else what waits to be written is let in by lifting
		p.Need = max(p.Need, extra)
	}
}

// lift puts aside the limits that the storage goes by, or puts them in force
// again. Where they would stop recording while footage that they cost waits for a
// person, they are put aside, and retention alone keeps the space from growing.
func (s *space) lift(on bool) {
	st, can := s.st.(Limited)
	s.mu.Lock()
	defer s.mu.Unlock()
	if can && s.lifted != on {
		st.Lift(on)
		s.lifted = on
		poke(s.retune)
	}
}

// isLifted tells whether the limits are lifted, or will be by the next Open.
func (s *space) isLifted() (lifted, now bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lifted, s.liftedNow
}

// awaitLift waits a while for limits that are being lifted to be so.
func (s *space) awaitLift(ctx context.Context) {
	for range 50 {
		lifted, now := s.isLifted()
		if now || !lifted || !sleep(ctx, 100*time.Millisecond) {
			return
		}
	}
}

// openAs opens the storage, and notes whether it goes by its limits from then on.
func (s *space) openAs(ctx context.Context, least uint64, create bool) (SpaceInfo, error) {
	lifted, _ := s.isLifted()
	info, err := s.st.Open(ctx, s.a.o.Epoch, least, create)
	if err == nil {
		s.mu.Lock()
		s.liftedNow = lifted
		s.mu.Unlock()
	}
	return info, err
}
