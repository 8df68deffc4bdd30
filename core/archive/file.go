package archive

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"sort"
	"sync"
	"time"

	"media-server/core/media"
)

// openPrefix is where files grow.
const openPrefix = "open/"

// asidePrefix is where files lie that are not understood.
const asidePrefix = "aside/"

type fileState uint8

const (
	growing   fileState = iota
	sealing             // index queued; waits until all is written, then for Seal
	sealed              // has its final name; kept in memory until the catalogue has the row
	abandoned           // its space failed: what is durable stays readable, and is recovered later (takeup.go)
)

// file is a media file that the catalogue does not describe for good yet.
type file struct {
	st       *stream
	sp       *space
	id       FileID
	openName string
	header   FileHeader
	init     InitID
	first    int64 // offset of the first fragment

	mu       sync.Mutex
	state    fileState
	final    string // name after sealing
	size     int64  // laid out: written, on the way, or waiting
	written  int64
	synced   int64
	found    int64 // end of what recovery read: nowhere but in this space, durable or not
	reserved int64
	pending  []*chunk // not yet synced, in offset order
	frags    []Fragment
	marks    []FragmentMark
	segs     []SegmentLayout
	slab     []media.Sample // free end of the last slab
	flags    uint8          // of the index
	indexSum [32]byte
	indexAt  int64       // offset of the index box; 0 = none yet
	chain    *chain      // nil: not signed
	cipher   *partCipher // nil: clear, or not yet fetched for a file of an earlier process
	held     []*chunk    // wait until the key is durable
	holding  bool
	attest   *fact // the ledger's record of the signature, when there is one
	rowOpen  chan struct{}
	tail     tailInfo
	tries    int       // how often sealing has failed
	busy     bool      // being sealed at this moment
	unseal   func()    // ends that; nil = it cannot be ended
	passed   bool      // it was to be written elsewhere meanwhile
	doubt    bool      // a sync has failed, and none has succeeded since
	cut      bool      // what followed was written elsewhere: it does not go on
	since    time.Time // when it was recovered, for the grace time; zero once its run goes on
}

// openName is the name of a growing file, finalName that of a sealed one: by
// stream, UTC day and time, so that people find their way without us.
func openName(uid string, id FileID) string { return openPrefix + uid + "." + id.String() + ".mp4" }

func finalName(uid string, id FileID, start media.Wall) string {
	t := start.Time()
	return fmt.Sprintf("%s/%s/%s-%s.mp4", uid, t.Format("2006-01-02"), t.Format("150405"), id)
}

// span is the time from the file's first to its last presentation time.
func (f *file) spanLocked() media.Span {
	if len(f.segs) == 0 {
		return media.Span{}
	}
	s := media.Span{From: f.segs[0].Span.From, To: f.segs[0].Span.To}
	for i := range f.segs {
		s.To = max(s.To, f.segs[i].Span.To)
	}
	return s
}

// addPart lays a part out at the end of the file and appends its bytes to
// pieces. frags are those of the part, perhaps with other heads. st.mu and
// f.mu are held.
func (f *file) addPart(pieces [][]byte, p *media.Part, frags []media.Fragment) [][]byte {
	if n := len(f.segs); n == 0 || f.segs[n-1].Number != p.Segment {
		if n > 0 {
			f.segs[n-1].Complete = true
		}
		f.segs = append(f.segs, SegmentLayout{Number: p.Segment, Discontinuity: p.Discontinuity,
			Independent: p.Independent && p.Index == 0, First: len(f.frags), Last: len(f.frags)})
	}
	seg := &f.segs[len(f.segs)-1]
	for i := range frags {
		mf := &frags[i]
		if f.chain != nil {
			f.chain.add(mf)
		}
		fr := Fragment{Track: mf.Track, Segment: len(f.segs) - 1, Part: p.Index, Offset: f.size,
			MoofOffset: f.size + int64(mf.UUIDLen), MoofSize: int64(len(mf.Head) - mf.UUIDLen - mdatHeader),
			DataOffset: f.size + int64(len(mf.Head)), DataSize: int64(len(mf.Payload)),
			BaseTime: mf.BaseTime, Duration: mf.Duration, FirstSeq: mf.FirstSeq, Samples: f.keep(mf.Samples)}
		f.frags = append(f.frags, fr)
		var flags uint8
		if i == 0 {
			flags |= partFirst
		}
		if i == len(frags)-1 {
			flags |= partLast
		}
		if p.Independent {
			flags |= partIndependent
		}
		f.marks = append(f.marks, FragmentMark{CRC: binary.BigEndian.Uint32(mf.Head[28:]), Flags: flags, LastSeq: mf.LastSeq})
		seg.Last = len(f.frags)
		f.stretch(seg, &fr)
		f.size = fr.End()
		pieces = append(pieces, mf.Head, mf.Payload)
	}
	return pieces
}

// stretch widens a segment to the presentation times of a fragment. Video
// decides where there is any: its frames follow each other without a hole,
// while the ends of audio lie a little before or behind. It is computed from
// what is stored, so that a recovered file says the same.
func (f *file) stretch(seg *SegmentLayout, fr *Fragment) {
	var t *media.Track
	for i := range f.header.Tracks {
		if f.header.Tracks[i].ID == fr.Track {
			t = &f.header.Tracks[i]
		}
	}
	if t == nil || len(fr.Samples) == 0 {
		return
	}
	video := t.Kind() == media.Video
	if seg.video && !video {
		return
	}
	first, last := int64(1<<62), int64(-1<<62)
	dts := fr.BaseTime
	for i := range fr.Samples {
		s := &fr.Samples[i]
		first = min(first, dts+int64(s.CTO))
		last = max(last, dts+int64(s.CTO)+int64(s.Duration))
		dts += int64(s.Duration)
	}
	from, to := f.header.Zero.Add(media.DurationOf(first, t.Timescale)), f.header.Zero.Add(media.DurationOf(last, t.Timescale))
	if video && !seg.video || seg.Span.Empty() {
		seg.video = video
		seg.Span = media.Span{From: from, To: to}
		return
	}
	seg.Span.From, seg.Span.To = min(seg.Span.From, from), max(seg.Span.To, to)
}

// tailInfo is what a run needs to go on and only the last part says.
type tailInfo struct {
	clock    []byte
	sequence uint32
}

// keep copies samples into memory of the file's own: a part's are pooled.
func (f *file) keep(s []media.Sample) []media.Sample {
	if len(s) > cap(f.slab)-len(f.slab) {
		f.slab = make([]media.Sample, 0, max(1024, len(s)))
	}
	at := len(f.slab)
	f.slab = append(f.slab, s...)
	return f.slab[at:len(f.slab):len(f.slab)]
}

// layout is a snapshot. Slices are shared: they only grow behind what it sees,
// except for the last segment, which is copied.
func (f *file) layout() *Layout {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.layoutLocked()
}

func (f *file) layoutLocked() *Layout {
	size := f.size
	if f.indexAt > 0 {
		size = f.indexAt
	}
	return &Layout{File: f.id, UID: f.header.UID, Run: f.header.Run, Zero: f.header.Zero, Init: f.init, Encryption: f.header.Encryption, Size: size,
		Complete: f.state == sealed || f.state == sealing, Fragments: f.frags[:len(f.frags):len(f.frags)],
		Segments: append([]SegmentLayout(nil), f.segs...)}
}

// appendIndexLocked ends the layout with the index box and returns it, the
// signature in front of it.
func (f *file) appendIndexLocked(complete bool, rules Rules) []byte {
	if n := len(f.segs); n > 0 && complete {
		f.segs[n-1].Complete = true
	}
	x := Index{Flags: f.flags, First: f.first, End: f.size, Layout: *f.layoutLocked(), Marks: f.marks, Tracks: f.sumTracks(), Rules: rules}
	x.Layout.File = f.header.ID // f.id is what it is called here
	b := AppendIndex(make([]byte, 0, 4096), &x)
	f.indexSum = sha256.Sum256(b)
	sig := f.signLocked(b)
	f.indexAt = f.size + int64(len(sig))
	f.size = f.indexAt + int64(len(b))
	f.state = sealing
	return append(sig, b...)
}

func (f *file) sumTracks() []IndexTrack { return sumTracks(f.frags, f.marks, f.header.Tracks) }

// sumTracks sums the fragments of each track up, by track id.
func sumTracks(frags []Fragment, marks []FragmentMark, tracks []media.Track) []IndexTrack {
	var out []IndexTrack
	for i := range frags {
		fr := &frags[i]
		k := sort.Search(len(out), func(k int) bool { return out[k].ID >= fr.Track })
		if k == len(out) || out[k].ID != fr.Track {
			out = append(out, IndexTrack{})
			copy(out[k+1:], out[k:])
			out[k] = IndexTrack{ID: fr.Track, Base: fr.BaseTime, FirstSeq: fr.FirstSeq}
			for _, t := range tracks {
				if t.ID == fr.Track {
					out[k].Timescale = t.Timescale
				}
			}
		}
		t := &out[k]
		t.Samples += uint64(len(fr.Samples))
		t.Bytes += uint64(fr.DataSize)
		t.End = fr.BaseTime + fr.Duration
		t.LastSeq = marks[i].LastSeq
	}
	return out
}

// reserveTo says how much to reserve for a file that now ends at end, so that
// it has few extents: what the last file of the stream took, at once; of a
// stream that is new a megabyte, then what all of it will take at the pace of its
// first seconds. What is not used is trimmed at the seal; until then it counts as
// used, so a small stream must not reserve like a large one.
func (f *file) reserveTo(end, expected int64) int64 {
	const least, step = 1 << 20, 32 << 20
	if end <= f.reserved {
		return 0
	}
	var next int64
	switch {
	case expected > end:
		next = expected + expected/16
	case expected > 0:
		next = end + max(expected/2, least/4)
	default:
		next = max(least, end+min(3*end, step))
	}
	f.reserved = max(next, end)
	return f.reserved
}

// readMemory copies what is still in memory of [off, off+len(b)) into b and
// returns how many bytes from off on that is; 0 when off is in storage.
func (f *file) readMemory(b []byte, off int64) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	i := sort.Search(len(f.pending), func(i int) bool { return f.pending[i].end() > off })
	n := 0
	for ; i < len(f.pending) && n < len(b); i++ {
		c := f.pending[i]
		if c.off > off {
			break
		}
		at := off - c.off
		for _, p := range c.data {
			if at >= int64(len(p)) {
				at -= int64(len(p))
				continue
			}
			k := copy(b[n:], p[at:])
			at = 0
			n += k
			off += int64(k)
			if n == len(b) {
				break
			}
		}
	}
	return n
}
