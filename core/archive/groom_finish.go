package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"time"
)

// store writes a groomed file and compares what lies there then with what was
// written.
func (g *groomer) store(ctx context.Context, s *space, name string, n *groomed, src io.ReaderAt) error {
	n.begin(src)
	sum := sha256.New()
	if err := s.st.Put(ctx, name, n.size, io.TeeReader(n, sum)); err != nil {
		var bad *damagedError
		if errors.As(err, &bad) {
			return bad // it changed since it was read
		}
		var own *sourceError
		if errors.As(err, &own) {
			return own // it could be read a moment ago
		}
		return &storageError{fmt.Errorf("store %s: %w", name, err)}
	}
	back := &pacedReader{ctx: ctx, s: s, name: name, size: n.size, pace: newPace(g.pool.ArchiveRate), sum: sha256.New()}
	if _, err := io.Copy(io.Discard, back); err != nil {
		var own *sourceError
		if errors.As(err, &own) {
			err = own.err // not the original's fault
		}
		return &storageError{fmt.Errorf("read back: %w", err)}
	}
	if !bytes.Equal(sum.Sum(nil), back.sum.Sum(nil)) {
		return &storageError{fmt.Errorf("space %s gives other bytes for %s than were stored", s.cfg.Name, name)}
	}
	return nil
}

// replaced is an original that is not listed any more. Who planned to read it
// before may do so for a while.
type replaced struct {
	in    *grooming
	since time.Time
}

// after does what is left once groomed files of a space are listed: the ledger
// now, the originals later. Done again it changes nothing.
func (g *groomer) after(ctx context.Context, s *space, ins []*grooming, since time.Time) error {
	for _, in := range ins {
		listed, err := listedRow(g.a.cat.get(in.file))
		if err == nil && listed != nil {
			err = g.a.attestGroomed(ctx, s, listed)
		}
		if err != nil {
			return err
		}
		g.later = append(g.later, replaced{in, since})
	}
	return nil
}

// release deletes originals that nobody reads any more, together, because each
// wait for a commit takes longer than a small file. Who still reads one after
// ten minutes is cut, as by a deletion.
func (g *groomer) release(ctx context.Context) error {
	ready := map[*space][]*grooming{}
	g.later = slices.DeleteFunc(g.later, func(r replaced) bool {
		s, age := g.a.space(r.in.space), time.Since(r.since)
		if s == nil || !s.readable() || age < g.grace || age < groomReaders && g.a.isPinned(r.in.old) {
			return false
		}
		ready[s] = append(ready[s], r.in)
		return true
	})
	var failed error
	for s, ins := range ready {
		err := g.dropOriginals(ctx, s, ins)
		if err == nil && s.ledgerWritten() {
			for _, in := range ins {
				g.a.state.endGroom(in)
			}
			continue
		}
		for _, in := range ins { // again by the next pass
			g.later = append(g.later, replaced{in: in})
		}
		failed = errors.Join(failed, err)
	}
	return failed
}

// dropOriginals deletes the originals of files that are listed in their place,
// and their rows, if there still are any.
func (g *groomer) dropOriginals(ctx context.Context, s *space, ins []*grooming) error {
	if len(ins) == 0 {
		return nil
	}
	var names []string
	var rows []FileID
	var gain int64 // of those that are still listed: what is done again gives nothing more
	for _, in := range ins {
		old, err := listedRow(g.a.cat.get(in.old))
		switch {
		case err != nil:
			return err
		case old != nil && old.Flags&rowGoing == 0:
			return fmt.Errorf("%s is listed beside what was made of it", in.name) // finish mends it
		case old != nil:
			rows = append(rows, in.old)
			g.a.unpin(ctx, in.old, 0)
			gain += old.Size
			if made, err := g.a.cat.get(in.file); err == nil {
				gain -= made.Size
			}
		}
		names = append(names, in.name)
	}
	dctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.st.Delete(dctx, names); err != nil {
		return fmt.Errorf("delete the originals of groomed files in space %s: %w", s.cfg.Name, err)
	}
	if len(rows) == 0 {
		return nil
	}
	s.gave(gain)
	if err := g.a.cat.remove(ctx, rows); err != nil {
		return err
	}
	for _, id := range rows {
		g.a.layouts.drop(id)
	}
	return nil
}

// count keeps the books of a file that was swapped just now.
func (g *groomer) count(uid string, before, after int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.st.Files++
	g.st.Bytes += before - after
	if g.sum.streams == nil {
		g.sum = groomSum{streams: map[string]bool{}, since: time.Now()}
	}
	g.sum.files++
	g.sum.before += before
	g.sum.after += after
	g.sum.streams[uid] = true
}

// ledgerWritten tells whether every fact noted in the space is on disk.
func (s *space) ledgerWritten() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.q {
		if c.led != nil {
			return false
		}
	}
	return true
}

// finish ends what earlier passes, or a process that was killed, left half way.
func (g *groomer) finish(ctx context.Context) error {
	left, err := g.a.state.grooms(g.pool.Spaces)
	if err != nil {
		return fmt.Errorf("read what was being groomed: %w", err)
	}
	known, some := map[FileID]bool{}, false
	for _, r := range g.later {
		known[r.in.file] = true
	}
	for _, in := range left {
		if known[in.file] {
			continue
		}
		if s := g.a.space(in.space); s == nil || !s.readable() {
			g.away = in.space
			continue
		}
		if err := g.finishOne(ctx, in); err != nil {
			return err
		}
		some = true
	}
	if !some {
		return nil
	}
	// What has ended is no longer busy when this pass chooses.
	return g.a.state.now(ctx, func(*sql.Tx) error { return nil })
}

func (g *groomer) finishOne(ctx context.Context, in *grooming) error {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	s := g.a.space(in.space)
	there, err := s.st.Stat(ctx, in.name)
	original := err == nil
	if err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	old, err := listedRow(g.a.cat.get(in.old))
	if err != nil {
		return err
	}
	listed, err := listedRow(g.a.cat.get(in.file))
	switch {
	case err != nil:
		return err
	case listed != nil && listed.Flags&rowGoing != 0:
		return nil // a rule takes it; the original goes by the next pass
	case listed != nil && original && (old == nil || old.Flags&rowGoing == 0):
		// A rebuild listed what was never compared: the original counts.
		r, err := g.a.readRow(ctx, s, there)
		if err != nil || r == nil {
			return err
		}
		r.ID = in.old
		if err := g.a.restoreOriginal(ctx, listed, r); err != nil {
			return err
		}
		return g.discard(ctx, s, in)
	case listed != nil:
		return g.after(ctx, s, []*grooming{in}, time.Time{})
	case old != nil && old.Flags&rowGoing != 0: // and what was made of it went by a rule
		if g.a.isPinned(in.old) {
			return nil
		}
		if err := g.dropOriginals(ctx, s, []*grooming{in}); err != nil {
			return err
		}
		return g.discard(ctx, s, in)
	case !original && old == nil && g.a.lists(in.space, in.final): // a rebuild gave it another number: the original went long ago
		g.a.state.endGroom(in)
		return nil
	case original || old == nil:
		return g.discard(ctx, s, in)
	}
	return g.listInstead(ctx, in, old)
}

// lists tells whether what lies under a name is listed.
func (a *Archive) lists(space, name string) bool {
	_, err := a.cat.at(space, name)
	return err == nil
}

// discard removes what an earlier process made of a file. The ledger may know it
// already: it must say that nobody took it.
func (g *groomer) discard(ctx context.Context, s *space, in *grooming) error {
	if g.a.o.Signer != nil {
		e, err := s.st.Stat(ctx, in.final)
		if err == nil {
			if r, err := g.a.readRow(ctx, s, e); err == nil && r != nil {
				if err := s.said(ctx, g.a.attestGone(s, []*row{r}, map[FileID]string{r.ID: causeNotUsed})); err != nil {
					return err
				}
			}
		} else if !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return g.undo(ctx, in)
}

// listInstead: the original is listed and does not lie there any more. What was
// made of it takes its place, if it is there.
func (g *groomer) listInstead(ctx context.Context, in *grooming, old *row) error {
	s := g.a.space(in.space)
	e, err := s.st.Stat(ctx, in.final)
	if errors.Is(err, os.ErrNotExist) {
		g.a.state.endGroom(in)
		return nil
	}
	if err != nil {
		return err
	}
	r, err := g.a.readRow(ctx, s, e)
	if err != nil || r == nil {
		return err
	}
	r.ID = in.file
	if err := g.a.restoreOriginal(ctx, old, r); err != nil {
		return err
	}
	return g.after(ctx, s, []*grooming{in}, time.Time{})
}

// listedRow turns "there is none" into nil.
func listedRow(r *row, err error) (*row, error) {
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return r, err
}

// Causes of the ledger's records about grooming: the original went, the file in
// its place was made.
const (
	causeGroomed     = "groomed"
	causeGroomedFile = "groomed file"
	causeNotUsed     = "not used" // the original is there still
)

// attestGroomed notes in the ledger of the space that a signed file was groomed,
// and what takes its place.
func (a *Archive) attestGroomed(ctx context.Context, s *space, listed *row) error {
	if a.o.Signer == nil {
		return nil
	}
	f, err := s.open(ctx, listed.Name)
	if errors.Is(err, os.ErrNotExist) {
		return nil // somebody took it: readers say so
	}
	if err != nil {
		return err
	}
	defer f.Close()
	h, _, _, err := parseHead(f, listed.Size)
	if err != nil {
		return fmt.Errorf("%s: %w", listed.Name, err)
	}
	if h.Optional&featureSigned == 0 || h.Groomed == nil {
		return nil
	}
	sig, err := signatureOf(f, listed.Size)
	if err == nil && sig == nil {
		err = errors.New("its signature is missing")
	}
	if err != nil {
		return fmt.Errorf("%s: %w", listed.Name, err)
	}
	made := &fact{Type: factSigned, UID: listed.UID, At: listed.Span.From, Until: listed.Span.To, File: h.ID, Size: listed.Size, Cause: causeGroomedFile, Link: sig.Link}
	gone := &fact{Type: factSigned, UID: listed.UID, At: listed.Span.From, Until: listed.Span.To, File: h.Groomed.File, Size: int64(h.ID), Cause: causeGroomed}
	for _, x := range []*fact{made, gone} {
		signFact(x, a.o.Signer)
		s.note(x)
	}
	return nil
}
