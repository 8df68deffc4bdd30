package archive_test

import (
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
