package archive_test

import (
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"
)

// TestArchiveRate: moving takes as long as archive-rate says, also where each
// file is small; what is moved is read once and read back once.
func TestArchiveRate(t *testing.T) {
	live, cold, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000 // the bubble's clock
		o := tiered(data, 1, live, cold)
		o.MoveEvery = 24 * time.Hour
		h := open(t, o)
		record(t, h, cam, "live", 25*60)
		h.close()
		files := mediaFiles(t, live.Root)
		var bytes int64
		for _, f := range files {
			fi, err := os.Stat(filepath.Join(live.Root, f))
			if err != nil {
				t.Fatal(err)
			}
			bytes += fi.Size()
		}
		time.Sleep(2 * time.Hour) // all of it is due at once
		const rate = 64 << 10
		o = tiered(data, 2, live, cold)
		o.MoveEvery, o.Pools[0].ArchiveRate = time.Second, rate
		h = open(t, o)
		begun := time.Now()
		for time.Since(begun) < time.Hour && len(mediaFiles(t, live.Root)) > 0 {
			time.Sleep(20 * time.Millisecond)
		}
		took := time.Since(begun)
		if n := len(mediaFiles(t, cold.Root)); n != len(files) {
			t.Fatalf("%d of %d files were moved in %s", n, len(files), took)
		}
		// The last block is waited for by nobody; before the first a pass begins,
		// and each batch waits for the databases.
		want := time.Duration(float64(2*bytes) / rate * float64(time.Second))
		if least := want - 2*time.Second; took < least || took > want+10*time.Second {
			t.Errorf("%d files of together %d bytes were moved in %s; at %d bytes a second, read and read back, it takes %s", len(files), bytes, took, rate, want)
		}
		if m := h.a.Moves(); m[0].Bytes != bytes || m[0].State == "failing" {
			t.Errorf("%+v", m)
		}
		h.close()
	})
}

// TestArchiveRateStops: a pace does not hold up the end of the server.
func TestArchiveRateStops(t *testing.T) {
	live, cold, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000
		o := tiered(data, 1, live, cold)
		o.MoveEvery, o.Pools[0].ArchiveRate = time.Second, 1
		h := open(t, o)
		record(t, h, cam, "live", 25*10)
		time.Sleep(time.Minute)
		begun := time.Now()
		h.close()
		if took := time.Since(begun); took > 10*time.Second {
			t.Errorf("the end took %s", took)
		}
		if n := len(mediaFiles(t, live.Root)); n < 3 {
			t.Errorf("%d files are left at a byte a second", n)
		}
	})
}
