package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"
)

// sealers is how many files of a space are sealed at once: each waits for its
// own sync.
const sealers = 4

// sealSoon queues a file whose last byte is written.
func (s *space) sealSoon(f *file) {
	s.mu.Lock()
	for _, g := range s.seals {
		if g == f {
			s.mu.Unlock()
			return
		}
	}
	s.seals = append(s.seals, f)
	s.mu.Unlock()
	poke(s.sealWake)
}

func (s *space) sealLoop(ctx context.Context) {
	for {
		s.mu.Lock()
		var f *file
		if len(s.seals) > 0 {
			f = s.seals[0]
			s.seals = s.seals[1:]
		}
		more := len(s.seals) > 0
		again := f == nil && s.readAgain
		s.readAgain = s.readAgain && !again
		s.mu.Unlock()
		if again {
			s.reread(ctx)
			continue
		}
		if f == nil {
			select {
			case <-ctx.Done():
				return
			case <-s.sealWake:
			}
			continue
		}
		if more {
			poke(s.sealWake)
		}
		if err := s.seal(ctx, f); err != nil && ctx.Err() == nil && !s.movePassed(f) {
			time.AfterFunc(s.sealFailed(f, err), func() { s.sealSoon(f) })
		}
	}
}

// sealTold is how often sealing a file must fail before somebody is told: a
// backend that was killed is back by then.
const sealTold = 5

// sealFailed says how long to wait before the next try.
func (s *space) sealFailed(f *file, err error) time.Duration {
	f.mu.Lock()
	f.tries++
	n := f.tries
	f.mu.Unlock()
	s.a.log.Warn("sealing a file failed, it is tried again", "space", s.cfg.Name, "file", f.openName, "err", err)
	switch {
	case n < sealTold:
		return time.Second
	case n == sealTold:
		s.a.notify(Notice{Type: "storage.failed", UID: f.header.UID, Level: "warning",
			Message: fmt.Sprintf("%s is complete and can be played, but cannot be given its final name %s, which is tried again: %v", f.openName, f.final, err),
			Data:    map[string]any{"space": s.cfg.Name, "file": f.openName, "error": err.Error()}})
	}
	return 10 * time.Second
}

// holds tells whether the space has everything of a file, or will have no more of it:
// after a broken connection what was not durable is sent again first, as it may be
// gone. The last chunk that is written asks for the seal again.
func (s *space) holds(f *file) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.breaks.Load()
	return !slices.ContainsFunc(s.q, func(c *chunk) bool { return c.f == f && c.heldBy != now })
}

// seal gives a file its final name. The row written when it was opened comes
// first, so that a sealed file is never unknown; but a catalogue that hangs
// holds nothing up for longer than a few seconds.
func (s *space) seal(ctx context.Context, f *file) error {
	holds := s.holds(f)
	f.mu.Lock()
	final, size := f.final, f.size
	up := f.state == abandoned
	if f.busy || !up && (f.state != sealing || !holds) {
		f.mu.Unlock()
		return nil
	}
	f.busy = true
	sctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if f.unseal = nil; !up {
		f.unseal = cancel
	}
	f.mu.Unlock()
	defer func() {
		f.mu.Lock()
		f.busy = false
		f.mu.Unlock()
	}()
	if up {
		s.takeUp(ctx, f)
		return nil
	}
	select {
	case <-f.rowOpen:
	case <-time.After(5 * time.Second):
	case <-sctx.Done():
		return sctx.Err()
	}
	if err := s.st.Seal(sctx, f.openName, final, size); err != nil {
		// The answer to an earlier try may have been lost.
		e, statErr := s.st.Stat(sctx, final)
		if statErr != nil || e.Size != size {
			// What is not durable is still here: the connection is told that the
			// file is not what it was, and then it is written to another one.
			if s.queued(f) {
				return err
			}
			if errors.Is(err, os.ErrNotExist) {
				if statErr != nil && !errors.Is(statErr, os.ErrNotExist) {
					return statErr // it may have been sealed
				}
				s.a.lost(f, err)
				return nil
			}
			if s.cutShort(sctx, f) {
				return nil
			}
			return err
		}
	}
	s.settled(f)
	f.mu.Lock()
	f.state = sealed
	rest := append([]*chunk(nil), f.pending...)
	f.mu.Unlock()
	for _, c := range rest { // sealing made them durable
		c.onSynced()
	}
	f.st.advance()
	s.a.sealedRow(f)
	s.a.notify(Notice{Type: "record.file", UID: f.header.UID, Level: "info", Message: "file " + final + " is complete",
		Data: map[string]any{"file": f.id.String(), "space": s.cfg.Name, "size": size}})
	return nil
}

// sealedRow hands a sealed file over to the catalogue.
func (a *Archive) sealedRow(f *file) {
	r := f.row()
	a.book([]string{r.UID}, func(tx *sql.Tx) ([]usage, error) {
		return difference(tx, r.UID, []FileID{r.ID}, func() error { // a rebuild may have listed it meanwhile
			if err := a.cat.put(tx, r, nil); err != nil {
				return err
			}
			return a.cat.hourBegins(tx, r.UID, r.Span.From)
		})
	}, func(err error) {
		if err == nil {
			a.forget(f)
		} // else it stays in memory; the next rebuild finds it
	})
}

// row describes a sealed file for the catalogue.
func (f *file) row() *row {
	l := f.layout()
	segs := rowsOf(l)
	f.mu.Lock()
	defer f.mu.Unlock()
	r := &row{ID: f.id, UID: f.header.UID, Space: f.sp.cfg.Name, Span: f.spanLocked(), Size: f.size,
		Init: f.init, Zero: f.header.Zero, Run: f.header.Run, Name: f.final, Enc: f.header.Encryption}
	r.describe(segs)
	sh := ShapeOf(l)
	r.Shape = appendShape(nil, &sh)
	return r
}

// lost drops a file that somebody removed while it grew.
func (a *Archive) lost(f *file, err error) {
	f.mu.Lock()
	span := f.spanLocked()
	f.mu.Unlock()
	f.st.mu.Lock()
	a.record(f.st, &fact{Type: factGap, UID: f.header.UID, At: span.From, Until: span.To, Cause: GapDeleted})
	f.st.mu.Unlock()
	a.forget(f)
	a.notify(Notice{Type: "archive.damaged", UID: f.header.UID, Level: "error", Message: f.openName + " was deleted or renamed by somebody else before it was complete: " + err.Error(),
		Data: map[string]any{"space": f.sp.cfg.Name, "file": f.openName, "from_ms": span.From.Milli(), "to_ms": span.To.Milli()}})
	a.lookSoon(f.sp.cfg.Name)
}

// reopened writes the row of a file in memory into a catalogue that may lack
// it: one made anew, or one whose last changes died with the process that
// began the file. done, which may be nil, is called after the commit.
func (c *catalogue) reopened(f *file, done func(error)) {
	f.mu.Lock()
	r := &row{ID: f.id, UID: f.header.UID, Space: f.sp.cfg.Name, Span: f.spanLocked(), Flags: rowOpen,
		Init: f.init, Zero: f.header.Zero, Run: f.header.Run, Name: f.final, Segs: []byte{}, Enc: f.header.Encryption}
	f.mu.Unlock()
	b := appendTracks(nil, f.header.Tracks)
	c.later(func(tx *sql.Tx) error {
		if _, err := tx.Exec("INSERT OR IGNORE INTO inits VALUES (?,?)", int64(r.Init), b); err != nil {
			return err
		}
		if have, err := c.hasSealed(tx, r.ID); err != nil || have {
			return err
		}
		return c.put(tx, r, nil)
	}, done)
}

func (c *catalogue) hasSealed(tx *sql.Tx, id FileID) (bool, error) {
	var n int
	err := tx.QueryRow("SELECT count(*) FROM files WHERE id = ? AND flags & 1 = 0", int64(id)).Scan(&n)
	return n > 0, err
}
