package archive

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/cespare/xxhash/v2"

	"media-server/core/media"
	"media-server/core/mux"
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
	known := a.openIn(s, how.strange)
	names, err := a.stepOver(ctx, s)
	if err != nil {
		return err
	}
	how.heard()
	var wg sync.WaitGroup
	var mu sync.Mutex
	var found []*file
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
			f, err := a.recoverEntry(ctx, s, e, renumber, how.heard)
			how.heard()
			switch {
			case err != nil && ctx.Err() != nil: // the next time
			case errors.Is(err, errAside):
				a.setAside(ctx, s, e, err)
			case err != nil:
				a.log.Error("an open file cannot be recovered now", "space", s.cfg.Name, "file", e.Name, "err", err)
			case f != nil:
				mu.Lock()
				found = append(found, f)
				mu.Unlock()
			}
		})
	}
	wg.Wait()
	a.adopt(s, found, how.atStart)
	return ctx.Err()
}

// openIn lists the names of growing files of a space that are in memory. In a
// strange one only those count that have got their number there: the others
// grew on the disk that was there before. What was given up is recovered.
func (a *Archive) openIn(s *space, strange bool) map[string]bool {
	a.mu.Lock()
	var mine []*file
	for _, f := range a.files {
		if f.sp == s {
			mine = append(mine, f)
		}
	}
	a.mu.Unlock()
	names := map[string]bool{}
	for _, f := range mine {
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
	s.taken, s.untouched = false, false
	restoring := s.restoring
	s.mu.Unlock()
	if how.foreign {
		s.renameLedger()
	}
	if restoring {
		a.wantRebuild(s.cfg.Name) // what it holds, and what the catalogue has of another
	}
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
		if n := newest[f.st]; n == nil || n.id < f.id {
			newest[f.st] = f
		}
	}
	for _, f := range found {
		// Sealing waits for the row here as it does for a new file: without one,
		// a core that dies right after the rename leaves a file nobody knows.
		a.cat.reopened(f, func(error) { close(f.rowOpen) })
		if old := a.file(f.id); old != nil && old.sp == s {
			a.forget(old) // given up when the space failed
		}
		st := f.st
		st.mu.Lock()
		st.files = append(st.files, f)
		a.addFile(f)
		keep := newest[st] == f && atStart && !f.cut && (st.cur == nil || st.cur.id < f.id) && !a.hasNewer(f)
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
			if f.flags&IndexTailCut != 0 && !f.cut {
				a.mark(st, f.spanLocked().To, GapServerDown) // a younger file survived what this one lost
			}
			old, prev, sum := st.cur, st.prev, st.prevSum
			st.cur = f
			st.sealLocked(true)
			if st.cur = old; !atStart { // what is recorded now does not follow on it
				st.prev, st.prevSum = prev, sum
			}
		}
		st.mu.Unlock()
	}
}

// hasNewer tells whether a younger file of the stream is complete already:
// recording went on in another space.
func (a *Archive) hasNewer(f *file) bool {
	r, err := a.cat.newest(f.header.UID)
	return err == nil && r.ID > f.id && r.ID>>32 >= f.id>>32 && r.Span.From >= f.spanLocked().To-holeTolerance
}

// recall fills what the next part follows on from a recovered file.
func (a *Archive) recall(st *stream, f *file) {
	l := lastPart{known: true, resumable: !f.header.Unreadable, run: f.header.Run, zero: f.header.Zero, tracks: f.header.Tracks}
	for i := range f.frags {
		fr := &f.frags[i]
		l.track(fr.Track, f.marks[i].LastSeq+1, fr.BaseTime+fr.Duration, lastDuration(fr.Samples))
	}
	seg := f.segs[len(f.segs)-1]
	l.segment, l.discontinuity, l.segmentStart, l.end = seg.Number, seg.Discontinuity, seg.Span.From, seg.Span.To
	l.partIndex = f.frags[len(f.frags)-1].Part
	l.clock, l.sequence = f.tail.clock, f.tail.sequence
	st.last, st.recalled = l, true
	st.prev = f.header.Previous
	st.rules, st.home = f.header.Rules, f.sp
	if f.state == sealing {
		st.prev, st.prevSum = f.id, f.indexSum
	}
	// What was recovered may not have been synced: it counts as durable when
	// the next sync of this file is reported, which covers it.
}

// fillFromPrevious adds the positions of tracks that have no unit in the last
// file yet: after a roll, audio may be a part behind.
func (a *Archive) fillFromPrevious(st *stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	l := &st.last
	if st.cur == nil {
		return
	}
	prev := st.cur.header.Previous
	for range 4 {
		if len(l.next) >= len(l.tracks) || prev == 0 {
			return
		}
		have := map[int]bool{}
		for _, p := range l.next {
			have[p.Track] = true
		}
		tracks, before, err := a.sumOf(prev, l.run)
		if err != nil {
			a.log.Warn("where a track ended cannot be told", "stream", st.uid, "file", prev, "err", err)
			return
		}
		for i := range tracks {
			if t := &tracks[i]; !have[t.ID] {
				l.track(t.ID, t.LastSeq+1, t.End, 0)
			}
		}
		prev = before
	}
}

// sumOf gives the track sums of a file of the run, in memory or in storage,
// and the file before it.
func (a *Archive) sumOf(id FileID, run media.RunID) ([]IndexTrack, FileID, error) {
	if f := a.file(id); f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.sumTracks(), f.header.Previous, nil
	}
	x, err := a.indexOf(id)
	if err != nil || x.Layout.Run != run {
		return nil, 0, err
	}
	return x.Tracks, 0, nil
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

func (a *Archive) recoverEntry(ctx context.Context, s *space, e Entry, renumber bool, heard func()) (*file, error) {
	switch {
	case e.Size == 0:
		return nil, s.st.Delete(ctx, []string{e.Name})
	case strings.HasSuffix(e.Name, ledgerSuffix):
		return nil, a.recoverLedger(ctx, s, e)
	case !strings.HasSuffix(e.Name, ".mp4"):
		return nil, fmt.Errorf("%w: neither a media file nor a ledger", errAside)
	}
	stored, err := s.open(ctx, e.Name)
	if err != nil {
		return nil, err
	}
	defer stored.Close()
	r := heardReader{stored, heard}
	size, isCut := e.Size, false
	if id, ok := idOf(e.Name); ok && !renumber {
		if cut, ok := a.state.cut(id); ok && cut < size {
			size = cut
			isCut = true
		}
	}
	f, err := a.readHead(r, s, e.Name, size)
	if err != nil {
		return nil, err
	}
	f.cut = isCut
	if renumber {
		f.id = a.nextFile()
	}
	err = a.walk(ctx, r, f, e, size)
	if isCut && errors.Is(err, errAside) {
		return nil, s.st.Delete(ctx, []string{e.Name}) // all of it was written elsewhere
	}
	return f, err
}

// heardReader tells when something was read.
type heardReader struct {
	io.ReaderAt
	heard func()
}

func (r heardReader) ReadAt(p []byte, off int64) (int, error) {
	n, err := r.ReaderAt.ReadAt(p, off)
	r.heard()
	return n, err
}

// readHead reads ftyp, moov and the file header.
func (a *Archive) readHead(r io.ReaderAt, s *space, name string, size int64) (*file, error) {
	h, init, end, err := parseHead(r, size)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", errAside, err)
	}
	f := &file{st: a.stream(h.UID), sp: s, id: h.ID, openName: name, header: *h, init: init, first: end, size: end, rowOpen: make(chan struct{}), since: time.Now()}
	f.final = finalName(h.UID, h.ID, h.Opened)
	return f, nil
}

const maxHead = 1 << 20

// parseHead reads the start of a media file up to the end of its file header.
func parseHead(r io.ReaderAt, size int64) (*FileHeader, InitID, int64, error) {
	buf := make([]byte, min(size, 16<<10))
	if _, err := r.ReadAt(buf, 0); err != nil && err != io.EOF {
		return nil, 0, 0, err
	}
	at := int64(0)
	var initEnd int64
	for {
		if at+boxCommon > int64(len(buf)) {
			return nil, 0, 0, fmt.Errorf("no file header: %w", errShort)
		}
		n := int64(binary.BigEndian.Uint32(buf[at:]))
		typ := string(buf[at+4 : at+8])
		if n < 8 || n > maxHead || at+n > size {
			return nil, 0, 0, fmt.Errorf("no file header: box of %d bytes at %d", n, at)
		}
		if at+n+boxCommon > int64(len(buf)) && int64(len(buf)) < size {
			grown := make([]byte, min(size, at+n+16<<10))
			if _, err := r.ReadAt(grown, 0); err != nil && err != io.EOF {
				return nil, 0, 0, err
			}
			buf = grown
		}
		switch {
		case typ == "ftyp" && at == 0, typ == "moov":
			initEnd = at + n
		case typ == "uuid" && initEnd > 0:
			h, err := ParseFileHeader(buf[at : at+n])
			if err != nil {
				return nil, 0, 0, err
			}
			if h.UID == "" || !validName(h.UID) {
				return nil, 0, 0, fmt.Errorf("file header names no stream")
			}
			init, err := mux.Init(h.Tracks)
			if err != nil {
				return nil, 0, 0, err
			}
			return h, initIDOf(init), at + n, nil
		default:
			return nil, 0, 0, fmt.Errorf("no file header: box %q at %d", typ, at)
		}
		at += n
	}
}

// validName tells whether a uid read from a file may become part of a name.
func validName(uid string) bool {
	for _, c := range []byte(uid) {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '_' || c == '-') {
			return false
		}
	}
	return len(uid) > 0 && len(uid) <= 64
}

// adoptIndex takes over a file that was complete but not yet sealed.
func (f *file) adoptIndex(x *Index, b []byte, size int64) {
	f.frags, f.segs, f.marks = x.Layout.Fragments, x.Layout.Segments, x.Marks
	f.flags = x.Flags
	f.indexAt, f.indexSum = size-int64(len(b)), sum256(b)
	f.size, f.written, f.synced = size, size, 0
	f.state = sealing
	for i := range f.marks {
		for k := range x.Tracks {
			if t := &x.Tracks[k]; t.ID == f.frags[i].Track && i == lastOf(f.frags, t.ID) {
				f.marks[i].LastSeq = t.LastSeq
			}
		}
	}
}

func lastOf(frags []Fragment, track int) int {
	for i := len(frags) - 1; i >= 0; i-- {
		if frags[i].Track == track {
			return i
		}
	}
	return -1
}

// walk reads fragment after fragment and cuts the tail behind the last good
// one (FORMAT.md, "Recovery").
func (a *Archive) walk(ctx context.Context, r io.ReaderAt, f *file, e Entry, size int64) error {
	var infos []mux.FragmentInfo
	var durable, verified int64
	damaged := false
	at := f.first
	for at < size && ctx.Err() == nil {
		info, next, err := mux.ParseFragment(r, at, size)
		if err == nil && info.Header.Run != f.header.Run {
			err = fmt.Errorf("fragment of another run")
		}
		if err != nil {
			if at >= durable {
				break
			}
			// Bytes that were acknowledged as synced are not ours to cut.
			damaged = true
			if at = findPart(r, at+1, size); at < 0 {
				break
			}
			continue
		}
		durable = max(durable, int64(info.Header.DurableTo))
		infos = append(infos, info)
		at = next
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	durable = min(durable, size)
	good := len(infos)
	for i := range infos {
		if infos[i].End() <= durable {
			verified = infos[i].End()
			continue
		}
		if err := verifyUnits(r, &infos[i]); err != nil {
			good = i
			break
		}
		verified = infos[i].End()
	}
	if err := ctx.Err(); err != nil {
		return err // what was not read is not torn
	}
	if good == 0 {
		return fmt.Errorf("%w: not one whole fragment in %d bytes", errAside, size)
	}
	for i := range infos[:good] {
		f.addStored(&infos[i])
	}
	last := &infos[good-1]
	f.tail.sequence = last.Sequence
	for i := good - 1; i >= 0; i-- {
		if infos[i].Header.First {
			f.tail.clock = infos[i].Header.Clock
			break
		}
	}
	f.size = verified
	if f.header.Optional&featureSigned != 0 {
		f.chain = chainOf(r, infos[:good])
	}
	// The trailer may have survived what lies before it, so it counts only now.
	if x, b, err := readIndex(r, size); err == nil && x.Layout.File == f.header.ID && x.End == f.size && len(x.Layout.Fragments) == good {
		f.attestAgain(r, size-int64(len(b)))
		f.adoptIndex(x, b, size)
		return nil
	}
	if damaged {
		a.notify(Notice{Type: "archive.damaged", UID: f.header.UID, Level: "error", Message: "damaged bytes inside " + e.Name, Data: map[string]any{"file": e.Name}})
	}
	if e.Size > f.size {
		cctx, cancel := context.WithTimeout(ctx, 10*time.Second)
		defer cancel()
		if err := f.sp.st.Truncate(cctx, e.Name, f.size); err != nil {
			return fmt.Errorf("cut torn tail: %w", err)
		}
		f.flags |= IndexTailCut
		a.counters.tornTails.Add(1)
		a.notify(Notice{Type: "archive.torn_tail", UID: f.header.UID, Level: "info",
			Message: fmt.Sprintf("%d bytes behind the last whole fragment of %s were cut", e.Size-f.size, e.Name),
			Data:    map[string]any{"file": e.Name, "cut": e.Size - f.size, "kept": f.size}})
	}
	a.counters.recovered.Add(1)
	f.written, f.synced, f.reserved = f.size, min(durable, f.size), f.size
	return nil
}

// addStored adds a fragment read back from storage.
func (f *file) addStored(info *mux.FragmentInfo) {
	h := &info.Header
	if n := len(f.segs); n == 0 || f.segs[n-1].Number != h.Segment {
		if n > 0 {
			f.segs[n-1].Complete = true
		}
		f.segs = append(f.segs, SegmentLayout{Number: h.Segment, Discontinuity: h.Discontinuity,
			Independent: h.Independent && h.PartIndex == 0, First: len(f.frags), Last: len(f.frags)})
	}
	seg := len(f.segs) - 1
	f.frags = append(f.frags, Fragment{Track: h.Track, Segment: seg, Part: h.PartIndex, Offset: info.HeaderAt,
		MoofOffset: info.MoofAt, MoofSize: info.MoofLen, DataOffset: info.PayloadAt, DataSize: info.PayloadLen,
		BaseTime: info.BaseTime, Duration: info.Duration, FirstSeq: h.FirstSeq, Samples: f.keep(info.Samples)})
	var flags uint8
	if h.First {
		flags |= partFirst
	}
	if h.Last {
		flags |= partLast
	}
	if h.Independent {
		flags |= partIndependent
	}
	f.marks = append(f.marks, FragmentMark{CRC: h.CRC, Flags: flags, LastSeq: h.LastSeq})
	f.segs[seg].Last = len(f.frags)
	f.stretch(&f.segs[seg], &f.frags[len(f.frags)-1])
}

// findPart looks for the next part header from off on; -1 = none.
func findPart(r io.ReaderAt, off, size int64) int64 {
	id := boxID("mspart")
	mark := append([]byte("uuid"), id[:]...)
	buf := make([]byte, 256<<10)
	for off < size {
		n, err := r.ReadAt(buf[:min(int64(len(buf)), size-off)], off)
		b := buf[:n]
		for at := 0; ; {
			i := bytes.Index(b[at:], mark)
			if i < 0 {
				break
			}
			start := off + int64(at+i) - 4
			if _, _, err := mux.ParseFragment(r, start, size); err == nil {
				return start
			}
			at += i + 1
		}
		if err != nil || n <= len(mark) {
			return -1
		}
		off += int64(n - len(mark))
	}
	return -1
}

// setAside moves a file that is not understood out of the way, keeping it.
func (a *Archive) setAside(ctx context.Context, s *space, e Entry, why error) {
	a.counters.setAside.Add(1)
	to := asidePrefix + strings.TrimPrefix(e.Name, openPrefix)
	if err := s.st.Seal(ctx, e.Name, to, e.Size); err != nil {
		to = e.Name // it stays where it is
	}
	a.notify(Notice{Type: "archive.set_aside", Level: "warning", Message: fmt.Sprintf("%s is kept as %s: %v", e.Name, to, why),
		Data: map[string]any{"space": s.cfg.Name, "file": to, "size": e.Size}})
}

// recoverLedger reads the ledger of a dead process and closes it.
func (a *Archive) recoverLedger(ctx context.Context, s *space, e Entry) error {
	good, err := a.readLedger(ctx, s, e)
	if err != nil {
		return err
	}
	if good == 0 {
		return fmt.Errorf("%w: not a ledger", errAside)
	}
	if int64(good) < e.Size {
		a.counters.tornTails.Add(1)
		if err := s.st.Truncate(ctx, e.Name, int64(good)); err != nil {
			return err
		}
	}
	return s.st.Seal(ctx, e.Name, ledgerPrefix+path.Base(e.Name), int64(good))
}

// readLedger puts the facts of a ledger into state.db.
func (a *Archive) readLedger(ctx context.Context, s *space, e Entry) (good int, err error) {
	if e.Size > 64<<20 {
		return 0, fmt.Errorf("%w: ledger of %d bytes", errAside, e.Size)
	}
	b := make([]byte, e.Size)
	if n, err := s.st.ReadAt(ctx, e.Name, 0, b); err != nil && !(errors.Is(err, io.EOF) && n == len(b)) {
		return 0, err
	}
	// Where a file was cut is told by its number: of another node that is
	// another file. After the loss of state.db the node is another one as well.
	others := len(b) >= ledgerHead && [16]byte(b[8:24]) != a.o.Node && !a.state.fresh
	good, _ = parseLedger(b, func(f fact) {
		if f.Type != factCut || !others {
			a.state.add(&f)
		}
	})
	return good, nil
}

// open gives random access to a stored file: a descriptor, or reads through
// the backend with a little ahead.
func (s *space) open(ctx context.Context, name string) (readerAtCloser, error) {
	f, err := s.st.File(ctx, name)
	if err == nil {
		return f, nil
	}
	if errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	return &remoteFile{ctx: ctx, st: s.st, name: name}, nil
}

type readerAtCloser interface {
	io.ReaderAt
	io.Closer
}

// remoteFile reads blocks of 256 kB through the backend and keeps the last.
type remoteFile struct {
	ctx  context.Context
	st   Storage
	name string

	mu  sync.Mutex
	off int64
	buf []byte
}

const remoteBlock = 256 << 10

func (r *remoteFile) ReadAt(p []byte, off int64) (int, error) {
	if len(p) >= remoteBlock {
		return r.st.ReadAt(r.ctx, r.name, off, p)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if off < r.off || off+int64(len(p)) > r.off+int64(len(r.buf)) {
		b := make([]byte, remoteBlock)
		n, err := r.st.ReadAt(r.ctx, r.name, off, b)
		if n == 0 && err != nil {
			return 0, err
		}
		r.off, r.buf = off, b[:n]
	}
	n := copy(p, r.buf[off-r.off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (r *remoteFile) Close() error { return nil }

// recallLast tells a stream whose files are all sealed where it ended: its
// numbers go on, and its run may.
func (a *Archive) recallLast(st *stream) error {
	st.mu.Lock()
	known := st.last.known
	st.mu.Unlock()
	if known {
		a.fillFromPrevious(st)
		return nil
	}
	r, err := a.lastRow(st.uid)
	if err != nil {
		return err
	}
	last, disc, counted := a.cat.lastNumbers(st.uid)
	if r == nil { // nothing left of it, but its numbers go on
		st.mu.Lock()
		if counted && !st.last.known {
			st.last.known, st.last.segment, st.last.discontinuity = true, last, disc
		}
		st.mu.Unlock()
		return nil
	}
	x, err := a.indexOfRow(r)
	if err != nil {
		return err
	}
	if len(x.Layout.Segments) == 0 || len(x.Layout.Fragments) == 0 {
		return nil
	}
	seg := x.Layout.Segments[len(x.Layout.Segments)-1]
	l := lastPart{known: true, run: r.Run, zero: r.Zero, segment: seg.Number, discontinuity: seg.Discontinuity, segmentStart: seg.Span.From, end: seg.Span.To}
	for i := range x.Tracks {
		t := &x.Tracks[i]
		l.track(t.ID, t.LastSeq+1, t.End, lastDuration(x.Layout.Fragments[lastOf(x.Layout.Fragments, t.ID)].Samples))
	}
	frag := &x.Layout.Fragments[len(x.Layout.Fragments)-1]
	l.partIndex = frag.Part
	l.tracks, _ = a.cat.tracks(r.Init)
	recent := media.WallOf(time.Now()).Sub(l.end) < 10*time.Minute
	if recent && len(l.tracks) > 0 && !a.state.ended(st.uid, l.end) {
		l.resumable = a.tailOfRow(r, x, &l) == nil
	}
	st.mu.Lock()
	if !st.last.known {
		st.last, st.recalled = l, !a.state.ended(st.uid, l.end)
		st.prev, st.home = r.ID, a.space(r.Space)
	}
	st.mu.Unlock()
	return nil
}

// readTail reads the clock state and the last moof's number from the headers
// of the last part.
func readTail(r io.ReaderAt, l *Layout, size int64) (t tailInfo, err error) {
	for i := len(l.Fragments) - 1; i >= 0; i-- {
		info, _, err := mux.ParseFragment(r, l.Fragments[i].Offset, size)
		if err != nil {
			return t, err
		}
		t.sequence = max(t.sequence, info.Sequence)
		if info.Header.First {
			t.clock = info.Header.Clock
			return t, nil
		}
	}
	return t, nil
}

func (a *Archive) tailOfRow(r *row, x *Index, l *lastPart) error {
	s := a.space(r.Space)
	if s == nil {
		return ErrNoSpace
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f, err := s.open(ctx, r.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := readTail(f, &x.Layout, r.Size)
	l.clock, l.sequence = t.clock, t.sequence
	return err
}

// verifyUnits compares the bytes of a fragment with the hashes in its header.
func verifyUnits(r io.ReaderAt, info *mux.FragmentInfo) error {
	if info.Header.Encrypted { // no key is needed: the record has a checksum of the stored bytes
		n, err := info.VerifyPayload(r)
		if err == nil && n < len(info.Samples) {
			err = fmt.Errorf("encrypted payload: %w", errChecksum)
		}
		return err
	}
	b := make([]byte, info.PayloadLen)
	if n, err := r.ReadAt(b, info.PayloadAt); n < len(b) {
		return fmt.Errorf("read payload: %w", err)
	}
	for i, h := range info.Header.Hashes {
		n := int(info.Samples[i].Size)
		if n > len(b) || xxhash.Sum64(b[:n]) != h {
			return fmt.Errorf("unit %d of %d: %w", i, len(info.Header.Hashes), errChecksum)
		}
		b = b[n:]
	}
	return nil
}

func sum256(b []byte) [32]byte { return sha256.Sum256(b) }

func initIDOf(init []byte) InitID {
	sum := sha256.Sum256(init)
	return InitID(binary.BigEndian.Uint64(sum[:]))
}
