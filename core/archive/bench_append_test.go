package archive_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
	"media-server/core/mux"
)

// BenchmarkAppend is the cost of a part from the writer to durable, on the
// storage of the tests, files included.
func BenchmarkAppend(b *testing.B) {
	dir := storagetest.New(b.TempDir())
	dir.SyncEvery = 20 * time.Millisecond
	o := options(b.TempDir(), 1, dir)
	o.WriteBufferMax = 1 << 40
	h := open(b, o)
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Minute, Duration: 24 * time.Hour})
	if err != nil {
		b.Fatal(err)
	}
	cam := newCamera("gate", 1)
	f := start(b, cam, rec, archive.GapNone)
	w := mux.NewWriter(mux.Config{Epoch: 1}, mux.Start{Run: cam.run, Zero: mux.Zero(cam.born), Tracks: testTracks()})
	var parts []*media.Part
	var seq [3]uint64
	next := func() *media.Part {
		for len(parts) == 0 {
			for track := 1; track <= 2; track++ {
				u, wall := cam.unit(track, seq[track])
				seq[track]++
				p, _, err := w.Write(u, wall, nil)
				if err != nil {
					b.Fatal(err)
				}
				parts = append(parts, p...)
			}
		}
		p := parts[0]
		parts = parts[1:]
		return p
	}
	_ = f
	b.ReportAllocs()
	for b.Loop() {
		b.StopTimer()
		p := next()
		b.StartTimer()
		if err := rec.Append(p); err != nil {
			b.Fatal(err)
		}
		p.Release()
	}
}

// BenchmarkRebuild reads sealed files back, warm: files a second.
func BenchmarkRebuild(b *testing.B) {
	dir := storagetest.New(b.TempDir())
	h := open(b, options(b.TempDir(), 1, dir))
	cam := newCamera("gate", 1)
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: time.Minute})
	if err != nil {
		b.Fatal(err)
	}
	f := start(b, cam, rec, archive.GapNone)
	if err := f.feed(25 * 60); err != nil {
		b.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(b, "sealed", func() bool { return h.saw("record.file") > 0 && h.a.Metrics().Spaces[0].QueueBytes == 0 })
	segs, err := h.a.Segments("gate", all)
	if err != nil || len(segs) == 0 {
		b.Fatal(err)
	}
	h.close()
	copies := 5000
	if testing.Short() {
		copies = 500
	}
	var one []byte
	filepath.WalkDir(dir.Root, func(p string, e os.DirEntry, err error) error {
		if err == nil && !e.IsDir() && filepath.Ext(p) == ".mp4" && one == nil {
			one, _ = os.ReadFile(p)
		}
		return nil
	})
	day := filepath.Join(dir.Root, "copy", "2026-01-01")
	os.MkdirAll(day, 0o755)
	for i := range copies {
		if err := os.WriteFile(filepath.Join(day, fmt.Sprintf("000000-%016x.mp4", i)), one, 0o644); err != nil {
			b.Fatal(err)
		}
	}
	for b.Loop() {
		h := open(b, options(b.TempDir(), 2, dir))
		start := time.Now()
		eventually(b, "rebuilt", func() bool { return h.saw("archive.rebuild") > 0 })
		b.ReportMetric(float64(copies)/time.Since(start).Seconds(), "files/s")
		h.close()
	}
}
