package archive

import (
	"context"
	"encoding/binary"
	"fmt"
	"log/slog"
	"testing"
	"time"

	"media-server/core/media"
)

// month fills a catalogue with days of files of 60 s of 50 streams.
func month(b *testing.B, days int) (*Archive, media.Span) {
	b.Helper()
	return filled(b, Options{Spaces: []Space{{Name: "main"}}}, 50, media.WallOf(time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC)), days, time.Minute)
}

// filled has a catalogue of files of a length, of streams recorded from t0 for
// days.
func filled(b *testing.B, o Options, streams int, t0 media.Wall, days int, length time.Duration) (*Archive, media.Span) {
	b.Helper()
	ctx := context.Background()
	o.DataDir, o.Epoch, o.Log = b.TempDir(), 1, slog.New(slog.DiscardHandler)
	a, err := newArchive(o)
	if err != nil {
		b.Fatal(err)
	}
	if a.cat, err = openCatalogue(ctx, &a.o); err != nil {
		b.Fatal(err)
	}
	if a.state, err = openState(ctx, &a.o); err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { a.cat.close(); a.state.close() })
	tx, err := a.cat.w.Begin()
	if err != nil {
		b.Fatal(err)
	}
	segs := make([]segRow, length/(2*time.Second))
	for i := range segs {
		from := t0.Add(time.Duration(2*i) * time.Second)
		segs[i] = segRow{uint64(1000 + i), 0, media.Span{From: from, To: from.Add(2 * time.Second)}, true, true, 500_000}
	}
	table := appendSegTable(nil, t0, segs)
	n := days * int(24*time.Hour/length)
	if _, err := tx.Exec("INSERT INTO spaces VALUES (1,'main',0)"); err != nil {
		b.Fatal(err)
	}
	shape := appendShape(nil, &Shape{First: 900, End: 15_000_000, Tracks: []TrackShape{
		{Track: 1, Samples: 1500, Times: 1, Offsets: 1, Keys: 30, Chunks: 120, Groups: 2, Partial: true, Base: 900_000, End: 6_300_000, LastStart: 6_296_400},
		{Track: 2, Samples: 2813, Times: 1, Offsets: 1, Keys: 2813, Chunks: 120, Groups: 40, Base: 480_000, End: 3_360_512, LastStart: 3_359_488},
	}})
	ins, err := tx.Prepare("INSERT INTO files VALUES (?,?,1,?,?,15000000,0,0,7,0,?,?,?,?)")
	if err != nil {
		b.Fatal(err)
	}
	defer ins.Close()
	for s := range streams {
		if _, err := tx.Exec("INSERT INTO streams (id, uid, longest) VALUES (?,?,?)", s+1, fmt.Sprintf("cam%d", s), int64(length)); err != nil {
			b.Fatal(err)
		}
	}
	for i := range n {
		from := t0.Add(time.Duration(i) * length)
		for s := range streams {
			id := int64(i*streams + s + 1)
			if _, err := ins.Exec(id, s+1, int64(from), int64(from.Add(length)), make([]byte, 16), finalName("cam0", FileID(id), from), table, shape); err != nil {
				b.Fatal(err)
			}
		}
	}
	if err := tx.Commit(); err != nil {
		b.Fatal(err)
	}
	if err := a.cat.load(); err != nil {
		b.Fatal(err)
	}
	writing, stop := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { a.cat.run(writing, nil); close(done) }()
	err = a.cat.makeAllPages(ctx)
	stop()
	<-done
	if err != nil {
		b.Fatal(err)
	}
	return a, media.Span{From: t0, To: t0.Add(time.Duration(n) * length)}
}

// BenchmarkCatalogue asks a catalogue of 30 days of 50 streams in files of
// 60 s (2.16 million rows); -short makes it 3 days.
func BenchmarkCatalogue(b *testing.B) {
	days := 30
	if testing.Short() {
		days = 3
	}
	a, whole := month(b, days)
	hour := media.Span{From: whole.To.Add(-25 * time.Hour), To: whole.To.Add(-24 * time.Hour)}
	day := media.Span{From: whole.To.Add(-48 * time.Hour), To: whole.To.Add(-24 * time.Hour)}
	for name, span := range map[string]media.Span{"hour": hour, "day": day, "whole": whole} {
		b.Run("ranges-"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				r, _, err := a.Ranges("cam7", span)
				if err != nil || len(r) != 1 {
					b.Fatal(r, err)
				}
			}
		})
	}
	b.Run("segments-hour", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			s, err := a.Segments("cam7", hour)
			if err != nil || len(s) != 1800 {
				b.Fatal(len(s), err)
			}
		}
	})
	for name, span := range map[string]media.Span{"hour": hour, "day": day} {
		b.Run("extents-"+name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				es, err := a.Extents("cam7", span)
				if err != nil || len(es) != int(span.Duration()/time.Minute) || es[0].Shape == nil {
					b.Fatal(len(es), err)
				}
			}
		})
	}
	b.Run("open", func(b *testing.B) {
		for b.Loop() {
			c, err := openCatalogue(context.Background(), &a.o)
			if err != nil {
				b.Fatal(err)
			}
			if _, ok := c.bounds("cam7"); !ok {
				b.Fatal("nothing there")
			}
			c.close()
		}
	})
	b.Run("retention-plan", func(b *testing.B) {
		for b.Loop() {
			if _, err := a.retainStreams(whole.To, wish{}); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkIndex encodes and decodes the index of a file of two minutes.
func BenchmarkIndex(b *testing.B) {
	x := sampleIndex()
	box := AppendIndex(nil, x)
	b.Run("encode", func(b *testing.B) {
		b.ReportAllocs()
		buf := make([]byte, 0, 2*len(box))
		for b.Loop() {
			AppendIndex(buf, x)
		}
	})
	b.Run("decode", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			if _, err := ParseIndex(box, true); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkChain is what signing costs while recording: a part of 2 Mbit/s, 12
// pictures and 24 sounds. 1 GB/s = 1 CPU-second a GB.
func BenchmarkChain(b *testing.B) {
	video := media.Fragment{Track: 1, LastSeq: 11, Samples: make([]media.Sample, 12), Payload: make([]byte, 12*10_000)}
	audio := media.Fragment{Track: 2, LastSeq: 23, Samples: make([]media.Sample, 24), Payload: make([]byte, 24*350)}
	for i := range video.Samples {
		video.Samples[i].Size = 10_000
	}
	for i := range audio.Samples {
		audio.Samples[i].Size = 350
	}
	for _, f := range []*media.Fragment{&video, &audio} {
		f.Head = make([]byte, 152+8*len(f.Samples)+36+200)
		binary.BigEndian.PutUint32(f.Head, uint32(152+8*len(f.Samples)+36))
		binary.BigEndian.PutUint32(f.Head[144:], uint32(len(f.Samples)))
		binary.BigEndian.PutUint16(f.Head[150:], 36)
		binary.BigEndian.PutUint16(f.Head[152+8*len(f.Samples):], 2)
	}
	c := beginChain(nil)
	b.SetBytes(int64(len(video.Payload) + len(audio.Payload)))
	b.ReportAllocs()
	for b.Loop() {
		c.add(&video)
		c.add(&audio)
	}
}
