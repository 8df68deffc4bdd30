package mp4

import (
	"fmt"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/plugins/sim/clip"
)

// minutes is footage of files of 60 s, 25 pictures and 47 sounds a second: the
// shapes of as many as are asked for, and one sample table for all of them.
type minutes struct {
	*store
	extents []archive.Extent
	read    int // sample tables asked for
}

func (m *minutes) Extents(_ string, span media.Span) (out []archive.Extent, err error) {
	for _, e := range m.extents {
		if e.Span.Overlaps(span) {
			out = append(out, e)
		}
	}
	return out, nil
}

// Layout gives the n-th file the first one's samples, n minutes later.
func (m *minutes) Layout(_ string, id archive.FileID) (*archive.Layout, error) {
	m.read++
	l := *m.layouts[0]
	l.File, l.Zero = id, l.Zero.Add(time.Duration(id)*time.Minute)
	return &l, nil
}

func (m *minutes) NewLazy(string) *timeline.Lazy { return timeline.NewLazyOf(m.pin) }

func newMinutes(n int) *minutes {
	const picture, sound = 90000 / 25, 1024
	l := &archive.Layout{Zero: media.WallOf(t0)}
	at := int64(900)
	for i := range 120 { // parts of half a second
		for tr, per := range []int{12 + i%2, 23 + i%3/2} {
			f := archive.Fragment{Track: tr + 1, Offset: at, MoofOffset: at + 200, MoofSize: 300, DataOffset: at + 508}
			ticks, base := int64(picture), int64(i/2*25+i%2*12)*picture
			if tr == 1 {
				ticks, base = sound, int64(i*70/3)*sound
			}
			f.BaseTime = base
			for k := range per {
				f.Samples = append(f.Samples, media.Sample{Size: uint32(100 + k), Duration: uint32(ticks), Key: tr == 1 || k == 0 && i%2 == 0})
				f.DataSize += int64(100 + k)
				f.Duration += ticks
			}
			at = f.End()
			l.Fragments = append(l.Fragments, f)
		}
	}
	l.Segments = []archive.SegmentLayout{{Number: 1, First: 0, Last: len(l.Fragments), Span: media.Span{From: l.Zero, To: l.Zero.Add(time.Minute)}}}
	m := &minutes{store: newStore()}
	m.layouts[0] = l
	video, err := clip.Load(clip.H264)
	if err != nil {
		panic(err)
	}
	audio, err := clip.Load(clip.AAC)
	if err != nil {
		panic(err)
	}
	video.Track.ID, audio.Track.ID = 1, 2
	m.inits[7] = []media.Track{video.Track, audio.Track}
	for i := range n {
		sh := archive.ShapeOf(l)
		from := l.Zero.Add(time.Duration(i) * time.Minute)
		m.extents = append(m.extents, archive.Extent{File: archive.FileID(i), Span: media.Span{From: from, To: from.Add(time.Minute)}, Zero: from, Init: 7, Shape: &sh})
	}
	return m
}

// BenchmarkPlan plans movies of files of 60 s; what the catalogue has to do for
// it is core/archive's BenchmarkCatalogue.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{1, 60, 1440, 7 * 1440} {
		b.Run(fmt.Sprint(n, " minutes"), func(b *testing.B) {
			m := newMinutes(n + 2)
			srv := New(m)
			span := media.Span{From: media.WallOf(t0.Add(30 * time.Second)), To: media.WallOf(t0.Add(time.Duration(n)*time.Minute + 30*time.Second))}
			b.ReportAllocs()
			m.read = 0
			for b.Loop() {
				mv, err := srv.Record("cam", span)
				if err != nil {
					b.Fatal(err)
				}
				mv.Body.Release()
			}
			b.ReportMetric(float64(m.read)/float64(b.N), "tables/op")
		})
	}
}
