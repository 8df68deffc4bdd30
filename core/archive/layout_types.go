package archive

import "media-server/core/media"

// Layout tells where in a file every access unit lies. It is immutable and
// shared: nobody changes what it points to.
type Layout struct {
	File       FileID
	UID        string
	Run        media.RunID
	Zero       media.Wall
	Init       InitID
	Encryption *Encryption // nil: the payload is clear
	Size       int64       // bytes of the file described here
	Complete   bool        // sealed: nothing will be added
	Fragments  []Fragment
	Segments   []SegmentLayout
}

// Fragment is one track's share of a part: part header, moof, mdat.
type Fragment struct {
	Track      int
	Segment    int   // index into Layout.Segments
	Part       int   // position of its part in the segment, from 0
	Offset     int64 // of the part header
	MoofOffset int64
	MoofSize   int64
	DataOffset int64 // of the mdat's payload
	DataSize   int64
	BaseTime   int64 // tfdt, ticks since the run's zero
	Duration   int64 // ticks
	FirstSeq   uint64
	Samples    []media.Sample
}

// End is the offset behind the fragment.
func (f *Fragment) End() int64 { return f.DataOffset + f.DataSize }

// SegmentLayout is one segment of a file: Fragments[First:Last].
type SegmentLayout struct {
	Number        uint64
	Discontinuity uint64
	Span          media.Span
	Independent   bool
	Complete      bool
	First, Last   int

	video bool // Span is that of video
}

// Bytes is the range of file offsets that the segment takes.
func (l *Layout) Bytes(s SegmentLayout) (from, to int64) {
	if s.First >= s.Last {
		return 0, 0
	}
	return l.Fragments[s.First].Offset, l.Fragments[s.Last-1].End()
}
