package archive

import (
	"errors"
	"fmt"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

const (
	defaultChunk = 2 * time.Minute
	// A file waits so long past its length for a key frame to start the next one with.
	keyWait = 5 * time.Minute
)

// Recorder records one stream. Its methods are called from one goroutine at a
// time; Begin, Append and End never block.
type Recorder struct {
	st     *stream
	closed bool
}

// Recorder gives the recorder of a stream; there is one at a time.
func (a *Archive) Recorder(uid string, rules Rules) (*Recorder, error) {
	if _, err := a.pool(rules.Pool); err != nil {
		return nil, err
	}
	st := a.stream(uid)
	st.mu.Lock()
	if st.begun {
		st.mu.Unlock()
		return nil, fmt.Errorf("stream %s is being recorded already", uid)
	}
	st.rules = rules
	st.mu.Unlock()
	if err := a.recallLast(st); err != nil {
		a.log.Warn("cannot tell where the last recording ended", "stream", uid, "err", err)
	}
	a.cat.rules(uid, rules)
	return &Recorder{st: st}, nil
}

// Resume tells where the last run of the stream goes on, if it still can: it
// has not been ended, and its last part is held in storage or in memory.
func (r *Recorder) Resume() (Resume, bool) {
	st := r.st
	st.mu.Lock()
	defer st.mu.Unlock()
	l := &st.last
	if !l.resumable {
		return Resume{}, false
	}
	return Resume{
		Positions: media.RunPosition{Run: l.run, Tracks: append([]media.Position(nil), l.next...)},
		Zero:      l.zero, Clock: append([]byte(nil), l.clock...),
		Segment: l.segment, Discontinuity: l.discontinuity, PartIndex: l.partIndex + 1,
		Tracks: append([]media.Track(nil), l.tracks...), Expect: l.expected(),
		LastEnd: l.end, SegmentStart: l.segmentStart, Fragments: l.sequence,
	}, true
}

// Held tells how far the newest run of the stream is held, whether it can go on
// or was ended on purpose: what a driver need not send again.
func (r *Recorder) Held() (media.RunPosition, bool) {
	st := r.st
	st.mu.Lock()
	defer st.mu.Unlock()
	l := &st.last
	return media.RunPosition{Run: l.run, Tracks: append([]media.Position(nil), l.next...)}, l.known && !l.run.IsZero() && len(l.next) > 0
}

// NextSegment gives the numbers that a new run starts with: a segment number
// never used before and the discontinuity counter of the last segment.
func (r *Recorder) NextSegment() (segment, discontinuity uint64) {
	r.st.mu.Lock()
	defer r.st.mu.Unlock()
	if !r.st.last.known {
		return 0, 0
	}
	return r.st.last.segment + 1, r.st.last.discontinuity
}

// Begin starts a run, or new parameters in a run, or continues the run that
// Resume told of, with the same run, zero and tracks. why says why there is
// nothing before it.
func (r *Recorder) Begin(run media.RunID, zero media.Wall, tracks []media.Track, why GapCause) error {
	if r.closed {
		return ErrClosed
	}
	init, err := mux.Init(tracks)
	if err != nil {
		return fmt.Errorf("begin run of %s: %w", r.st.uid, err)
	}
	st := r.st
	st.mu.Lock()
	defer st.mu.Unlock()
	id := initIDOf(init)
	same := st.cur != nil && st.cur.header.Run == run && st.cur.init == id && st.cur.header.Zero == zero
	if st.cur != nil && !same {
		st.sealLocked(st.cur.header.Run != run)
	}
	if st.cur != nil {
		st.cur.mu.Lock()
		st.cur.since = time.Time{}
		st.cur.mu.Unlock()
	}
	if st.last.run != run {
		st.prev, st.prevSum = 0, [32]byte{}
		st.last.resumable = false
	}
	st.run, st.zero, st.init = run, zero, id
	st.tracks = append([]media.Track(nil), tracks...)
	st.begun, st.behind = true, false
	if st.cur != nil {
		st.settleIn(st.cur.sp)
	}
	if why != GapNone {
		st.why = why
	}
	return nil
}

// Append stores a part; it takes a reference of its own. It patches the part's
// durable-to, so nobody else may see the part before. After ErrBehind nothing
// more is taken until Begin: the run goes on behind what Resume tells.
func (r *Recorder) Append(p *media.Part) error {
	st := r.st
	now := time.Now()
	st.mu.Lock()
	err := st.appendLocked(p, now)
	if errors.Is(err, ErrBehind) && !st.behind {
		st.behind = true
		st.mu.Unlock()
		st.a.counters.behind.Add(1)
		return err
	}
	st.mu.Unlock()
	if err == nil {
		st.signal()
	}
	return err
}

func (st *stream) appendLocked(p *media.Part, now time.Time) error {
	switch {
	case !st.begun || st.a.closed.Load():
		return ErrClosed
	case st.behind:
		return ErrBehind
	case p.Run != st.run:
		return fmt.Errorf("stream %s: part of run %s in run %s", st.uid, p.Run, st.run)
	case st.waiting(now) > st.a.o.WriteBuffer:
		st.behindWhy = GapDiskError
		if st.cur != nil {
			st.behindWhy = st.cur.sp.ails()
		}
		return ErrBehind
	}
	if err := st.ready(); err != nil {
		return st.noKey(err)
	}
	if st.cur != nil && st.rollNow(p) {
		st.sealLocked(false)
	}
	sp := st.a.pick(st)
	if sp == nil {
		st.behindWhy = GapDiskFull
		return ErrNoSpace
	}
	if !sp.room(int64(p.Size())) {
		st.behindWhy = sp.ails()
		return ErrBehind
	}
	if st.cur == nil {
		if err := st.openFile(sp, p); err != nil {
			return st.noKey(err)
		}
	}
	if err := st.put(p, now); err != nil {
		return err
	}
	if st.last.known && st.last.end != 0 && (p.Run != st.last.run || st.why == GapClockSet) { // 0: its footage is gone, and only its numbers are known
		st.a.gapEnds(st, st.last.gapFrom(), st.cur.lastSegment().From, st.why)
	}
	if !st.last.known {
		st.a.born(st, st.cur.lastSegment().From)
	}
	st.why, st.endCause, st.recalled = GapNone, GapNone, false
	st.last.take(p, st.cur.lastSegment(), st.zero, st.tracks)
	return nil
}

// put lays a part out in the current file and queues it: the part itself, or
// in an encrypted file a copy, which alone is kept.
func (st *stream) put(p *media.Part, now time.Time) error {
	f := st.cur
	f.mu.Lock()
	durable := uint64(f.synced)
	f.mu.Unlock()
	if f.cipher != nil {
		sealed, err := f.cipher.seal(p)
		if err != nil {
			return err
		}
		p = sealed
	} else {
		p.Retain()
	}
	for i := range p.Fragments {
		mux.SetDurable(p.Fragments[i].Head, durable)
	}
	e := &entry{st: st, part: p, run: p.Run, queued: now}
	st.ahead = append(st.ahead, e)
	f.queue(st.lay(f, e, p.Fragments))
	return nil
}

// lay gives a part its place at the end of a file, behind the file's head if
// it is the first one.
func (st *stream) lay(f *file, e *entry, frags []media.Fragment) []*chunk {
	f.mu.Lock()
	defer f.mu.Unlock()
	at := f.size
	var pieces [][]byte
	if at == 0 {
		head, err := mux.FileInit(f.header.Tracks, mux.FileInfo{Created: f.header.Opened})
		if err != nil { // Begin made an init segment of the same tracks
			head = nil
		}
		head = AppendFileHeader(head, &f.header)
		if f.header.Optional&featureSigned != 0 {
			f.chain = beginChain(head)
		}
		f.first, f.size = int64(len(head)), int64(len(head))
		pieces = append(pieces, head)
	}
	pieces = f.addPart(pieces, e.part, frags)
	cs := split(pieces, at)
	expected := st.expected
	if expected == 0 {
		expected = st.fullSize(f)
	}
	cs[0].create = at == 0
	e.left = len(cs)
	for _, c := range cs {
		c.f, c.ent, c.queued = f, e, e.queued
		c.reserve = f.reserveTo(c.end(), expected)
	}
	f.pending = append(f.pending, cs...)
	return cs
}

// fullSize is what a file takes when it has its full length, at the pace that it
// had so far; 0 = too early to tell. f.mu is held.
func (st *stream) fullSize(f *file) int64 {
	d := f.spanLocked().Duration()
	if d <= 2*time.Second {
		return 0
	}
	chunk := st.rules.Chunk
	if chunk <= 0 {
		chunk = defaultChunk
	}
	return int64(float64(f.size) * float64(chunk) / float64(d))
}

// lastSegment is the span of the last segment so far.
func (f *file) lastSegment() media.Span {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.segs) == 0 {
		return media.Span{}
	}
	return f.segs[len(f.segs)-1].Span
}

// rollNow tells whether p belongs into a new file.
func (st *stream) rollNow(p *media.Part) bool {
	f := st.cur
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.segs) == 0 || p.Index != 0 || p.Segment == f.segs[len(f.segs)-1].Number {
		return false
	}
	chunk := st.rules.Chunk
	if chunk <= 0 {
		chunk = defaultChunk
	}
	start := f.segs[0].Span.From
	length := p.Start.Sub(start)
	// Half a segment early is nearer to the wanted length than a whole one late.
	seg := f.segs[len(f.segs)-1].Span.Duration()
	due := st.otherKey(f, p) || length+seg/2 >= chunk || p.Start.Milli()/86400000 != start.Milli()/86400000 || !f.sp.usable() && st.a.pick(st) != f.sp
	return due && (p.Independent || length > chunk+keyWait)
}

// openFile makes the file that p is the first part of.
func (st *stream) openFile(sp *space, p *media.Part) error {
	c, durable, err := st.newCipherFor(p)
	if err != nil {
		return err
	}
	st.cur = st.newFile(sp, p, st.run, st.zero, st.tracks, st.init, c)
	st.cur.hold(durable)
	return nil
}

// newFile makes a file; with a cipher it is encrypted.
func (st *stream) newFile(sp *space, p *media.Part, run media.RunID, zero media.Wall, tracks []media.Track, init InitID, c *partCipher) *file {
	a := st.a
	st.settleIn(sp)
	id := a.nextFile()
	f := &file{st: st, sp: sp, id: id, openName: openName(st.uid, id), init: init, rowOpen: make(chan struct{})}
	f.final = finalName(st.uid, id, p.Start)
	f.header = FileHeader{GoesOn: st.prev != 0, Source: SourceLive, Node: a.o.Node, Run: run, Zero: zero, ID: id, Epoch: a.o.Epoch,
		Segment: p.Segment, Discontinuity: p.Discontinuity, Previous: st.prev, PreviousHash: st.prevSum, UID: st.uid, Rules: st.rules,
		Program: a.o.Program, Opened: p.Start, Tracks: tracks}
	if st.signs() {
		f.header.Optional |= featureSigned
	}
	if c != nil {
		f.cipher, f.header.Features, f.header.Encryption = c, featureEncrypted, &c.enc
	}
	a.cat.init(init, tracks)
	a.cat.opened(f, p.Start)
	st.files = append(st.files, f)
	a.addFile(f)
	return f
}

// sealLocked ends the current file: index and trailer are queued, Seal follows
// when all is written.
func (st *stream) sealLocked(recovered bool) {
	f := st.cur
	st.cur = nil
	f.mu.Lock()
	if recovered && !f.since.IsZero() {
		f.flags |= IndexRecovered
	}
	if f.state != growing {
		f.mu.Unlock()
		return
	}
	if n := st.fullSize(f); n > 0 {
		st.expected = min(n, 4*f.size)
	}
	at := f.size
	cs := split([][]byte{f.appendIndexLocked(true, st.rules)}, at)
	for _, c := range cs {
		c.f, c.queued = f, time.Now()
	}
	f.pending = append(f.pending, cs...)
	st.prev, st.prevSum = f.id, f.indexSum
	attest := f.attest
	f.mu.Unlock()
	f.queue(cs)
	if attest != nil {
		f.sp.note(attest)
	}
}

// OnDurable registers what is told how far the stream survives a power cut.
// f must not block.
func (r *Recorder) OnDurable(f func(media.RunPosition)) {
	r.st.mu.Lock()
	r.st.onDurable = f
	r.st.mu.Unlock()
}

// End ends the run: the file is sealed. cause is why footage is missing from
// here on.
func (r *Recorder) End(cause GapCause) {
	st := r.st
	st.mu.Lock()
	defer st.mu.Unlock()
	if st.cur != nil {
		st.sealLocked(true)
	}
	if st.last.resumable && cause != GapNone {
		st.a.mark(st, st.last.end, cause)
		st.endCause = cause
	}
	st.last.resumable = false
	st.run = media.RunID{}
	st.begun = false
	st.moveOut()
}

// Gap reports units that are known to be lost inside a run. Without a cause it
// is what storage ailed from when the stream last fell behind.
func (r *Recorder) Gap(s media.Span, why GapCause) {
	if !s.Empty() {
		r.st.mu.Lock()
		recalled, end := r.st.recalled, r.st.endCause
		r.st.recalled, r.st.endCause = false, GapNone // of holes between runs
		r.st.a.gapEnds(r.st, s.From, s.To, why)
		r.st.recalled, r.st.endCause = recalled, end
		r.st.mu.Unlock()
	}
}

// Ails tells what storage ailed from when a part of the stream was last refused;
// GapNone = none was.
func (r *Recorder) Ails() GapCause {
	r.st.mu.Lock()
	defer r.st.mu.Unlock()
	return r.st.behindWhy
}

// Mark says that footage missing from at on is missing for this cause, without
// a run having ended: the schedule, the operator.
func (r *Recorder) Mark(at media.Wall, cause GapCause) {
	r.st.mu.Lock()
	r.st.a.mark(r.st, at, cause)
	r.st.mu.Unlock()
}

// SetRules changes the rules of the stream at once. A new pool or length
// applies from the next file on.
func (r *Recorder) SetRules(rules Rules) {
	r.st.mu.Lock()
	r.st.rules = rules
	r.st.mu.Unlock()
	r.st.a.cat.rules(r.st.uid, rules)
}

// Close ends the recorder without sealing: the run may be resumed, by another
// recorder of this process or by the next process.
func (r *Recorder) Close() {
	st := r.st
	st.mu.Lock()
	r.closed = true
	st.begun = false
	st.moveOut()
	st.onDurable = nil
	if st.cur != nil {
		st.cur.mu.Lock()
		st.cur.since = time.Now()
		st.cur.mu.Unlock()
	}
	st.mu.Unlock()
}
