package archive

import (
	"encoding/binary"
	"fmt"
	"slices"

	"media-server/core/media"
)

// Shape says of a whole sealed file how many entries its sample tables have in
// a progressive MP4, so that the length of an export of a thousand files is
// known without reading their indexes. Runs of equal values never cross the end
// of a file, and the last sample of a track is a run of its own (its duration
// reaches to the next file).
type Shape struct {
	First, End int64 // offsets of the first fragment and behind the last
	Tracks     []TrackShape
}

// TrackShape is one track of a Shape. Times are ticks of the track since the
// run's zero.
type TrackShape struct {
	Track     int
	Samples   int
	Times     int // runs of durations, holes bridged
	Offsets   int // runs of composition offsets
	Keys      int
	Chunks    int // fragments with samples
	Groups    int // runs of fragments with the same number of samples
	Shifted   bool
	Partial   bool  // not every sample is a key
	Base      int64 // decode time of the first sample
	End       int64 // end of the last
	LastStart int64 // decode time of the last
	FirstCTO  int32
}

// ShapeOf counts a layout.
func ShapeOf(l *Layout) Shape {
	var sh Shape
	at := map[int]int{}
	type tail struct {
		ticks, heldAt int64
		have          bool
		cto           int32
		group         int
	}
	var tails []tail
	for i := range l.Fragments {
		f := &l.Fragments[i]
		if i == 0 {
			sh.First = f.Offset
		}
		sh.End = max(sh.End, f.End())
		if len(f.Samples) == 0 {
			continue
		}
		k, ok := at[f.Track]
		if !ok {
			k = len(sh.Tracks)
			at[f.Track] = k
			sh.Tracks = append(sh.Tracks, TrackShape{Track: f.Track, Base: f.BaseTime, FirstCTO: f.Samples[0].CTO})
			tails = append(tails, tail{ticks: -1, group: -1})
		}
		t, p := &sh.Tracks[k], &tails[k]
		t.Chunks++
		if p.group != len(f.Samples) {
			t.Groups++
			p.group = len(f.Samples)
		}
		dts := f.BaseTime
		for _, s := range f.Samples {
			if p.have { // the sample before has its duration now
				if d := max(dts-p.heldAt, 1); d != p.ticks {
					t.Times++
					p.ticks = d
				}
			}
			p.have, p.heldAt = true, dts
			if t.Samples == 0 || s.CTO != p.cto {
				t.Offsets++
			}
			p.cto = s.CTO
			t.Shifted = t.Shifted || s.CTO != 0
			if s.Key {
				t.Keys++
			} else {
				t.Partial = true
			}
			t.Samples++
			t.LastStart, t.End = dts, dts+int64(s.Duration)
			dts += int64(s.Duration)
		}
	}
	for i := range sh.Tracks {
		sh.Tracks[i].Times++ // the last sample's own
	}
	return sh
}

const shapeVersion = 1

// appendShape writes a shape: record 5 of the index box and a column of the
// catalogue.
func appendShape(b []byte, sh *Shape) []byte {
	b = append(b, shapeVersion)
	b = binary.AppendUvarint(b, uint64(sh.First))
	b = binary.AppendUvarint(b, uint64(sh.End))
	b = binary.AppendUvarint(b, uint64(len(sh.Tracks)))
	for i := range sh.Tracks {
		t := &sh.Tracks[i]
		for _, v := range [...]int{t.Track, t.Samples, t.Times, t.Offsets, t.Keys, t.Chunks, t.Groups} {
			b = binary.AppendUvarint(b, uint64(v))
		}
		var flags byte
		if t.Shifted {
			flags |= 1
		}
		if t.Partial {
			flags |= 2
		}
		b = append(b, flags)
		for _, v := range [...]int64{t.Base, t.End - t.Base, t.LastStart - t.Base, int64(t.FirstCTO)} {
			b = binary.AppendVarint(b, v)
		}
	}
	return b
}

// parseShape reads what appendShape wrote.
func parseShape(b []byte) (*Shape, error) { return new(shapeSlab).parse(b) }

// shapeSlab gives the shapes of one answer out of few pieces of memory: a day
// of files of one minute has 1,440.
type shapeSlab struct {
	more   int // shapes that are expected to follow
	shapes []Shape
	tracks []TrackShape
}

func (s *shapeSlab) parse(b []byte) (*Shape, error) {
	c := &cursor{b: b}
	if v := c.u8(); c.err == nil && v != shapeVersion {
		return nil, fmt.Errorf("shape of version %d", v)
	}
	first, end := int64(c.uvarint()), int64(c.uvarint())
	n := c.count()
	if len(s.shapes) == 0 {
		s.shapes = make([]Shape, max(s.more, 1))
	}
	switch {
	case len(s.tracks) >= n:
	case n > 8: // more than cameras have: nothing is made ready for the next
		s.tracks = make([]TrackShape, n)
	default:
		s.tracks = make([]TrackShape, max(s.more, 1)*n)
	}
	s.more = max(s.more-1, 0)
	sh := &s.shapes[0]
	sh.First, sh.End, sh.Tracks = first, end, s.tracks[:0:n]
	s.shapes, s.tracks = s.shapes[1:], s.tracks[n:]
	for range n {
		t := TrackShape{Track: int(c.uvarint())}
		for _, v := range [...]*int{&t.Samples, &t.Times, &t.Offsets, &t.Keys, &t.Chunks, &t.Groups} {
			*v = int(c.uvarint())
		}
		flags := c.u8()
		t.Shifted, t.Partial = flags&1 != 0, flags&2 != 0
		t.Base = c.varint()
		t.End, t.LastStart, t.FirstCTO = t.Base+c.varint(), t.Base+c.varint(), int32(c.varint())
		if c.err == nil && (t.Samples <= 0 || t.Times > t.Samples || t.Offsets > t.Samples || t.Keys > t.Samples || t.Chunks > t.Samples || t.Groups > t.Chunks) {
			return nil, fmt.Errorf("shape: counts of track %d do not fit each other", t.Track)
		}
		sh.Tracks = append(sh.Tracks, t)
	}
	if c.err != nil {
		return nil, fmt.Errorf("shape: %w", c.err)
	}
	return sh, nil
}

// Extent is a file of a stream as an export sees it.
type Extent struct {
	File  FileID
	Span  media.Span
	Run   media.RunID
	Zero  media.Wall
	Init  InitID
	Shape *Shape // nil: the file is growing, or was written without one

	// Segment is the number of the first segment that counts: those of a memory
	// ring before it are recorded, too. 0 = the whole file.
	Segment uint64
}

// Extents lists the files of a stream that share time with s, in order of
// time, without reading any of them.
func (a *Archive) Extents(uid string, s media.Span) ([]Extent, error) {
	seen := map[FileID]bool{}
	var out []Extent
	for _, f := range a.inMemory(uid) {
		l := f.layout()
		if len(l.Segments) == 0 {
			continue
		}
		seen[f.id] = true
		sp := media.Span{From: l.Segments[0].Span.From}
		for i := range l.Segments {
			sp.To = max(sp.To, l.Segments[i].Span.To)
		}
		if sp.Overlaps(s) {
			out = append(out, Extent{File: l.File, Span: sp, Run: l.Run, Zero: l.Zero, Init: l.Init})
		}
	}
	rows, err := a.cat.extents(uid, s)
	if err != nil {
		return nil, err
	}
	dead, err := a.destroyed(uid)
	if err != nil {
		return nil, err
	}
	if len(seen) == 0 && len(dead) == 0 {
		out, rows = rows, nil
	}
	for _, e := range rows {
		if !seen[e.File] && !dead[e.File] {
			out = append(out, e)
		}
	}
	sortExtents(out)
	return out, nil
}

func sortExtents(es []Extent) {
	order := func(a, b Extent) int { return compare(a.Span.From, b.Span.From) }
	if !slices.IsSortedFunc(es, order) {
		slices.SortStableFunc(es, order)
	}
}
