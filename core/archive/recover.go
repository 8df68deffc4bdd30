package archive

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"media-server/core/media"
)

// errAside: the file is not understood. It is set aside and reported.
var errAside = errors.New("not understood")

// recovery is how a space is recovered.
type recovery struct {
	atStart bool   // the last file of a stream stays open for its run to go on; later a space has only the past to offer
	foreign bool   // nothing there is this process's, however it is numbered
	strange bool   // it is another space than before: its numbers may be those of our files
	heard   func() // called when something was read
}

// recoverSpace brings what was growing in a space to order. Where it is ended
// early, what it has found until then counts, and is left alone the next time:
// its run may have gone on since.
func (a *Archive) recoverSpace(ctx context.Context, s *space, how recovery) error {
	s.leaveUnread(nil) // they are read now
	known := a.openIn(s, how.strange)
	names, err := a.stepOver(ctx, s)
	if err != nil {
		return err
	}
	how.heard()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var found []*file
	var away error
	var left []unreadFile
	unread := map[string]FileID{} // the youngest file of a stream that is there and cannot be read
	slots := make(chan struct{}, 8)
	for _, e := range names {
		id, ok := idOf(e.Name)
		ours := ok && uint64(id)>>32 == a.o.Epoch
		if ours && !how.foreign || known[e.Name] {
			continue // of this process, or recovered already
		}
		renumber := ours || how.strange // another file of ours may have its number
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f, err := a.recoverEntry(ctx, s, e, renumber, notCut, how.heard)
			for range unreadTries {
				if err == nil || errors.Is(err, errAside) || !s.has(ctx, e.Name) || !sleep(ctx, time.Second) {
					break
				}
				f, err = a.recoverEntry(ctx, s, e, renumber, notCut, how.heard) // the backend may have been started anew
			}
			how.heard()
			if uid, ok := growingOf(e.Name); ok && !renumber && err != nil && !errors.Is(err, errAside) && !errors.Is(err, os.ErrNotExist) {
				mu.Lock()
				unread[uid] = max(unread[uid], id)
				mu.Unlock()
			}
			switch {
			case err != nil && ctx.Err() != nil: // the next time
			case errors.Is(err, os.ErrNotExist): // somebody took it
			case errors.Is(err, errAside):
				a.setAside(ctx, s, e, err)
			case err != nil && s.has(ctx, e.Name):
				mu.Lock()
				left = append(left, unreadFile{e.Name, e.Size, renumber})
				mu.Unlock()
				a.notify(Notice{Type: "archive.unreadable", Level: "error", Message: fmt.Sprintf("%s cannot be recovered, it stays as it is and is tried again: %v", e.Name, err),
					Data: map[string]any{"space": s.cfg.Name, "file": e.Name, "error": err.Error()}})
			case err != nil:
				mu.Lock()
				away = err
				mu.Unlock()
			case f != nil:
				mu.Lock()
				found = append(found, f)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	s.leaveUnread(left)
	for uid, id := range unread {
		a.stream(uid).setUnread(id)
	}
	a.adopt(s, found, how.atStart)
	return errors.Join(ctx.Err(), away)
}

// unreadTries is how often more a growing file is read that could not be, while
// its space answers, before the file is to blame.
const unreadTries = 2

// has tells whether a file that could not be recovered is there: then it is to
// blame, and not the backend, which is tried again soon.
func (s *space) has(ctx context.Context, name string) bool {
	_, err := s.st.Stat(ctx, name)
	return err == nil
}

// filesIn lists the files of a space that are in memory.
func (a *Archive) filesIn(s *space) (out []*file) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, f := range a.files {
		if f.sp == s {
			out = append(out, f)
		}
	}
	return out
}

// openIn lists the names of growing files of a space that are in memory. In a
// strange one only those count that have got their number there: the others
// grew on the disk that was there before. What was given up is recovered.
func (a *Archive) openIn(s *space, strange bool) map[string]bool {
	names := map[string]bool{}
	for _, f := range a.filesIn(s) {
		id, _ := idOf(f.openName)
		f.mu.Lock()
		if f.state != abandoned && (!strange || id != f.id) {
			names[f.openName] = true
		}
		f.mu.Unlock()
	}
	return names
}

// recoverFirst is recoverSpace before anything is written there.
func (a *Archive) recoverFirst(ctx context.Context, s *space, atStart bool, heard func()) error {
	s.mu.Lock()
	s.untouched = s.untouched || atStart
	how := recovery{atStart: atStart, foreign: s.untouched || s.taken, strange: s.taken, heard: heard}
	s.mu.Unlock()
	err := a.recoverSpace(ctx, s, how)
	if err != nil {
		return err
	}
	if how.strange {
		if err := a.dueDone(ctx, s.cfg.Name, dueNumbers); err != nil {
			return fmt.Errorf("remember space %s: %w", s.cfg.Name, err)
		}
	}
	s.mu.Lock()
	s.taken, s.untouched, s.known = false, false, true
	restoring := s.restoring
	s.mu.Unlock()
	if how.foreign {
		s.renameLedger()
	}
	if restoring {
		a.wantRebuild(s.cfg.Name) // what it holds, and what the catalogue has of another
	}
	a.isTold(s)
	return nil
}

// stepOver lists what is growing in a space, and lets new files and ledgers have
// numbers that nothing there has: another installation had the same epochs.
func (a *Archive) stepOver(ctx context.Context, s *space) (open []Entry, err error) {
	for _, prefix := range []string{openPrefix, ledgerPrefix} {
		err := s.st.List(ctx, prefix, "", func(es []Entry) error {
			for _, e := range es {
				if id, ok := idOf(e.Name); ok && uint64(id)>>32 == a.o.Epoch {
					a.countFrom(uint32(id))
				}
			}
			if prefix == openPrefix {
				open = append(open, es...)
			}
			return nil
		})
		if err != nil {
			return nil, fmt.Errorf("list %s: %w", prefix, err)
		}
	}
	return open, nil
}

// unminted tells whether a number will be given to a file of this process, or of
// a later one: a file of an earlier installation must not be listed under it.
func (a *Archive) unminted(id FileID) bool {
	epoch := uint64(id) >> 32
	return epoch > a.o.Epoch || epoch == a.o.Epoch && uint32(id) > a.counter.Load()
}

// countFrom mints no number up to n any more.
func (a *Archive) countFrom(n uint32) {
	for c := a.counter.Load(); c < n && !a.counter.CompareAndSwap(c, n); c = a.counter.Load() {
	}
}

// renameLedger gives the ledger of this process in a space, of which nothing was
// sent yet, a name that stepOver left free.
func (s *space) renameLedger() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.led != nil {
		id := s.a.nextFile()
		s.led.name, s.led.final = openPrefix+id.String()+ledgerSuffix, ledgerPrefix+id.String()+ledgerSuffix
	}
}

// adopt hands recovered files to their streams: the newest of each may go on,
// all others are sealed.
func (a *Archive) adopt(s *space, found []*file, atStart bool) {
	newest := map[*stream]*file{}
	for _, f := range found {
		if n := newest[f.st]; n == nil || f.goesOnAfter(n) {
			newest[f.st] = f
		}
	}
	for _, f := range found {
		// Sealing waits for the row here as it does for a new file: without one,
		// a core that dies right after the rename leaves a file nobody knows.
		a.cat.reopened(f, func(error) { close(f.rowOpen) })
		st := f.st
		st.mu.Lock()
		// What was given up when the space failed gives way at once: the footage is in
		// one of both at every moment.
		if i := slices.IndexFunc(st.files, func(g *file) bool { return g.id == f.id && g.sp == s }); i >= 0 {
			st.files = slices.Clone(st.files)
			st.files[i] = f
		} else {
			st.files = append(st.files, f)
		}
		a.addFile(f)
		keep := newest[st] == f && atStart && !f.cut && (st.cur == nil || f.goesOnAfter(st.cur)) && st.unread < f.id && !a.hasNewer(f)
		if keep {
			if st.cur != nil { // in another space, older
				st.sealLocked(true)
			}
			a.recall(st, f)
		}
		switch {
		case f.state == sealing:
			if f.attest != nil {
				s.note(f.attest)
			}
			s.sealSoon(f)
		case keep:
			st.cur = f
		default:
			if f.flags&IndexTailCut != 0 && !f.cut { // a younger file survived what this one lost
				a.mark(st, f.spanLocked().To, GapServerDown)
				a.gapUpTo(st, f, found)
			}
			old, prev, sum := st.cur, st.prev, st.prevSum
			st.cur = f
			st.sealLocked(true)
			if st.cur = old; !atStart { // what is recorded now does not follow on it
				st.prev, st.prevSum = prev, sum
			}
		}
		if newest[st] == f && !keep && st.cur == nil && !st.last.known && !a.hasNewer(f) {
			// It is the youngest, though its run does not go on. Until it is listed the
			// one before it would be taken for that.
			prev, sum := st.prev, st.prevSum
			a.recall(st, f)
			st.last.resumable = false
			st.prev, st.prevSum = prev, sum
		}
		st.mu.Unlock()
	}
}

// gapUpTo notes what f, whose tail is lost, lacks up to the file behind it: sound that
// ran ahead of the pictures lay in f beyond the key frame that the next one begins
// with. st.mu is held.
func (a *Archive) gapUpTo(st *stream, f *file, found []*file) {
	var next *file
	for _, g := range slices.Concat(found, st.files) {
		if g.st == st && g.id > f.id && g.header.Run == f.header.Run && (next == nil || g.id < next.id) {
			next = g
		}
	}
	if next == nil {
		return
	}
	from, to := f.spanLocked().To, next.complete()
	if to > next.spanLocked().From {
		a.record(st, &fact{Type: factGap, UID: st.uid, At: from, Until: to, Cause: GapServerDown})
	}
}

// complete is when the last of the tracks begins in a file that was recovered.
func (f *file) complete() (at media.Wall) {
	seen := map[int]bool{}
	for i := range f.frags {
		fr := &f.frags[i]
		if seen[fr.Track] || len(fr.Samples) == 0 {
			continue
		}
		seen[fr.Track] = true
		for _, t := range f.header.Tracks {
			if t.ID == fr.Track && t.Kind() != media.Data {
				at = max(at, f.header.Zero.Add(media.DurationOf(fr.BaseTime+int64(fr.Samples[0].CTO), t.Timescale)))
			}
		}
	}
	return at
}

// goesOnAfter tells whether the recording goes on behind f rather than behind g,
// another growing file of its stream. That is the one with the higher number, but
// where the end of a complete file was written again, into another space, after its
// run had gone on in the next one. If that copy does not reach the next one, what it
// lacks comes from the driver behind it.
func (f *file) goesOnAfter(g *file) bool {
	fs, gs := f.numberLocked(), g.numberLocked()
	if f.header.Run != g.header.Run || fs == gs || fs < 0 || gs < 0 || (fs > gs) == (f.id > g.id) {
		return f.id > g.id
	}
	if fs < gs {
		return !f.reachesLocked(g.spanLocked().From)
	}
	return g.reachesLocked(f.spanLocked().From)
}

// numberLocked is the number of the last segment; -1 = there is none.
func (f *file) numberLocked() int64 {
	if len(f.segs) == 0 {
		return -1
	}
	return int64(f.segs[len(f.segs)-1].Number)
}

// reachesLocked tells whether nothing is missing between the file and what begins at
// from.
func (f *file) reachesLocked(from media.Wall) bool { return from-f.spanLocked().To <= holeTolerance }

// hasNewer tells whether a younger file of the stream is complete already: recording
// went on in another space. Of the same run it may have the lower number (goesOnAfter).
func (a *Archive) hasNewer(f *file) bool {
	r, err := a.cat.newest(f.header.UID, a.o.Epoch)
	if err != nil || r.Span.From < f.spanLocked().To-holeTolerance {
		return false
	}
	return r.ID > f.id && r.ID>>32 >= f.id>>32 || r.ID < f.id && r.Run == f.header.Run && f.reachesLocked(r.Span.From)
}

// growingOf is the stream whose growing media file has a name.
func growingOf(name string) (uid string, ok bool) {
	uid, ok = strings.CutSuffix(strings.TrimPrefix(name, openPrefix), ".mp4")
	if i := strings.LastIndexByte(uid, '.'); ok && i > 0 {
		return uid[:i], validName(uid[:i])
	}
	return "", false
}

// idOf reads the file id out of a name.
func idOf(name string) (FileID, bool) {
	base := path.Base(name)
	base = strings.TrimSuffix(strings.TrimSuffix(base, ".mp4"), ledgerSuffix)
	if i := strings.LastIndexAny(base, ".-"); i >= 0 {
		base = base[i+1:]
	}
	id, err := strconv.ParseUint(base, 16, 64)
	return FileID(id), err == nil && len(base) == 16
}
