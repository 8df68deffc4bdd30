package archive_test

import (
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
)

// TestStuckSpace: a space that takes nothing is left after a while, when its
// pool has another, and nothing is lost or doubled when it comes back.
func TestStuckSpace(t *testing.T) {
	one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000 // the bubble's clock
		h := open(t, options(data, 1, one, two))
		rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 5 * time.Second})
		f := start(t, cam, rec, archive.GapNone)
		feed := func(seconds int) {
			for range seconds {
				if err := f.feed(f.next[1] + 25); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
			}
		}
		feed(7)
		resume := one.Stall()
		feed(25)
		if h.saw("storage.moved") == 0 {
			t.Error("nothing was moved")
		}
		resume()
		feed(5)
		f.flush()
		audit(t, h.a, cam, 0, f.next[1])
		rec.End(archive.GapNone)
		rec.Close()
		time.Sleep(10 * time.Second)
		if m := h.a.Metrics(); m.Spaces[0].QueueBytes+m.Spaces[1].QueueBytes != 0 {
			t.Errorf("%+v", m)
		}
		h.close()
	})
	h := open(t, options(data, 2, one, two))
	eventually(t, "old file sealed", func() bool { return openFiles(one)+openFiles(two) == 0 })
	audit(t, h.a, cam, 0, 37*25)
}

// TestGraceEnds: a recovered file whose run does not go on is sealed.
func TestGraceEnds(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for epoch := uint64(1); epoch <= 2; epoch++ {
			h := open(t, options(data, epoch, dir))
			if epoch == 1 {
				rec, _ := h.a.Recorder("gate", archive.Rules{})
				f := start(t, cam, rec, archive.GapNone)
				if err := f.feed(200); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				rec.Close()
			} else {
				if openFiles(dir) != 1 {
					t.Error("not open at first")
				}
				time.Sleep(3 * time.Minute)
				if openFiles(dir) != 0 {
					t.Error("still open")
				}
			}
			h.close()
		}
	})
}
