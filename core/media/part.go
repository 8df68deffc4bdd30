package media

import "sync/atomic"

// Sample is one access unit as a file's indexes describe it.
type Sample struct {
	Size     uint32 // bytes
	Duration uint32 // ticks
	CTO      int32  // composition time offset: PTS - DTS, ticks
	Key      bool
}

// Fragment is one track's share of a part: uuid + moof + mdat, stored as
// Head followed by Payload.
type Fragment struct {
	Track    int
	FirstSeq uint64
	LastSeq  uint64 // of the last sample; Last-First+1 == len(Samples) unless units were lost
	BaseTime int64  // decode time of the first sample since the run's zero, ticks (tfdt)
	Duration int64  // sum of the samples' durations, ticks
	Samples  []Sample

	UUIDLen int    // bytes of Head taken by the leading uuid box
	Head    []byte // uuid box, moof box, mdat header
	Payload []byte // the samples' bytes, in order
}

// Size is the stored length of the fragment in bytes.
func (f *Fragment) Size() int { return len(f.Head) + len(f.Payload) }

// Part is about half a second of a stream, of all its tracks: the unit that is
// stored, acknowledged and served live. It is immutable once published; its
// bytes are valid while a reference is held.
type Part struct {
	Run           RunID
	Segment       uint64 // number of the segment it belongs to; per stream, grows by one
	Discontinuity uint64 // per-stream count of discontinuities up to here (EXT-X-DISCONTINUITY-SEQUENCE)
	Index         int    // position in its segment, from 0
	Independent   bool   // starts with a video key frame, or has no video track at all
	Start, End    Wall   // presentation span on the server's clock
	Fragments     []Fragment

	refs atomic.Int32
	free func(*Part)
}

// Size is the stored length of the part in bytes.
func (p *Part) Size() int {
	n := 0
	for i := range p.Fragments {
		n += p.Fragments[i].Size()
	}
	return n
}

// Own gives the part its first reference; free, which may be nil, is called
// once when the last one is released and may reuse the part's buffers.
func (p *Part) Own(free func(*Part)) { p.free = free; p.refs.Store(1) }

// Retain adds a reference. Safe for concurrent use.
func (p *Part) Retain() { p.refs.Add(1) }

// Release drops a reference; afterwards the caller must not touch the part.
// Safe for concurrent use.
func (p *Part) Release() {
	switch n := p.refs.Add(-1); {
	case n == 0 && p.free != nil:
		p.free(p)
	case n < 0:
		panic("media: part released more often than retained")
	}
}
