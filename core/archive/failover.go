package archive

import (
	"context"
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"sync"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// failOver takes everything that waits for a broken space to the next usable
// space of each stream's pool. Without one it stays: the space may come back.
func (s *space) failOver(ctx context.Context) {
	s.mu.Lock()
	q := s.q
	s.mu.Unlock()
	if len(q) == 0 || ctx.Err() != nil {
		return
	}
	moved := map[*file]bool{}
	for _, c := range q {
		if c.f != nil && !moved[c.f] {
			moved[c.f] = true
			if to := s.a.elsewhere(c.f.st, s); to != nil {
				s.moveFile(c.f, to)
			}
		}
	}
}

// abandon gives up one file of a space that works: what waits for it goes into
// a new file, in the same space. Nothing of that is done to a file that is not gone
// but sealed: its old name was found no more by a message sent again. It returns what
// is to be said of the space, if anything, and whether that can be found out only
// later.
//
// Of the file keep bytes are left by another program: what it took of the
// durable part is a gap.
func (s *space) abandon(ctx context.Context, name string, keep int64) (what string, later bool) {
	s.mu.Lock()
	var f *file
	for _, c := range s.q {
		if c.f != nil && c.f.openName == name {
			f = c.f
			break
		}
	}
	s.mu.Unlock()
	if f != nil {
		f.mu.Lock()
		state, busy, doubt, final, size := f.state, f.busy, f.doubt, f.final, f.size
		f.mu.Unlock()
		switch {
		case state == sealed:
			s.settled(f)
			return "", false
		case busy:
			return "", true
		case state == sealing:
			sctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			e, err := s.st.Stat(sctx, final)
			cancel()
			if err == nil && e.Size == size { // the answer to Seal was lost
				s.settled(f)
				s.sealSoon(f)
				return "", false
			}
			if err != nil && !errors.Is(err, os.ErrNotExist) {
				return "", true
			}
		}
		s.moveRest(f, s, keep)
		if doubt {
			return "", false // that is told already
		}
		return "a growing file was removed or cut by somebody else", false
	}
	if !strings.HasSuffix(name, ledgerSuffix) {
		return "", false
	}
	// A ledger: begin another one and write again what waits.
	s.mu.Lock()
	defer s.mu.Unlock()
	s.led = nil
	q, again := s.q[:0:0], s.q[:0:0]
	for _, c := range s.q {
		if c.led == nil || c.led.name != name {
			q = append(q, c)
		} else {
			s.bytes -= c.size
			again = append(again, c)
		}
	}
	s.q, s.sent, s.wr = q, 0, 0
	for _, c := range again {
		rec := c.data[0]
		if c.off == 0 {
			rec = rec[ledgerHead:]
		}
		s.noteLocked(rec, c.note)
	}
	return "a growing file was removed or cut by somebody else", false
}

// inDoubt remembers that the ends of growing files could not be made durable: what
// is found to be missing of them then, nobody else has taken. A sync is for many
// files, and the connection ends with the first of them that is told.
func (s *space) inDoubt() {
	for _, f := range s.a.filesIn(s) {
		f.mu.Lock()
		f.doubt = true
		f.mu.Unlock()
	}
}

// elsewhere is the next usable space of a stream's pool.
func (a *Archive) elsewhere(st *stream, not *space) *space {
	var left []*space
	for _, s := range a.candidateSpaces(st.rulesNow().Pool) {
		if s != not && s.usable() {
			left = append(left, s)
		}
	}
	return emptiest(left)
}

func (st *stream) rulesNow() Rules {
	st.mu.Lock()
	defer st.mu.Unlock()
	return st.rules
}

// moveFile writes what is not durable of a file again, into a new file in
// another space. It begins inside a segment if it must: a file that starts
// without a key frame is better than frames lost. The old file is good up to
// its durable end; that it is cut there is noted in the ledger, so that
// nothing shows twice when its space comes back.
func (s *space) moveFile(f *file, to *space) { s.moveRest(f, to, math.MaxInt64) }

// moveRest is moveFile for a file of which another program left keep bytes.
func (s *space) moveRest(f *file, to *space, keep int64) {
	st := f.st
	st.mu.Lock()
	defer st.mu.Unlock()
	f.mu.Lock()
	if f.busy || f.state == sealed || f.state == abandoned {
		f.pass()
		f.mu.Unlock()
		return // sealing decides; what fails then comes here again
	}
	whole, lost, doubt := f.spanLocked(), keep < max(f.synced, f.found), f.doubt
	f.synced, f.found = min(f.synced, keep), min(f.found, keep)
	cut := f.cutLocked()
	left := f.spanLocked()
	wasCurrent := st.cur == f
	f.state = abandoned
	f.mu.Unlock()
	ents := s.takeOut(f, cut)
	s.giveUp(f, cut <= f.first)
	noted := make(chan struct{})
	note := sync.OnceFunc(func() { close(noted) })
	st.a.state.addThen(&fact{Type: factCut, File: f.id, Size: cut}, note)
	time.AfterFunc(5*time.Second, note) // a database that hangs holds nothing up for longer
	to.note(&fact{Type: factCut, UID: st.uid, File: f.id, Size: cut})
	if len(ents) > 0 {
		st.a.notify(Notice{Type: "storage.moved", UID: st.uid, Level: "warning",
			Message: fmt.Sprintf("recording of %s goes on in space %s, %d bytes into %s", st.uid, to.cfg.Name, cut, f.openName),
			Data:    map[string]any{"from": s.cfg.Name, "space": to.cfg.Name}})
	}
	if lost {
		missing := media.Span{From: max(whole.From, left.To), To: whole.To}
		if len(ents) > 0 {
			missing.To = ents[0].part.Start
		}
		why := GapDamaged
		switch {
		case doubt:
			why = GapDiskError
		case keep == 0:
			why = GapDeleted
		}
		s.tookRest(f, missing, why, cut <= f.first)
	}
	if wasCurrent {
		st.cur = nil
	}
	if cut <= f.first {
		st.dropFile(f)
	}
	if len(ents) == 0 {
		return
	}
	st.prev, st.prevSum = f.id, [32]byte{}
	nf := st.newFile(to, ents[0].part, f.header.Run, f.header.Zero, f.header.Tracks, f.init, f.cipher)
	nf.hold(noted) // a copy without the note that the original ends would show twice
	for _, e := range ents {
		st.rewrite(nf, e)
	}
	switch {
	case wasCurrent:
		st.cur = nf
	default: // it was complete but for these parts
		cur := st.cur
		st.cur = nf
		st.sealLocked(false)
		st.cur = cur
	}
}

// pass notes of a file that is being sealed that it is to be written elsewhere if that
// fails, and ends it: a disk that hangs takes longer than memory bridges. f.mu is held.
func (f *file) pass() {
	if f.busy && f.unseal != nil {
		f.passed = true
		f.unseal()
	}
}

// movePassed writes elsewhere what was passed by while it was being sealed, and could
// not be. Of a space that fails its own seals everybody else is told before they end.
func (s *space) movePassed(f *file) (moved bool) {
	f.mu.Lock()
	passed := f.passed
	f.passed = false
	f.mu.Unlock()
	if !passed {
		return false
	}
	if to := s.a.elsewhere(f.st, s); to != nil {
		s.moveFile(f, to)
	}
	return f.givenUp()
}

// cutLocked forgets the fragments of parts that are not durable and returns
// where the file ends then. What an earlier process wrote stays, durable or not:
// there is no other copy of it.
func (f *file) cutLocked() int64 {
	durable := max(f.synced, f.found, f.first)
	n := len(f.frags)
	for n > 0 && f.frags[n-1].End() > durable {
		n--
	}
	// Never inside a part: it is written again whole.
	for n > 0 && n < len(f.frags) && f.marks[n].Flags&partFirst == 0 {
		n--
	}
	f.frags, f.marks = f.frags[:n:n], f.marks[:n:n]
	for k := len(f.segs) - 1; k >= 0; k-- {
		if f.segs[k].First >= n {
			f.segs = f.segs[:k:k]
			continue
		}
		f.segs[k].Last = min(f.segs[k].Last, n)
	}
	for i := range f.segs {
		if i == len(f.segs)-1 {
			seg := f.segs[i]
			seg.Span.To, seg.video = seg.Span.From, false
			for j := seg.First; j < seg.Last; j++ {
				f.stretch(&seg, &f.frags[j])
			}
			f.segs = append(f.segs[:i:i], seg)
		}
	}
	f.size, f.indexAt, f.pending = f.first, 0, nil
	if n > 0 {
		f.size = f.frags[n-1].End()
	}
	f.written = f.size
	return f.size
}

// takeOut removes a file's chunks from the queue and returns the parts, oldest
// first, that lie behind cut.
func (s *space) takeOut(f *file, cut int64) []*entry {
	s.mu.Lock()
	defer s.mu.Unlock()
	var ents []*entry
	q := make([]*chunk, 0, len(s.q))
	for _, c := range s.q {
		if c.f != f {
			q = append(q, c)
			continue
		}
		s.bytes -= c.size
		if c.ent != nil && (len(ents) == 0 || ents[len(ents)-1] != c.ent) {
			ents = append(ents, c.ent)
		}
	}
	s.q, s.sent, s.wr = q, 0, 0
	for i, g := range s.seals {
		if g == f {
			s.seals = append(s.seals[:i:i], s.seals[i+1:]...)
			break
		}
	}
	return ents
}

// rewrite lays a part out in another file. Its headers are copied: somebody
// may be reading the part, and durable-to means another file now.
func (st *stream) rewrite(f *file, e *entry) {
	frags := append([]media.Fragment(nil), e.part.Fragments...)
	for i := range frags {
		frags[i].Head = append([]byte(nil), frags[i].Head...)
		mux.SetDurable(frags[i].Head, 0)
	}
	cs := st.lay(f, e, frags)
	for _, c := range cs {
		c.queued = time.Now() // it has not waited for this space: that would count as stuck
	}
	f.queue(cs)
}

// dropFile forgets a file of which nothing is durable.
func (st *stream) dropFile(f *file) {
	for i, g := range st.files {
		if g == f {
			st.files = append(st.files[:i:i], st.files[i+1:]...)
			break
		}
	}
	st.a.mu.Lock()
	delete(st.a.files, f.id)
	st.a.mu.Unlock()
}
