package archive

import (
	"encoding/binary"
	"math"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// stream is what the archive holds of one uid beside the catalogue. It
// outlives recorders: footage does not go when a stream stops.
type stream struct {
	a   *Archive
	uid string

	mu        sync.Mutex
	rules     Rules
	cur       *file // grows
	begun     bool  // Begin was called: Append may come
	behind    bool  // a part was refused: nothing is taken before the next Begin
	run       media.RunID
	zero      media.Wall
	tracks    []media.Track
	init      InitID
	why       GapCause   // why there is nothing before the next part
	endCause  GapCause   // why the last run ended
	behindWhy GapCause   // what storage ailed from when a part was last refused
	since     media.Wall // it is to be recorded since then; 0 = not known, or it was recorded
	birth     *birth     // of this process; nil = none
	recalled  bool       // last was read from storage: the server was down since
	ahead     []*entry   // not yet durable, oldest first
	durable   media.RunPosition
	onDurable func(media.RunPosition)

	last     lastPart
	prev     FileID   // last file of the run
	stepped  bool     // numbers were left out for it
	unread   FileID   // youngest growing file that could not be recovered; 0 = none
	prevSum  [32]byte // its index
	expected int64    // bytes a full file will take, from the last one
	home     *space   // that its newest file is in
	counted  bool     // among home.homes

	files []*file // in memory, oldest first

	gapTime atomic.Int64 // ns, of gaps that ended since the start; needs no mu

	watchMu  sync.Mutex
	watchers map[chan struct{}]struct{}
}

// lastPart is what the next part follows on.
type lastPart struct {
	known         bool // numbers below are used
	resumable     bool // the run may go on behind it
	run           media.RunID
	zero          media.Wall
	tracks        []media.Track
	segment       uint64
	discontinuity uint64
	partIndex     int
	segmentStart  media.Wall
	end           media.Wall
	clock         []byte
	sequence      uint32 // of the last moof
	expect        []mux.Expect
	next          []media.Position
	ends          []trackEnd
}

// trackEnd is where what is shown, or heard, of a track ends.
type trackEnd struct {
	track int
	at    media.Wall
}

// gapFrom is where a gap behind the last part begins: at the end of the track
// that ended first, for the others' last units say nothing about its own. That
// may be before a run that begins right where this one ends: a picture is shown
// for long, and sound beside it is gone. A track that ended more than a second
// before the last picture began was over.
func (l *lastPart) gapFrom() media.Wall {
	from, long := l.end, time.Second
	for _, t := range l.tracks {
		for _, e := range l.expect {
			if t.ID == e.Track && t.Kind() == media.Video {
				long += media.DurationOf(int64(e.LastDuration), t.Timescale)
			}
		}
	}
	for _, e := range l.ends {
		i := slices.IndexFunc(l.tracks, func(t media.Track) bool { return t.ID == e.track })
		if i >= 0 && l.tracks[i].Kind() != media.Data && e.at < from && l.end.Sub(e.at) < long {
			from = e.at
		}
	}
	return from
}

// ended notes samples of a track that were stored, in a file of the zero and tracks
// in l. Pictures that are reordered end in another order than they are decoded.
func (l *lastPart) ended(id int, base int64, samples []media.Sample) {
	if len(samples) == 0 {
		return
	}
	end, at := int64(math.MinInt64), base
	for _, s := range samples {
		at += int64(s.Duration)
		end = max(end, at+int64(s.CTO))
	}
	l.endedAt(id, end)
}

// endedAt notes that a track is shown, or heard, up to end, in ticks from zero.
func (l *lastPart) endedAt(id int, end int64) {
	i := slices.IndexFunc(l.tracks, func(t media.Track) bool { return t.ID == id })
	if i < 0 {
		return
	}
	wall := l.zero.Add(media.DurationOf(end, l.tracks[i].Timescale))
	for k := range l.ends {
		if e := &l.ends[k]; e.track == id {
			e.at = max(e.at, wall)
			return
		}
	}
	l.ends = append(l.ends, trackEnd{id, wall})
}

// take notes a part that was appended to a file of this zero and these tracks.
func (l *lastPart) take(p *media.Part, seg media.Span, zero media.Wall, tracks []media.Track) {
	l.segmentStart = seg.From
	if l.run != p.Run {
		l.next, l.expect, l.ends = l.next[:0], l.expect[:0], l.ends[:0]
	}
	if l.run != p.Run || l.zero != zero { // the clock may have been set back
		l.end, l.ends = 0, l.ends[:0]
		clear(l.expect) // of another zero
	}
	l.zero, l.tracks = zero, tracks
	l.known, l.resumable = true, true
	l.run, l.segment, l.discontinuity, l.partIndex = p.Run, p.Segment, p.Discontinuity, p.Index
	l.end = max(l.end, seg.To)
	for i := range p.Fragments {
		f := &p.Fragments[i]
		l.track(f.Track, f.LastSeq+1, f.BaseTime+f.Duration, lastDuration(f.Samples))
		l.ended(f.Track, f.BaseTime, f.Samples)
		if i == 0 {
			l.clock = append(l.clock[:0], clockOf(f.Head[:f.UUIDLen])...)
		}
		if at := f.UUIDLen + 20; len(f.Head) >= at+4 {
			l.sequence = binary.BigEndian.Uint32(f.Head[at:]) // mfhd is the first box in moof
		}
	}
}

func lastDuration(s []media.Sample) uint32 {
	if len(s) == 0 {
		return 0
	}
	return s[len(s)-1].Duration
}

func (l *lastPart) track(id int, next uint64, end int64, dur uint32) {
	for i := range l.next {
		if l.next[i].Track == id {
			l.next[i].Next = next
			l.expect[i] = mux.Expect{Track: id, NextTime: end, LastDuration: dur, NextSeq: next}
			return
		}
	}
	l.next = append(l.next, media.Position{Track: id, Next: next})
	l.expect = append(l.expect, mux.Expect{Track: id, NextTime: end, LastDuration: dur, NextSeq: next})
}

// position is track where no time is known that counts from the zero in l.
func (l *lastPart) position(id int, next uint64) {
	l.next, l.expect = append(l.next, media.Position{Track: id, Next: next}), append(l.expect, mux.Expect{})
}

// expected are the times that are known.
func (l *lastPart) expected() []mux.Expect {
	return slices.DeleteFunc(slices.Clone(l.expect), func(e mux.Expect) bool { return e.Track == 0 })
}

// clockOf finds the clock state in a part header without decoding all of it:
// this runs for each part.
func clockOf(box []byte) []byte {
	if len(box) < 152 {
		return nil
	}
	n, c := int(binary.BigEndian.Uint32(box[144:])), int(binary.BigEndian.Uint16(box[148:]))
	if at := 152 + 8*n; n < 1<<20 && at+c <= len(box) {
		return box[at : at+c]
	}
	return nil
}

// advance reports how far the stream is durable and lets go of parts.
func (st *stream) advance() {
	var free []*media.Part
	st.mu.Lock()
	n := 0
	for n < len(st.ahead) && st.ahead[n].left == 0 {
		e := st.ahead[n]
		if st.durable.Run != e.run {
			st.durable = media.RunPosition{Run: e.run}
		}
		for i := range e.part.Fragments {
			st.setDurable(e.part.Fragments[i].Track, e.part.Fragments[i].LastSeq+1)
		}
		free = append(free, e.part)
		st.ahead[n] = nil
		n++
	}
	st.ahead = st.ahead[n:]
	pos := media.RunPosition{Run: st.durable.Run, Tracks: append([]media.Position(nil), st.durable.Tracks...)}
	fn := st.onDurable
	st.mu.Unlock()
	if n > 0 && fn != nil {
		fn(pos)
	}
	for _, p := range free {
		p.Release()
	}
}

func (st *stream) setDurable(track int, next uint64) {
	for i := range st.durable.Tracks {
		if st.durable.Tracks[i].Track == track {
			st.durable.Tracks[i].Next = next
			return
		}
	}
	st.durable.Tracks = append(st.durable.Tracks, media.Position{Track: track, Next: next})
}

func (st *stream) signal() {
	st.watchMu.Lock()
	for c := range st.watchers {
		poke(c)
	}
	st.watchMu.Unlock()
}

// stream finds or makes the state of a uid.
func (a *Archive) stream(uid string) *stream {
	a.mu.Lock()
	defer a.mu.Unlock()
	st := a.streams[uid]
	if st == nil {
		st = &stream{a: a, uid: uid, watchers: map[chan struct{}]struct{}{}}
		a.streams[uid] = st
	}
	return st
}

// known finds the state of a uid without making one.
func (a *Archive) known(uid string) *stream {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.streams[uid]
}

// Watch signals after each part added to the stream. Call the second result
// when done.
func (a *Archive) Watch(uid string) (<-chan struct{}, func()) {
	st := a.stream(uid)
	c := make(chan struct{}, 1)
	st.watchMu.Lock()
	st.watchers[c] = struct{}{}
	st.watchMu.Unlock()
	return c, func() {
		st.watchMu.Lock()
		delete(st.watchers, c)
		st.watchMu.Unlock()
	}
}

// waiting is how long the oldest part has waited for storage.
func (st *stream) waiting(now time.Time) time.Duration {
	if len(st.ahead) == 0 {
		return 0
	}
	return now.Sub(st.ahead[0].queued)
}
