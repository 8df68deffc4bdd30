package archive

import (
	"context"
	"errors"
	"os"
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

func (s *space) allGivenUp() (out []*file) {
	for _, f := range s.a.filesIn(s) {
		if f.givenUp() {
			out = append(out, f)
		}
	}
	return out
}

// isBroken tells whether the space has failed and nothing that worked since is known.
func (s *space) isBroken() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !s.opened || s.failing != ""
}

// giveUp notes that a file was given up.
func (s *space) giveUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.upNow = true
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
	if len(fs) == 0 || s.over.Err() != nil || s.a.closed.Load() {
		s.upAgain = 0
		s.mu.Unlock()
		return
	}
	s.upAgain = min(2*s.upAgain, upLast)
	time.AfterFunc(s.upAgain, s.takeUpNext)
	s.upNow = s.upNow || broken
	s.mu.Unlock()
	if broken {
		fs = fs[:1]
	}
	for _, f := range fs {
		s.sealSoon(f)
	}
}

// takeUp recovers a file that was given up. A space that does not answer, or not as
// it should, has the next try. f is busy.
func (s *space) takeUp(ctx context.Context, f *file) {
	s.mu.Lock()
	opened := s.opened && !s.stale && !s.lost
	s.mu.Unlock()
	if !opened || s.a.file(f.id) != f { // it was recovered already
		return
	}
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	e, err := s.st.Stat(ctx, f.openName)
	var g *file
	if err == nil {
		g, err = s.a.recoverEntry(ctx, s, e, false, func() {})
	}
	switch {
	case errors.Is(err, os.ErrNotExist):
		// Sealed by a call whose answer was lost, or taken by somebody: a look at the
		// space tells.
		s.a.forget(f)
		s.a.lookSoon(s.cfg.Name)
	case errors.Is(err, errAside):
		s.a.setAside(ctx, s, e, err)
		s.a.forget(f)
	case err != nil:
		f.mu.Lock()
		f.tries++
		first := f.tries == 1
		f.mu.Unlock()
		if first {
			s.a.log.Warn("what was given up cannot be recovered yet", "space", s.cfg.Name, "file", f.openName, "err", err)
		}
	case g == nil: // nothing of it was good
		s.a.forget(f)
	default:
		s.a.adopt(s, []*file{g}, false)
	}
}
