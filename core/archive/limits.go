package archive

import (
	"context"
	"time"
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
// what is missing: of a reserve that a storage does not keep at least what the
// space's own files leave it no room for. What a limit hides of the disk is not
// known: by a larger one there is taken to be as much as it allows.
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
	if l.Reserve != (Threshold{}) && now.showsDisk(u) {
		raw = min(raw, disk-u.Used)
	}
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

// showsDisk tells whether u, told by a storage that goes by these limits, tells the
// size of its disk.
func (l Limits) showsDisk(u Usage) bool {
	return l.Size.Bytes == 0 || u.Total < l.Size.Bytes
}

// lifted are the limits that a storage goes by whose limits are lifted.
func (l Limits) lifted() Limits {
	if l == (Limits{}) {
		return l
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
		s.liftedNow, s.deviceKnown, s.seen, s.alone, s.footage = lifted, false, nil, false, footage{}
		s.mu.Unlock()
	}
	return info, err
}
