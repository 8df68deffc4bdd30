package archive_test

import (
	"runtime"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// BenchmarkRebuild makes a catalogue of files of 60 s that lie in a real tree,
// warm: files a second, allocations a file.
func BenchmarkRebuild(b *testing.B) {
	const streams = 20
	files := 250
	if testing.Short() {
		files = 25
	}
	root := b.TempDir()
	newTemplate(b, 1).footage(b, root, "cam", time.Now().Add(-48*time.Hour).Truncate(time.Hour), streams, files)
	dir := storagetest.New(root)
	epoch := uint64(2)
	var took time.Duration
	var before, after runtime.MemStats
	var mallocs uint64
	n := 0
	for b.Loop() {
		o := options(b.TempDir(), epoch, dir)
		epoch++
		runtime.ReadMemStats(&before)
		start := time.Now()
		a, err := archive.Open(b.Context(), o)
		if err != nil {
			b.Fatal(err)
		}
		if err := a.Rebuild(b.Context(), "", nil); err != nil {
			b.Fatal(err)
		}
		took += time.Since(start)
		runtime.ReadMemStats(&after)
		mallocs += after.Mallocs - before.Mallocs
		a.Close()
		n += streams * files
	}
	b.ReportMetric(float64(n)/took.Seconds(), "files/s")
	b.ReportMetric(float64(mallocs)/float64(n), "allocs/file")
	b.ReportMetric(0, "ns/op")
}
