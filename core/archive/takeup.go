package archive

import (
	"context"
	"errors"
	"os"
	"slices"
	"time"
)

// What was given up in a space that failed lies there still, growing to the eyes of
// everybody: retention cannot delete it, and the space cannot be emptied. It is
// recovered as at a start, as soon as the space has taken data again; where nothing
// comes to it, one file is tried now and then.
//
//	moveRest ─ giveUp ─▶ timer ─▶ takeUpNext ─┐
//	              Synced ──────▶ takeUpAll ───┴▶ sealSoon ─▶ takeUp ─▶ recoverEntry, adopt

const (
	upFirst = retryFailed
	upLast  = 16 * time.Minute
)

// givenUp tells whether the file waits for its space to work again.
func (f *file) givenUp() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.state == abandoned
}

func (f *file) isBusy() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.busy
}

func (s *space) allGivenUp() []*file {
	out := s.leftEmpty()
	for _, f := range s.a.filesIn(s) {
		if f.givenUp() {
			out = append(out, f)
		}
	}
	return out
}

// leftEmpty lists what was given up and holds nothing that is good: it is only to be
// deleted, and nobody knows it but the space.
func (s *space) leftEmpty() []*file {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.empties)
}

// isBroken tells whether the space has failed and nothing that worked since is known.
func (s *space) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.opened || s.failing != ""
}

// giveUp notes that a file was given up. One that was recovered once, and failed
// again, is left to the timer: it may be what makes the space fail.
func (s *space) giveUp(f *file, empty bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upNow = s.upNow || f.since.IsZero()
	if empty {
		s.empties = append(s.empties, f)
	}
	if s.upAgain == 0 {
		s.upAgain = upFirst
		time.AfterFunc(s.upAgain, s.takeUpNext)
	}
}

// takeUpAll queues what was given up since it was called last: the space works.
func (s *space) takeUpAll() {
	s.mu.Lock()
	now := s.upNow
	s.upNow = false
	s.mu.Unlock()
	if now {
		for _, f := range s.allGivenUp() {
			s.sealSoon(f)
		}
	}
}

// takeUpNext tries what is left, of a space that has failed one file: whether it
// works shows.
func (s *space) takeUpNext() {
	fs, broken := s.allGivenUp(), s.isBroken()
	s.mu.Lock()
	deleted := len(s.empties)
	if len(fs) == 0 || s.over.Err() != nil || s.a.closed.Load() {
		s.upAgain = 0
		s.mu.Unlock()
		return
	}
	s.upAgain = min(2*s.upAgain, upLast)
	time.AfterFunc(s.upAgain, s.takeUpNext)
	s.mu.Unlock()
	if broken {
		fs = fs[:min(len(fs), deleted+1)] // they come first
	}
	for _, f := range fs {
		s.sealSoon(f)
	}
}

// takeUp recovers a file that was given up. A space that does not answer, or not as
// it should, has the next try. f is busy.
func (s *space) takeUp(ctx context.Context, f *file) {
	s.mu.Lock()
	opened, empty := s.opened && !s.stale && !s.lost, slices.Contains(s.empties, f)
	s.mu.Unlock()
	f.mu.Lock()
	cut := f.size
	f.mu.Unlock()
	if !opened || !empty && s.a.file(f.id) != f { // it was recovered already
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	err := s.takeUpTo(ctx, f, cut, empty)
	f.mu.Lock()
	f.tries++
	told := f.tries > 1
	f.mu.Unlock()
	if err != nil && !told {
		s.a.log.Warn("what was given up cannot be recovered yet", "space", s.cfg.Name, "file", f.openName, "err", err)
	}
}

func (s *space) takeUpTo(ctx context.Context, f *file, cut int64, empty bool) error {
	if empty {
		// Under its final name if it was sealed by a call whose answer was lost.
		if err := s.st.Delete(ctx, []string{f.openName, f.final}); err != nil {
			return err
		}
		s.mu.Lock()
		s.empties = slices.DeleteFunc(s.empties, func(g *file) bool { return g == f })
		s.mu.Unlock()
		return nil
	}
	e, err := s.st.Stat(ctx, f.openName)
	var g *file
	if err == nil {
		g, err = s.a.recoverEntry(ctx, s, e, false, cut, func() {})
	}
	if s.a.file(f.id) != f {
		return nil // its space is being emptied, or was lost meanwhile
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		switch e, err := s.st.Stat(ctx, f.final); {
		case err == nil:
			// Sealed by a call whose answer was lost, with all that was written
			// elsewhere since: it has to grow again to be cut.
			if s.st.Seal(ctx, f.final, f.openName, e.Size) == nil {
				return s.takeUpTo(ctx, f, cut, false)
			}
			s.a.forget(f)
			s.a.settleRows(ctx, s)
		case errors.Is(err, os.ErrNotExist):
			s.a.lost(f, err)
		default:
			return err
		}
	case errors.Is(err, errAside):
		s.a.setAside(ctx, s, e, err)
		s.a.forget(f)
	case err != nil:
		return err
	case g == nil: // nothing of it was good
		s.a.forget(f)
	default:
		s.a.adopt(s, []*file{g}, false)
	}
	return nil
}
