package archive

import (
	"context"
	"slices"
	"strings"
	"time"

	"media-server/core/fault"
)

// vacateWait is how long recordings have to go on in other spaces: a GOP, and
// what storage needs to take the last part.
const vacateWait = 30 * time.Second

// mayGo tells whether a space is lost, or holds nothing.
func (a *Archive) mayGo(ctx context.Context, s *space) error {
	if s.isLost() {
		return nil
	}
	c, err := a.contents(ctx, s)
	if err != nil {
		return fault.Wrap(err, "space "+s.cfg.Name, "it cannot be told what is in it", "see problems; a space that is gone for good is removed once it is lost")
	}
	if c.Files == 0 {
		return nil
	}
	return &HoldsError{Space: s.cfg.Name, Contents: *c}
}

// HoldsError: a space cannot be removed, there is footage in it.
type HoldsError struct {
	Space    string
	Contents SpaceContents
}

func (e *HoldsError) Error() string { return e.Problem().Error() }

// Unwrap lets errors.As find the Problem.
func (e *HoldsError) Unwrap() error { return e.Problem() }

// Problem says what is in it and how it gets empty.
func (e *HoldsError) Problem() *fault.Problem {
	return &fault.Problem{Where: "space " + e.Space, What: "there is footage in it: " + e.Contents.String(),
		Hint: "take it out of its pools and let the footage age by its rules, move it (archive-to of a pool over this space), or delete it: POST /api/v1/spaces/" + e.Space + "/initialize"}
}

// vacate waits until nothing is recorded in a space any more that was marked as
// one that nothing new comes to.
func (a *Archive) vacate(ctx context.Context, s *space) error {
	ctx, cancel := context.WithTimeout(ctx, vacateWait)
	defer cancel()
	for {
		busy := a.busyIn(s)
		if len(busy) == 0 && !s.awaits() {
			return nil
		}
		if a.closed.Load() {
			return ErrClosed
		}
		if !sleep(ctx, 50*time.Millisecond) {
			if len(busy) == 0 {
				return fault.New("space "+s.cfg.Name, "a file is just moved to it", "try again")
			}
			return fault.New("space "+s.cfg.Name, "it is still recorded into: "+strings.Join(busy, ", "), "their pool needs another space that works; see problems")
		}
	}
}

// busyIn lists the streams that have something in a space that is not sealed.
// What waits for a run to go on is sealed: it goes on in a new file. What was given up
// is recovered first, where the space works.
func (a *Archive) busyIn(s *space) (uids []string) {
	lost, broken := s.isLost(), s.isBroken()
	var given []*file
	for _, f := range append(a.filesIn(s), s.leftEmpty()...) {
		st := f.st
		st.mu.Lock()
		if st.cur == f && !st.begun {
			st.sealLocked(true)
		}
		current := st.cur == f
		st.mu.Unlock()
		if lost && !current && !s.queued(f) {
			a.forget(f) // all of it is on the disk that is not there
			continue
		}
		if f.givenUp() {
			if broken && !f.isBusy() {
				given = append(given, f)
				continue
			}
			s.sealSoon(f)
		}
		if !slices.Contains(uids, st.uid) {
			uids = append(uids, st.uid)
		}
	}
	if len(uids) == 0 { // else the space may stay in use
		for _, f := range given {
			a.forget(f) // the disk can do no more
		}
	}
	slices.Sort(uids)
	return uids
}

// queued tells whether anything of a file waits to be written.
func (s *space) queued(f *file) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.q, func(c *chunk) bool { return c.f == f })
}

// take marks a space as one that nothing new comes to. One at a time may do so.
func (s *space) take(flag *bool) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving || s.wiping {
		return fault.New("space "+s.cfg.Name, "it is being emptied or removed already", "wait until that is over")
	}
	*flag = true
	if flag == &s.wiping {
		s.wipes++
	}
	return nil
}

// mayArrive tells whether files may be moved here, and until when a copy that is
// made now counts: until everything in the space is deleted.
func (s *space) mayArrive() (wipes int, ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wipes, !s.leaving && !s.wiping
}

// arrive says that a copy is going to be listed. It is refused when it may have
// been deleted since mayArrive, or soon is. Who empties the space waits for arrived.
func (s *space) arrive(wipes int) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.leaving || s.wiping || s.wipes != wipes {
		return false
	}
	s.arriving++
	return true
}

func (s *space) arrived() {
	s.mu.Lock()
	s.arriving--
	s.mu.Unlock()
}

// awaits tells whether a file is being listed here.
func (s *space) awaits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.arriving > 0
}

func (s *space) give(flag *bool) {
	s.mu.Lock()
	*flag = false
	s.mu.Unlock()
}

func (s *space) isLost() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.lost
}

func (s *space) isWiping() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.wiping
}

// Holds tells whether a space that is there has footage in it: a look at the
// index, unlike Contents.
func (a *Archive) Holds(name string) bool {
	s := a.space(name)
	return s != nil && !s.isLost() && a.cat.hasFiles(name)
}
