package timeline

import (
	"slices"
	"strings"
	"testing"

	"media-server/core/archive"
	"media-server/core/media"
)

// seg is a segment: number, seconds, run and zero.
func seg(number uint64, from, to float64, run byte, zero int64) archive.Segment {
	return archive.Segment{Number: number, Run: media.RunID{run}, Zero: media.Wall(zero),
		Span: media.Span{From: media.Wall(from * 1e9), To: media.Wall(to * 1e9)}}
}

// TestWhole: takes that lie at the same time are listed one after the other, each in
// the order in which it was recorded; all else stays in order of time.
func TestWhole(t *testing.T) {
	for name, c := range map[string]struct {
		recorded []archive.Segment
		want     string
	}{
		"one run":    {[]archive.Segment{seg(1, 0, 2, 1, 0), seg(2, 2, 4, 1, 0), seg(3, 4, 6, 1, 0)}, "1 2 3"},
		"a new run":  {[]archive.Segment{seg(1, 0, 2, 1, 0), seg(9, 30, 32, 2, 30), seg(10, 32, 34, 2, 30)}, "1 9 10"},
		"back by 2½": {[]archive.Segment{seg(1, 0, 2, 1, 0), seg(2, 2, 4, 1, 0), seg(3, 1.5, 3.5, 1, 1), seg(4, 3.5, 5.5, 1, 1)}, "1 2 3 4"},
		// Ahead by an hour for a while: what came behind it lies before it.
		"ahead and back": {[]archive.Segment{seg(1, 0, 2, 1, 0), seg(2, 3602, 3604, 1, 3602), seg(3, 4, 6, 1, 4), seg(4, 6, 8, 1, 4)}, "1 3 4 2"},
		// A hole of the one, in which the other lies.
		"in a hole": {[]archive.Segment{seg(1, 0, 2, 1, 0), seg(2, 60, 62, 1, 0), seg(3, 61, 63, 2, 5), seg(4, 30, 32, 2, 5)}, "1 4 2 3"},
		// Sound runs ahead of the pictures: the first segment with any begins before
		// the last one without.
		"sound ahead": {[]archive.Segment{seg(1, 10, 20, 1, 0), seg(2, 20, 30, 1, 0), seg(3, 30, 30.1, 1, 0), seg(4, 28.2, 40, 1, 0), seg(5, 40, 50, 1, 0)}, "1 2 3 4 5"},
		"by a little": {[]archive.Segment{seg(1, 0, 10, 1, 0), seg(2, 10, 10.1, 1, 0), seg(3, 9.8, 20, 1, 0)}, "1 2 3"},
		"a copy":      {[]archive.Segment{seg(1, 0, 2, 1, 0), seg(1, 0, 2, 1, 0), seg(2, 2, 4, 1, 0)}, "1 1 2"},
	} {
		t.Run(name, func(t *testing.T) {
			byTime := slices.Clone(c.recorded)
			slices.SortStableFunc(byTime, func(a, b archive.Segment) int { return int(a.Span.From - b.Span.From) })
			var got strings.Builder
			for _, g := range whole(byTime, takeOf) {
				got.WriteString(" " + string("0123456789A"[g.Number]))
			}
			if want := strings.ReplaceAll(" "+c.want, "10", "A"); got.String() != want {
				t.Errorf("%s, not%s", got.String(), want)
			}
		})
	}
}

// TestLastIsNewest: the live edge is what was recorded last, not what lies last, in
// the archive alone and with a memory ring; what lies at the same time is told apart.
func TestLastIsNewest(t *testing.T) {
	early := []archive.Segment{seg(1, 100, 102, 1, 0), seg(2, 102, 104, 1, 0), seg(3, 104, 106, 1, 0)}
	ahead := []archive.Segment{seg(4, 3700, 3702, 1, 9), seg(5, 3702, 3704, 1, 9)}
	again := []archive.Segment{seg(6, 101, 103, 2, 5), seg(7, 103, 105, 2, 5)}
	for name, c := range map[string]struct {
		arch, ring []archive.Segment
		want       []uint64
	}{
		"in order": {append(slices.Clone(early), ahead...), nil, []uint64{3, 4, 5}},
		"set back": {slices.Concat(early, again, ahead), nil, []uint64{3, 6, 7}},
		// What a ring has from before the last recording is not behind it.
		"a ring from before": {[]archive.Segment{seg(1, 100, 102, 1, 0), seg(6, 110, 112, 2, 9), seg(7, 112, 114, 2, 9)},
			[]archive.Segment{seg(2, 102, 104, 1, 0), seg(5, 108, 110, 2, 9), seg(6, 110, 112, 2, 9), seg(7, 112, 114, 2, 9), seg(8, 114, 116, 2, 9)}, []uint64{6, 7, 8}},
		"only the ring": {append(slices.Clone(early), ahead...), again, []uint64{3, 6, 7}},
	} {
		t.Run(name, func(t *testing.T) {
			byTime := func(a, b archive.Segment) int { return int(a.Span.From - b.Span.From) }
			arch := &store{segs: slices.SortedStableFunc(slices.Values(c.arch), byTime)}
			tl := New(arch, func(string) Ring {
				if c.ring == nil {
					return nil
				}
				return &store{segs: c.ring}
			})
			segs, err := tl.Last("cam", 2)
			var got []uint64
			for _, g := range segs {
				got = append(got, g.Number)
			}
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("%v, not %v, %v", got, c.want, err)
			}
		})
	}
}

// files is an archive whose segments are files of their own.
type files struct{ *store }

func (f files) Extents(_ string, span media.Span) (out []archive.Extent, err error) {
	segs, _ := f.Segments("", span)
	for _, g := range segs {
		out = append(out, archive.Extent{File: archive.FileID(g.Number), Span: g.Span, Run: g.Run, Zero: g.Zero})
	}
	return out, nil
}

// TestExtentsWithRing: files and a memory ring, in the order of Segments.
func TestExtentsWithRing(t *testing.T) {
	early := []archive.Segment{seg(1, 100, 102, 1, 0), seg(2, 102, 104, 1, 0)}
	for name, c := range map[string]struct {
		arch, ring []archive.Segment
		want       int // files and runs of the ring
	}{
		"goes on":         {early, []archive.Segment{seg(2, 102, 104, 1, 0), seg(3, 104, 106, 1, 0), seg(4, 106, 108, 1, 0)}, 3},
		"held by both":    {early, []archive.Segment{seg(1, 100, 102, 1, 0), seg(2, 102, 104, 1, 0)}, 2},
		"behind a hole":   {early, []archive.Segment{seg(9, 200, 202, 2, 7)}, 3},
		"from before":     {append(slices.Clone(early), seg(7, 110, 112, 2, 9)), []archive.Segment{seg(3, 104, 106, 1, 0), seg(6, 108, 110, 2, 9), seg(7, 110, 112, 2, 9)}, 3},
		"recorded, again": {append(slices.Clone(early), seg(6, 101, 103, 2, 5)), []archive.Segment{seg(3, 104, 106, 1, 0), seg(6, 101, 103, 2, 5), seg(7, 103, 105, 2, 5)}, 5},
	} {
		t.Run(name, func(t *testing.T) {
			byTime := func(a, b archive.Segment) int { return int(a.Span.From - b.Span.From) }
			for i := range c.ring {
				c.ring[i].File = RingFiles + archive.FileID(c.ring[i].Run[0])
			}
			tl := New(files{&store{segs: slices.SortedStableFunc(slices.Values(c.arch), byTime)}}, func(string) Ring { return &store{segs: c.ring} })
			span := media.Span{From: 0, To: 1 << 62}
			es, err := tl.Extents("cam", span)
			if err != nil || len(es) != c.want {
				t.Errorf("%d, %v: %+v", len(es), err, es)
			}
			segs, err := tl.Segments("cam", span)
			var last media.Wall
			if len(segs) > 0 {
				last = segs[len(segs)-1].Span.To
			}
			if err != nil || len(es) > 0 && es[len(es)-1].Span.To != last {
				t.Errorf("the files end at %v, the segments at %v, %v", es[len(es)-1].Span.To, last, err)
			}
		})
	}
}
