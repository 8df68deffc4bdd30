package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"time"

	"media-server/core/media"
)

// Other programs can delete, cut and alter what lies in a space. What is found
// to be gone loses its row, and the hole gets a cause; what is there but not
// understood any more stays where it is, unlisted, and is never deleted.

// gone says what a file that cannot be opened means: gone for good, and then
// the hole is reported, or a space that does not answer now.
func (a *Archive) gone(r *row, err error) error {
	if !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("open %s: %w", r.Name, err)
	}
	return a.taken(r, GapDeleted, "was deleted by somebody else")
}

// unreadable says what a sealed file without a valid index means: damaged, when
// all that was wanted could be read.
func (a *Archive) unreadable(r *row, err error) error {
	if isReadError(err) && !errors.Is(err, io.EOF) && !errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("file %s: %w", r.Name, err)
	}
	return a.taken(r, GapDamaged, "was cut or altered by somebody else and is not listed any more: "+err.Error())
}

// taken takes a file off the lists and tells about it, once.
func (a *Archive) taken(r *row, why GapCause, what string) error {
	cur, err := a.cat.get(r.ID)
	if err != nil || cur.Flags&rowGoing != 0 {
		return ErrGone
	}
	if cur.Space != r.Space || cur.Name != r.Name {
		return fmt.Errorf("open %s: %w", r.Name, os.ErrNotExist) // it was moved meanwhile
	}
	if !a.strike(r, why) {
		return ErrGone
	}
	a.notify(Notice{Type: "archive.damaged", UID: r.UID, Level: "error", Message: r.Name + " " + what,
		Data: map[string]any{"space": r.Space, "file": r.Name, "from_ms": r.Span.From.Milli(), "to_ms": r.Span.To.Milli()}})
	a.lookSoon(r.Space) // who took one took more
	return ErrGone
}

// strike writes down why a file is missing and removes its row; false: that is
// under way already.
func (a *Archive) strike(r *row, why GapCause) bool {
	a.mu.Lock()
	again := a.struck[r.ID]
	a.struck[r.ID] = true
	a.mu.Unlock()
	if again {
		return false
	}
	f := &fact{Type: factGap, UID: r.UID, At: r.Span.From, Until: r.Span.To, Cause: why}
	a.state.add(f)
	if s := a.space(r.Space); s != nil {
		s.note(f)
	}
	a.layouts.drop(r.ID)
	id, uid := r.ID, r.UID
	a.book([]string{uid}, func(tx *sql.Tx) ([]usage, error) {
		return difference(tx, uid, []FileID{id}, func() error { return removeRows(tx, []FileID{id}) })
	}, func(error) {
		a.mu.Lock()
		delete(a.struck, id)
		a.mu.Unlock()
	})
	return true
}

// leftOf is how much is left of a growing file that cannot be appended to.
func (s *space) leftOf(ctx context.Context, name string) int64 {
	sctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	e, err := s.st.Stat(sctx, name)
	switch {
	case err == nil:
		return e.Size
	case errors.Is(err, os.ErrNotExist):
		return 0
	}
	return math.MaxInt64 // not known: nothing is said of what was durable
}

// tookRest writes down that the durable end of a growing file was taken, and
// removes the row of one of which nothing is left. st.mu is held.
func (s *space) tookRest(f *file, sp media.Span, why GapCause, all bool) {
	if !sp.Empty() {
		s.a.record(f.st, &fact{Type: factGap, UID: f.header.UID, At: sp.From, Until: sp.To, Cause: why})
	}
	what, id := "was cut by somebody else while it grew", f.id
	if why == GapDiskError {
		what = "lost its end, which its disk could not make durable"
	}
	if all {
		if why != GapDiskError {
			what = "was deleted or renamed by somebody else while it grew"
		}
		s.a.cat.later(func(tx *sql.Tx) error { return removeRows(tx, []FileID{id}) }, nil)
	}
	s.a.notify(Notice{Type: "archive.damaged", UID: f.header.UID, Level: "error", Message: f.openName + " " + what + "; recording goes on in a new file",
		Data: map[string]any{"space": s.cfg.Name, "file": f.openName, "from_ms": sp.From.Milli(), "to_ms": sp.To.Milli()}})
	s.a.lookSoon(s.cfg.Name)
}

// cutShort gives what is left of a complete file that somebody cut before it
// had its final name to recovery, which keeps its whole fragments. It tells
// whether that is what happened.
func (s *space) cutShort(ctx context.Context, f *file) bool {
	e, err := s.st.Stat(ctx, f.openName)
	f.mu.Lock()
	durable, whole := f.synced, f.spanLocked()
	f.mu.Unlock()
	if err != nil || e.Size >= durable { // shorter because a sync failed: what is missing is sent again
		return false
	}
	s.settled(f)
	s.a.forget(f)
	left, err := s.a.recoverEntry(ctx, s, e, false, notCut, func() {})
	from := whole.From
	switch {
	case errors.Is(err, errAside):
		s.a.setAside(ctx, s, e, err)
	case err != nil:
		s.a.log.Error("what is left of a file that somebody cut cannot be recovered now", "space", s.cfg.Name, "file", e.Name, "err", err)
	case left != nil:
		from = left.spanLocked().To
		s.a.adopt(s, []*file{left}, false)
	}
	f.st.mu.Lock()
	s.tookRest(f, media.Span{From: from, To: whole.To}, GapDamaged, false)
	f.st.mu.Unlock()
	f.st.advance()
	return true
}

// settledDown waits a while for a space that can be read and is listed whole:
// what was found missing may have ended its session.
func (s *space) settledDown(ctx context.Context) bool {
	for range 30 {
		if s.readable() && !s.a.cat.incomplete.Load() {
			return true
		}
		if !sleep(ctx, time.Second) {
			return false
		}
	}
	return false
}

const (
	lookFirst = time.Hour // after a start, which has better to do
	lookEvery = 24 * time.Hour
	lookAfter = time.Second // after something was found missing: what else is
)

// lookSoon asks for a space to be compared with its list.
func (a *Archive) lookSoon(space string) {
	select {
	case a.look <- space:
	default: // enough is asked for
	}
}

// looker compares spaces with what is listed of them: once a day, and when
// something was found missing. A space that takes whole files only is not asked
// once a day: listing it costs money.
func (a *Archive) looker(ctx context.Context) {
	next := time.NewTimer(lookFirst)
	defer next.Stop()
	for {
		var due []*space
		select {
		case <-ctx.Done():
			return
		case name := <-a.look:
			if !sleep(ctx, lookAfter) {
				return
			}
			for len(a.look) > 0 && len(due) == 0 {
				if other := <-a.look; other != name {
					due = append(due, a.space(other))
				}
			}
			due = append(due, a.space(name))
		case <-next.C:
			next.Reset(lookEvery)
			for _, s := range a.allSpaces() {
				if !s.wholeOnly() {
					due = append(due, s)
				}
			}
		}
		for _, s := range due {
			if s == nil || !s.settledDown(ctx) {
				continue
			}
			if err := a.lookOver(ctx, s); err != nil && ctx.Err() == nil {
				a.log.Warn("a space could not be compared with its list", "space", s.cfg.Name, "err", err)
			}
		}
	}
}
