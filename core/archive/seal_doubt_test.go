package archive_test

import (
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// sealing records 8 s in files of 3 s into a space that never syncs but by sealing,
// and gives what has become of them once all is stored.
func sealing(t *testing.T, meanwhile func(dir *storagetest.Dir) (then func())) *host {
	dir, cam := newDir(t), inBubble("gate", 1)
	dir.SyncEvery = time.Hour
	then := meanwhile(dir)
	h := open(t, options(t.TempDir(), 1, dir))
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(110); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Second)
	then()
	if err := f.feed(200); err != nil {
		t.Fatal(err)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	rec.End(archive.GapCameraLost)
	rec.Close()
	eventually(t, "every file sealed", func() bool {
		open, err := filepath.Glob(filepath.Join(dir.Root, "open", "*.mp4"))
		return err == nil && len(open) == 0
	})
	audit(t, h.a, cam, 0, 200)
	return h
}

// TestSealOfWhatIsGone: a complete file that is deleted before anything of it is
// durable is written once more, and its stream goes on.
func TestSealOfWhatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var once atomic.Bool
		h := sealing(t, func(dir *storagetest.Dir) func() {
			dir.BeforeSeal = func(name string) {
				if once.CompareAndSwap(false, true) {
					if err := os.Remove(filepath.Join(dir.Root, name)); err != nil {
						t.Error(err)
					}
				}
			}
			return func() {}
		})
		h.close()
		if !once.Load() {
			t.Error("nothing was removed")
		}
	})
}

// TestSealAfterAFailedSync: a file whose sync has failed is not sealed before what
// was in doubt has been written again.
func TestSealAfterAFailedSync(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var seals atomic.Int32
		stalled := make(chan func(), 1)
		h := sealing(t, func(dir *storagetest.Dir) func() {
			dir.BeforeSeal = func(string) {
				if seals.Add(1) == 1 {
					stalled <- dir.Stall()
					dir.FailSeals(1)
				}
			}
			return func() {
				if n := seals.Load(); n != 1 {
					t.Errorf("%d seals while its bytes wait to be written again", n)
				}
				(<-stalled)()
			}
		})
		h.close()
	})
}

// TestDoubtIsNobodysFault: what a process before has written and could not be made
// durable is missing because of the disk, and was not taken by anybody.
func TestDoubtIsNobodysFault(t *testing.T) {
	dir, cam, data := newDir(t), newCamera("gate", 1), t.TempDir()
	dir.SyncEvery = time.Hour
	h := open(t, options(data, 1, dir))
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: time.Hour})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(100); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all of it written", func() bool {
		s := h.a.Metrics().Spaces[0]
		return s.QueueBytes > 0 && s.BytesWritten == uint64(s.QueueBytes)
	})
	rec.Close()
	h.close()

	dir.SyncEvery = 20 * time.Millisecond
	dir.FailSyncs(1)
	h = open(t, options(data, 2, dir))
	defer h.close()
	rec, _ = h.a.Recorder("gate", archive.Rules{Chunk: time.Hour})
	defer rec.Close()
	f = start(t, cam, rec, archive.GapNone)
	if f.next[1] == 0 {
		t.Fatal("nothing was found")
	}
	seq := uint64(100)
	eventually(t, "what is missing to be found", func() bool {
		if seq += 10; seq < 1000 {
			if err := f.feed(seq); err != nil {
				t.Fatal(err)
			}
		}
		return h.saw("archive.damaged") > 0
	})
	if h.told("archive.damaged", "somebody else") {
		t.Error("somebody else is said to have taken it")
	}
	eventually(t, "the gap", func() bool {
		_, gaps, err := h.a.Ranges("gate", all)
		return err == nil && slices.ContainsFunc(gaps, func(g archive.Gap) bool { return g.Why == archive.GapDiskError })
	})
}
