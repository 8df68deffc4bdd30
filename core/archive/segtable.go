package archive

import (
	"encoding/binary"
	"fmt"
	"slices"

	"media-server/core/media"
)

// segRow is a segment as the catalogue keeps it: about a dozen bytes.
type segRow struct {
	Number        uint64
	Discontinuity uint64
	Span          media.Span
	Independent   bool
	Complete      bool
	Size          int64
}

// appendSegTable writes the segment table of a catalogue row. Times count from
// the end of the segment before (the first: from base).
func appendSegTable(b []byte, base media.Wall, segs []segRow) []byte {
	b = append(b, 1)
	b = binary.AppendUvarint(b, uint64(len(segs)))
	var number, disc uint64
	for i := range segs {
		s := &segs[i]
		b = binary.AppendUvarint(b, s.Number-number)
		b = binary.AppendUvarint(b, s.Discontinuity-disc)
		var flags uint8
		if s.Independent {
			flags |= segIndependent
		}
		if s.Complete {
			flags |= segComplete
		}
		b = append(b, flags)
		b = binary.AppendVarint(b, int64(s.Span.From-base))
		b = binary.AppendVarint(b, int64(s.Span.To-s.Span.From))
		b = binary.AppendUvarint(b, uint64(s.Size))
		number, disc, base = s.Number, s.Discontinuity, s.Span.To
	}
	return b
}

func parseSegTable(b []byte, base media.Wall) ([]segRow, error) { return addSegTable(nil, b, base) }

// addSegTable appends the segments of a table to segs.
func addSegTable(segs []segRow, b []byte, base media.Wall) ([]segRow, error) {
	c := cursor{b: b}
	if v := c.u8(); v != 1 {
		return nil, fmt.Errorf("segment table of version %d", v)
	}
	n := c.count()
	segs = slices.Grow(segs, n)
	var number, disc uint64
	for range n {
		number += c.uvarint()
		disc += c.uvarint()
		flags := c.u8()
		s := segRow{Number: number, Discontinuity: disc, Independent: flags&segIndependent != 0, Complete: flags&segComplete != 0}
		s.Span.From = base + media.Wall(c.varint())
		s.Span.To = s.Span.From + media.Wall(c.varint())
		s.Size = int64(c.uvarint())
		base = s.Span.To
		if c.err != nil {
			return nil, fmt.Errorf("segment table: %w", c.err)
		}
		segs = append(segs, s)
	}
	return segs, nil
}

// rowsOf sums the segments of a layout up.
func rowsOf(l *Layout) []segRow {
	out := make([]segRow, len(l.Segments))
	for i := range l.Segments {
		s := &l.Segments[i]
		from, to := l.Bytes(*s)
		out[i] = segRow{s.Number, s.Discontinuity, s.Span, s.Independent, s.Complete, to - from}
	}
	return out
}

// fill puts the segments of a file into its row, and the time they take.
func (r *row) fill(segs []segRow) {
	r.Span = media.Span{From: segs[0].Span.From, To: segs[0].Span.To}
	for i := range segs {
		r.Span.To = max(r.Span.To, segs[i].Span.To)
	}
	r.describe(segs)
}

// describe puts the segments of a file into its row.
func (r *row) describe(segs []segRow) {
	if hasHoles(segs) {
		r.Flags |= rowHoles
	}
	last := segs[len(segs)-1]
	r.Last, r.Disc = last.Number, last.Discontinuity
	r.Segs = appendSegTable(nil, r.Span.From, segs)
}

// holeTolerance is the longest time between two segments that does not count
// as missing: the stretch of a frame or two at 25 a second.
const holeTolerance = 100 * 1000 * 1000 // ns

// hasHoles tells whether something is missing between the segments of a file.
func hasHoles(segs []segRow) bool {
	for i := 1; i < len(segs); i++ {
		if segs[i].Span.From-segs[i-1].Span.To > holeTolerance {
			return true
		}
	}
	return false
}
