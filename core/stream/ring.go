package stream

import (
	"crypto/sha256"
	"encoding/binary"
	"io"
	"os"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
)

// Bounds of a ring: whole segments are dropped from the front while both what
// stays is longer than ringSpan and there are more than ringSegments of them,
// or it is larger than ringBytes. A stream that is recorded around events keeps
// more (keep).
const (
	ringSpan     = 30 * time.Second
	ringSegments = 8
	ringBytes    = 64 << 20
)

// Ring keeps the newest parts of a stream that is not recorded, or not always, in the shapes
// of the archive, so that playback reads both alike. Each run (and each set of
// parameters) is one "file" whose offsets are those the file would have had.
// Safe for concurrent use.
type Ring struct {
	uid  string
	salt uint64

	mu      sync.Mutex
	files   []*ringFile
	watch   map[chan struct{}]struct{}
	span    time.Duration
	number  uint64 // next segment number
	disc    uint64
	counter uint64 // files so far
	added   uint64 // parts so far
}

type ringFile struct {
	id     archive.FileID
	init   archive.InitID
	tracks []media.Track
	run    media.RunID
	zero   media.Wall
	segs   []ringSegment
	size   int64 // offset behind the last part ever added
}

type ringSegment struct {
	number, disc uint64
	span         media.Span
	independent  bool
	parts        []*media.Part
	at           int64 // offset of the first part
	size         int64
}

const ringFileBase = 1 << 63

func newRing(uid, salt string) *Ring {
	h := sha256.Sum256([]byte(salt))
	// A ring that begins anew after a restart must not reuse numbers that
	// players still remember: it starts from the clock.
	return &Ring{uid: uid, salt: binary.BigEndian.Uint64(h[:]) >> 24 << 20 &^ ringFileBase,
		span: ringSpan, watch: map[chan struct{}]struct{}{}, number: uint64(time.Now().Unix()), disc: uint64(time.Now().Unix())}
}

func (r *Ring) next() (segment, discontinuity uint64) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.number, r.disc
}

func (r *Ring) begin(run media.RunID, zero media.Wall, tracks []media.Track) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var id archive.InitID
	if b, err := mux.Init(tracks); err == nil {
		h := sha256.Sum256(b)
		id = archive.InitID(binary.BigEndian.Uint64(h[:]))
	}
	r.counter++
	r.files = append(r.files, &ringFile{id: archive.FileID(ringFileBase | r.salt | r.counter), init: id, tracks: tracks, run: run, zero: zero})
}

// add appends a part, keeping a reference, and drops old segments.
func (r *Ring) add(p *media.Part) {
	p.Retain()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.added++
	if len(r.files) == 0 {
		p.Release()
		return
	}
	f := r.files[len(r.files)-1]
	n := len(f.segs)
	if n == 0 || f.segs[n-1].number != p.Segment {
		f.segs = append(f.segs, ringSegment{number: p.Segment, disc: p.Discontinuity, independent: p.Independent,
			span: media.Span{From: p.Start, To: p.End}, at: f.size})
		n++
	}
	s := &f.segs[n-1]
	s.parts = append(s.parts, p)
	s.span.To = max(s.span.To, p.End)
	s.size += int64(p.Size())
	f.size += int64(p.Size())
	r.number, r.disc = p.Segment+1, p.Discontinuity
	r.trim()
	for c := range r.watch {
		select {
		case c <- struct{}{}:
		default:
		}
	}
}

func (r *Ring) trim() {
	for {
		var bytes int64
		count := 0
		var first, last media.Wall
		for _, f := range r.files {
			for i := range f.segs {
				if first == 0 {
					first = f.segs[i].span.To
				}
				last = f.segs[i].span.To
				bytes += f.segs[i].size
				count++
			}
		}
		long := last.Sub(first) > r.span || last < first // the clock was set back
		if count <= 1 || !(bytes > ringBytes || count > ringSegments && long) {
			return
		}
		for len(r.files) > 1 && len(r.files[0].segs) == 0 {
			r.files = r.files[1:]
		}
		f := r.files[0]
		for _, p := range f.segs[0].parts {
			p.Release()
		}
		f.segs = append([]ringSegment(nil), f.segs[1:]...)
		if len(f.segs) == 0 && len(r.files) > 1 {
			r.files = r.files[1:]
		}
	}
}

// Segments implements timeline.Store.
func (r *Ring) Segments(uid string, span media.Span) ([]archive.Segment, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var out []archive.Segment
	for fi, f := range r.files {
		for i := range f.segs {
			s := &f.segs[i]
			if !s.span.Overlaps(span) {
				continue
			}
			out = append(out, archive.Segment{
				Number: s.number, Discontinuity: s.disc, Span: s.span, Run: f.run, Zero: f.zero, Init: f.init, File: f.id,
				Index: i, Independent: s.independent, Size: s.size,
				Complete: i < len(f.segs)-1 || fi < len(r.files)-1,
			})
		}
	}
	return out, nil
}

// Bounds implements timeline.Store.
func (r *Ring) Bounds(uid string) (b media.Span, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		for i := range f.segs {
			if sp := f.segs[i].span; !ok {
				b, ok = sp, true
			} else {
				b.From, b.To = min(b.From, sp.From), max(b.To, sp.To)
			}
		}
	}
	return b, ok
}

// Stamp implements timeline.Store.
func (r *Ring) Stamp(uid string) archive.Stamp {
	r.mu.Lock()
	defer r.mu.Unlock()
	return archive.StampOf(r.added, archive.FileID(ringFileBase|r.salt|r.counter))
}

// Newest implements timeline.Store.
func (r *Ring) Newest(uid string) (media.Wall, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for i := len(r.files) - 1; i >= 0; i-- {
		if segs := r.files[i].segs; len(segs) > 0 {
			return segs[len(segs)-1].span.To, true
		}
	}
	return 0, false
}

// Tracks implements timeline.Store.
func (r *Ring) Tracks(id archive.InitID) ([]media.Track, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, f := range r.files {
		if f.init == id {
			return f.tracks, nil
		}
	}
	return nil, archive.ErrGone
}

func (r *Ring) file(id archive.FileID) *ringFile {
	for _, f := range r.files {
		if f.id == id {
			return f
		}
	}
	return nil
}

// Layout implements timeline.Store.
func (r *Ring) Layout(id archive.FileID) (*archive.Layout, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.file(id)
	if f == nil {
		return nil, archive.ErrGone
	}
	l := &archive.Layout{File: id, UID: r.uid, Run: f.run, Zero: f.zero, Init: f.init, Size: f.size}
	for si := range f.segs {
		s := &f.segs[si]
		sl := archive.SegmentLayout{Number: s.number, Discontinuity: s.disc, Span: s.span, Independent: s.independent,
			Complete: si < len(f.segs)-1, First: len(l.Fragments)}
		at := s.at
		for pi, p := range s.parts {
			for i := range p.Fragments {
				fr := &p.Fragments[i]
				l.Fragments = append(l.Fragments, archive.Fragment{
					Track: fr.Track, Segment: si, Part: pi, Offset: at,
					MoofOffset: at + int64(fr.UUIDLen), MoofSize: int64(len(fr.Head)-fr.UUIDLen) - mdatHead,
					DataOffset: at + int64(len(fr.Head)), DataSize: int64(len(fr.Payload)),
					BaseTime: fr.BaseTime, Duration: fr.Duration, FirstSeq: fr.FirstSeq, Samples: fr.Samples,
				})
				at += int64(fr.Size())
			}
		}
		sl.Last = len(l.Fragments)
		l.Segments = append(l.Segments, sl)
	}
	return l, nil
}

const mdatHead = 8

// Watch implements timeline.Store.
func (r *Ring) Watch(uid string) (<-chan struct{}, func()) {
	c := make(chan struct{}, 1)
	r.mu.Lock()
	r.watch[c] = struct{}{}
	r.mu.Unlock()
	return c, func() {
		r.mu.Lock()
		delete(r.watch, c)
		r.mu.Unlock()
	}
}

// Hold keeps what the file holds now readable until Release.
func (r *Ring) Hold(id archive.FileID) (*Held, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	f := r.file(id)
	if f == nil {
		return nil, archive.ErrGone
	}
	h := &Held{}
	for si := range f.segs {
		at := f.segs[si].at
		for _, p := range f.segs[si].parts {
			p.Retain()
			h.parts = append(h.parts, heldPart{at, p})
			at += int64(p.Size())
		}
	}
	return h, nil
}

// Held is what a ring's file held at the moment of Hold.
type Held struct{ parts []heldPart }

type heldPart struct {
	at   int64
	part *media.Part
}

// ReadAt implements io.ReaderAt over the bytes held; outside them it fails
// with archive.ErrGone (dropped) or io.EOF.
func (h *Held) ReadAt(b []byte, off int64) (int, error) {
	done := 0
	for _, hp := range h.parts {
		at := hp.at
		for i := range hp.part.Fragments {
			for _, chunk := range [2][]byte{hp.part.Fragments[i].Head, hp.part.Fragments[i].Payload} {
				end := at + int64(len(chunk))
				if off >= at && off < end {
					n := copy(b[done:], chunk[off-at:])
					done, off = done+n, off+int64(n)
					if done == len(b) {
						return done, nil
					}
				}
				at = end
			}
		}
	}
	if done == 0 && len(h.parts) > 0 && off < h.parts[0].at {
		return 0, archive.ErrGone
	}
	return done, io.EOF
}

// File implements timeline.File: memory has no descriptor.
func (h *Held) File() (*os.File, int64, bool) { return nil, 0, false }

// Release lets go of the parts.
func (h *Held) Release() {
	for _, hp := range h.parts {
		hp.part.Release()
	}
	h.parts = nil
}

// keep makes the ring hold pre and the group of pictures around it, within the
// bound of bytes; never less than ever.
func (r *Ring) keep(pre time.Duration) {
	r.mu.Lock()
	r.span = max(ringSpan, min(pre, longestRing)+10*time.Second)
	r.mu.Unlock()
}

// ringRun is a stretch of a ring for the recorder: parts, each with a reference
// that is the caller's.
type ringRun struct {
	run    media.RunID
	zero   media.Wall
	tracks []media.Track
	parts  []*media.Part
}

// since gives what the ring has from the independent segment on that from lies
// in (the first one behind it, if none is as old), of segments numbered above
// last where any are recorded. The newest file is listed even without parts:
// what comes next belongs to it.
func (r *Ring) since(from media.Wall, last uint64, any bool) (out []ringRun) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fi, si, ok := r.startAt(from, last, any)
	if !ok {
		return nil
	}
	for i, f := range r.files[fi:] {
		x := ringRun{run: f.run, zero: f.zero, tracks: f.tracks}
		segs := f.segs
		if i == 0 {
			segs = segs[si:]
		}
		for k := range segs {
			for _, p := range segs[k].parts {
				p.Retain()
				x.parts = append(x.parts, p)
			}
		}
		out = append(out, x)
	}
	return out
}

// startAt finds the segment that a recording begins with.
func (r *Ring) startAt(from media.Wall, last uint64, any bool) (file, seg int, ok bool) {
	for fi, f := range r.files {
		for i := range f.segs {
			s := &f.segs[i]
			if !s.independent || any && s.number <= last {
				continue
			}
			if ok && s.span.From > from {
				return file, seg, true
			}
			file, seg, ok = fi, i, true
		}
	}
	return file, seg, ok
}

// before is the position behind the last part in front of the segment that a
// recording from w would begin with, in its run.
func (r *Ring) before(w media.Wall) (pos media.RunPosition, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	fi, si, ok := r.startAt(w, 0, false)
	if !ok {
		return pos, false
	}
	f := r.files[fi]
	pos.Run = f.run
	for i := si - 1; i >= 0 && i >= si-4; i-- { // a track may have nothing in the last one
		parts := f.segs[i].parts
		for k := len(parts) - 1; k >= 0; k-- {
			for j := range parts[k].Fragments {
				fr := &parts[k].Fragments[j]
				if pos.Next(fr.Track) == 0 { // later parts came first
					pos.Tracks = append(pos.Tracks, media.Position{Track: fr.Track, Next: fr.LastSeq + 1})
				}
			}
		}
	}
	return pos, len(pos.Tracks) > 0
}
