package archive_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
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

// TestSlowFile: a file that takes longer than half an hour at its pace is moved,
// and groomed, all the same.
func TestSlowFile(t *testing.T) {
	for _, c := range []struct {
		name  string
		slow  func(*archive.Pool)
		ended func(*host) bool
	}{
		{"moved", func(p *archive.Pool) { p.ArchiveTo = "cold" }, func(h *host) bool { return h.a.Moves()[0].Files == 1 }},
		{"groomed", func(p *archive.Pool) { p.GroomAfter = time.Hour }, func(h *host) bool { return groomedFiles(h.a) == 1 }},
	} {
		t.Run(c.name, func(t *testing.T) {
			live, cold, cam := newDir(t), newDir(t), newCamera("gate", 1)
			data := t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cam.born = 946684800_000000000 // the bubble's clock
				o := tiered(data, 1, live, cold)
				o.MoveEvery, o.Pools[0].ArchiveTo = time.Second, ""
				h := open(t, o)
				rec, err := h.a.Recorder("gate", archive.Rules{Chunk: time.Hour, Pool: "live"})
				if err != nil {
					t.Fatal(err)
				}
				f := start(t, cam, rec, archive.GapNone)
				if err := f.feed(25 * 120); err != nil {
					t.Fatal(err)
				}
				f.flush()
				rec.End(archive.GapDisabled)
				rec.Close()
				eventually(t, "sealed and listed", func() bool { return archive.Listed(h.a, "gate") })
				h.close()
				files := mediaFiles(t, live.Root)
				fi, err := os.Stat(filepath.Join(live.Root, files[0]))
				if err != nil || len(files) != 1 {
					t.Fatal(files, err)
				}
				time.Sleep(2 * time.Hour) // it is due
				live.Descriptors = false
				o = tiered(data, 2, live, cold)
				o.MoveEvery, o.Pools[0].ArchiveTo = time.Second, ""
				o.Pools[0].ArchiveRate = fi.Size() / int64(40*60)
				c.slow(&o.Pools[0])
				h = open(t, o)
				begun := time.Now()
				for !c.ended(h) && time.Since(begun) < 4*time.Hour {
					time.Sleep(time.Second)
				}
				if took := time.Since(begun); !c.ended(h) || took < 31*time.Minute {
					t.Errorf("after %s: %+v %+v", took, h.a.Moves(), h.a.Groomings())
				}
				h.close()
			})
		})
	}
}

// hung is a space that takes a file and never answers.
type hung struct{ *storagetest.Dir }

func (h hung) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	<-ctx.Done()
	return ctx.Err()
}

// TestMoveHangs: a space that does not answer is given up after half an hour.
func TestMoveHangs(t *testing.T) {
	live, cold, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000
		o := tiered(data, 1, live, cold)
		o.MoveEvery, o.Spaces[1].Storage = time.Second, hung{cold}
		h := open(t, o)
		record(t, h, cam, "live", 25*10)
		time.Sleep(31 * time.Minute)
		if m := h.a.Moves()[0]; m.Failures != 1 || m.Files != 0 || h.saw("storage.move_failed") != 1 {
			t.Errorf("%+v, told %d times", m, h.saw("storage.move_failed"))
		}
		h.close()
	})
}
