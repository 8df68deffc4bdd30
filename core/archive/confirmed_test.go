package archive_test

import (
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
)

// TestConfirmationOutlivesTheProcess: what somebody confirmed goes also where the
// process ends before it has gone. By other rules, and after a week, it is asked for
// again.
func TestConfirmationOutlivesTheProcess(t *testing.T) {
	pools := func() []archive.Pool {
		return []archive.Pool{{Name: "default", Spaces: []string{"s0"}, Overwrite: true, DeleteMost: 50}}
	}
	rule := func(t *testing.T, h *host, d time.Duration) {
		rec, err := h.a.Recorder("gate", archive.Rules{Duration: d})
		if err != nil {
			t.Fatal(err)
		}
		rec.Close()
		time.Sleep(time.Second)
	}
	for name, c := range map[string]struct {
		then func(t *testing.T, h *host) // between the confirmation and the next process
		held int
	}{
		"goes on":      {func(*testing.T, *host) {}, 0},
		"other rules":  {func(t *testing.T, h *host) { rule(t, h, 2*time.Minute) }, 1},
		"a week later": {func(*testing.T, *host) { time.Sleep(8 * 24 * time.Hour) }, 1},
	} {
		t.Run(name, func(t *testing.T) {
			dir, data := newDir(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				o := options(data, 1, dir)
				o.Pools = pools()
				h := open(t, o)
				record(t, h, inBubble("gate", 1), "", 25*40)
				files := len(mediaFiles(t, dir.Root))
				time.Sleep(time.Hour)
				rule(t, h, time.Minute)
				time.Sleep(5 * time.Minute)
				if n := len(mediaFiles(t, dir.Root)); n != files || len(h.a.Held()) != 1 {
					t.Fatalf("%d of %d files are left, held %+v", n, files, h.a.Held())
				}
				h.stop() // nothing is deleted any more
				if err := <-h.done; err != nil {
					t.Fatal(err)
				}
				h.stop = nil
				if !h.a.ConfirmRetention("gate") {
					t.Fatal("what is held cannot be confirmed")
				}
				c.then(t, h)
				h.a.Close()
				if n := len(mediaFiles(t, dir.Root)); n != files {
					t.Fatalf("%d of %d files are left by the process that ended", n, files)
				}
				o.Epoch = 2
				h = open(t, o)
				time.Sleep(5 * time.Minute)
				want := 0
				if c.held > 0 {
					want = files
				}
				if n := len(mediaFiles(t, dir.Root)); n != want || h.saw("retention.held") != c.held || len(h.a.Held()) != c.held {
					t.Errorf("%d of %d files are left, told %d times, held %+v", n, files, h.saw("retention.held"), h.a.Held())
				}
				h.close()
			})
		})
	}
}

// TestSpaceConfirmationOutlivesTheProcess: the same of what a threshold wants of a
// space.
func TestSpaceConfirmationOutlivesTheProcess(t *testing.T) {
	for name, c := range map[string]struct {
		free float64 // overwrite-free in the next process
		held int
	}{"goes on": {90, 0}, "another threshold": {80, 1}} {
		t.Run(name, func(t *testing.T) {
			dir, data := newDir(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				d := &fills{Dir: dir}
				d.free.Store(fillTotal / 2)
				o := options(data, 1, dir)
				o.Spaces[0].Storage, o.Pools = d, overwrites(10)
				h := open(t, o)
				record(t, h, inBubble("gate", 1), "", 25*120)
				time.Sleep(5 * time.Minute)
				files := len(mediaFiles(t, dir.Root))
				if err := h.a.SetPools(overwrites(90)); err != nil {
					t.Fatal(err)
				}
				time.Sleep(5 * time.Minute)
				h.stop()
				if err := <-h.done; err != nil {
					t.Fatal(err)
				}
				h.stop = nil
				if n := len(mediaFiles(t, dir.Root)); n != files || !h.a.ConfirmSpace("s0") {
					t.Fatalf("%d of %d files are left, held %+v", n, files, h.a.Held())
				}
				h.a.Close()
				o.Epoch, o.Pools = 2, overwrites(c.free)
				h = open(t, o)
				time.Sleep(5 * time.Minute)
				want := 0
				if c.held > 0 {
					want = files
				}
				if n := len(mediaFiles(t, dir.Root)); n != want || len(h.a.Held()) != c.held {
					t.Errorf("%d of %d files are left, held %+v", n, files, h.a.Held())
				}
				h.close()
			})
		})
	}
}
