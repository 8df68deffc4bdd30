package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// A growing file that cannot be read while its space is recovered, though the space
// answers, stays as it is: nothing of it is cut off. It is tried again for as long as
// the process runs, ever more seldom: a bad sector may be readable the next time, a
// share's lock is let go.
//
//	recoverSpace ─ leaveUnread ─▶ timer ─▶ sealLoop ─▶ reread ─▶ recoverEntry, adopt

// unreadFile is such a file.
type unreadFile struct {
	name     string
	size     int64
	renumber bool // its number may be that of another file of ours
}

// leaveUnread notes what could not be read in a space, and when it is tried again.
func (s *space) leaveUnread(left []unreadFile) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.unread = left
	if len(left) > 0 && s.readAfter == 0 {
		s.readAfter = upFirst
		time.AfterFunc(s.readAfter, s.rereadSoon)
	}
}

// rereadSoon asks a sealer to try what could not be read.
func (s *space) rereadSoon() {
	s.mu.Lock()
	if len(s.unread) == 0 || s.over.Err() != nil || s.a.closed.Load() {
		s.readAfter = 0
		s.mu.Unlock()
		return
	}
	s.readAgain = true
	s.mu.Unlock()
	poke(s.sealWake)
}

// rereadLater sets the time of the next try, behind one: there is one at a time.
func (s *space) rereadLater() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.readAfter = min(2*s.readAfter, upLast)
	time.AfterFunc(s.readAfter, s.rereadSoon)
}

// takeUnread takes a file from those that could not be read; false = somebody else
// has it by now, or it is being deleted with the space.
func (s *space) takeUnread(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.wiping {
		return false
	}
	was := len(s.unread)
	s.unread = slices.DeleteFunc(slices.Clone(s.unread), func(x unreadFile) bool { return x.name == name })
	return len(s.unread) < was
}

// reread tries what could not be read when the space was recovered. What is recovered
// now belongs to the past: its stream has gone on, or begun anew.
func (s *space) reread(ctx context.Context) {
	defer s.rereadLater()
	s.mu.Lock()
	left, works := s.unread, s.opened && !s.stale && !s.lost && s.known && !s.wiping && s.failing == ""
	s.mu.Unlock()
	if !works {
		return
	}
	for _, u := range left {
		uctx, cancel := context.WithTimeout(ctx, time.Minute)
		err := s.rereadFile(uctx, u)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if err != nil {
			s.a.log.Warn("a growing file cannot be read yet", "space", s.cfg.Name, "file", u.name, "err", err)
			continue
		}
		if uid, ok := growingOf(u.name); ok && !s.a.hasUnread(uid) {
			s.a.stream(uid).noneUnread()
		}
	}
}

// rereadFile recovers one of them. nil = it is done with.
func (s *space) rereadFile(ctx context.Context, u unreadFile) error {
	e, err := s.st.Stat(ctx, u.name)
	if errors.Is(err, os.ErrNotExist) {
		s.takeUnread(u.name) // somebody has it
		return nil
	}
	if err != nil {
		return err
	}
	e.Name = u.name
	f, err := s.a.recoverEntry(ctx, s, e, u.renumber, notCut, func() {})
	if err != nil && !errors.Is(err, errAside) {
		return err
	}
	if !s.takeUnread(u.name) {
		return nil // the space was recovered anew meanwhile
	}
	switch {
	case err != nil:
		s.a.setAside(ctx, s, e, err)
	case f != nil:
		s.a.adopt(s, []*file{f}, false)
		s.a.notify(Notice{Type: "archive.recovered", UID: f.header.UID, Level: "info", Message: fmt.Sprintf("%s could be read now and is listed", u.name),
			Data: map[string]any{"space": s.cfg.Name, "file": u.name}})
	}
	return nil
}

// hasUnread tells whether a growing file of a stream could not be read yet, or may lie
// in a space that could not be asked yet.
func (a *Archive) hasUnread(uid string) bool {
	for _, s := range a.allSpaces() {
		if !s.isKnown() {
			return true
		}
		s.mu.Lock()
		has := slices.ContainsFunc(s.unread, func(u unreadFile) bool {
			of, ok := growingOf(u.name)
			return ok && of == uid && !u.renumber
		})
		s.mu.Unlock()
		if has {
			return true
		}
	}
	return false
}
