package archive_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// halfMoved has one file of gate in both spaces: it is listed in s1, and s0
// could not delete the original. The tier is s0 to s1.
func halfMoved(t *testing.T) (h *host, o archive.Options, cam *camera, live *noDeletes, cold *storagetest.Dir) {
	t.Helper()
	cold, cam = newDir(t), aged("gate", 1, time.Minute)
	live = &noDeletes{Dir: newDir(t)}
	data := t.TempDir()
	options := func(epoch uint64) archive.Options {
		o := tiered(data, epoch, live.Dir, cold)
		o.Spaces[0].Storage = live
		return o
	}
	o = options(1)
	o.Pools[0].ArchiveTo = ""
	h = open(t, o)
	record(t, h, cam, "live", 25*20)
	h.close()
	live.off.Store(true)
	o = options(2)
	h = open(t, o)
	eventually(t, "a file to be moved, and its original to stay", func() bool {
		return live.tried.Load() > 0 && h.a.Moves()[0].Files > 0 && h.a.Moves()[0].State == "failing"
	})
	if n := both(mediaFiles(t, live.Root), mediaFiles(t, cold.Root)); n != 1 {
		t.Fatalf("%d files are in both spaces", n)
	}
	return h, o, cam, live, cold
}

// TestMoveCopyLost: what a move had listed in its target, and is gone from there,
// is footage still as long as the original lies there.
func TestMoveCopyLost(t *testing.T) {
	t.Parallel()
	h, _, cam, live, cold := halfMoved(t)
	copied := mediaFiles(t, cold.Root)[0]
	if err := os.Remove(filepath.Join(cold.Root, copied)); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the loss to be seen", func() bool {
		if err := archive.LookOver(t.Context(), h.a, "s1"); err != nil {
			t.Fatal(err)
		}
		_, gaps, err := h.a.Ranges("gate", all)
		return err == nil && len(gaps) == 1
	})
	live.off.Store(false)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && h.a.Moves()[0].State == "idle" })
	audit(t, h.a, cam, 0, 25*20)
	if _, gaps, err := h.a.Ranges("gate", all); err != nil || len(gaps) != 0 {
		t.Errorf("gaps %v %v", gaps, err)
	}
}

// TestMoveCopyDeleted: an original that outlived its copy, which a rule took, is
// not left lying unlisted: the rules see it again.
func TestMoveCopyDeleted(t *testing.T) {
	t.Parallel()
	h, o, _, live, cold := halfMoved(t)
	files := mediaFiles(t, live.Root)
	h.close()
	o.Epoch, o.Pools[1].Days = 3, 1
	h = open(t, o)
	eventually(t, "the copy to be deleted by rule", func() bool { retain(t, h); return len(mediaFiles(t, cold.Root)) == 0 })
	live.off.Store(false)
	eventually(t, "all to go", func() bool {
		retain(t, h)
		return len(mediaFiles(t, live.Root)) == 0 && len(mediaFiles(t, cold.Root)) == 0
	})
	if segs, err := h.a.Segments("gate", all); err != nil || len(segs) != 0 {
		t.Errorf("%d segments of %d files are listed, %v", len(segs), len(files), err)
	}
	eventually(t, "nothing to be left of the moves", func() bool { m, _ := archive.Intents(h.a); return m == 0 })
}

// lingers is a space that has a file, and does not say so before it is given up.
type lingers struct {
	*storagetest.Dir
	in atomic.Int32
}

func (l *lingers) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	if err := l.Dir.Put(ctx, name, size, r); err != nil {
		return err
	}
	l.in.Add(1)
	<-ctx.Done()
	return ctx.Err()
}

// noIntents waits until no move and no grooming is left.
func noIntents(t *testing.T, h *host) {
	t.Helper()
	eventually(t, "nothing to be left of moves and groomings", func() bool { m, g := archive.Intents(h.a); return m+g == 0 })
}

// TestMoveUnwanted: a copy that settings stop half way goes, and the space is as
// empty as it was, also for RemoveSpace.
func TestMoveUnwanted(t *testing.T) {
	t.Parallel()
	live, dir, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	cold := &lingers{Dir: dir}
	o := tiered(t.TempDir(), 1, live, dir)
	o.Spaces[1].Storage = cold
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	eventually(t, "a copy to be made", func() bool { return cold.in.Load() > 0 })
	if err := h.a.SetPools([]archive.Pool{{Name: "live", Spaces: []string{"s0"}, Overwrite: true}}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy to go", func() bool { return len(mediaFiles(t, dir.Root)) == 0 })
	noIntents(t, h)
	audit(t, h.a, cam, 0, 25*20)
	if err := h.a.RemoveSpace(t.Context(), "s1"); err != nil {
		t.Error(err)
	}
}

// TestMoveUnwantedLate: where a copy is listed already when settings stop the
// move, the original goes.
func TestMoveUnwantedLate(t *testing.T) {
	t.Parallel()
	h, o, cam, live, cold := halfMoved(t)
	pools := []archive.Pool{o.Pools[0], o.Pools[1]}
	pools[0].ArchiveTo, pools[0].ArchiveAfter = "", 0
	if err := h.a.SetPools(pools); err != nil {
		t.Fatal(err)
	}
	live.off.Store(false)
	eventually(t, "the original to go", func() bool { return both(mediaFiles(t, live.Root), mediaFiles(t, cold.Root)) == 0 })
	noIntents(t, h)
	audit(t, h.a, cam, 0, 25*20)
}

// TestGroomUnwanted: what was being groomed when settings stop it goes.
func TestGroomUnwanted(t *testing.T) {
	t.Parallel()
	dir, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	h := open(t, groomOptions(data, 1, 0, dir))
	record(t, h, cam, "", 25*20)
	files := mediaFiles(t, dir.Root)
	h.close()
	o := groomOptions(data, 2, time.Hour, dir)
	d := &lingers{Dir: dir}
	o.Spaces[0].Storage = d
	h = open(t, o)
	eventually(t, "a groomed file to be made", func() bool { return d.in.Load() > 0 })
	pools := []archive.Pool{o.Pools[0]}
	pools[0].GroomAfter = 0
	if err := h.a.SetPools(pools); err != nil {
		t.Fatal(err)
	}
	eventually(t, "what was made to go", func() bool { return slices.Equal(mediaFiles(t, dir.Root), files) })
	noIntents(t, h)
	audit(t, h.a, cam, 0, 25*20)
}

// TestGroomUnwantedLate: originals whose groomed files are listed already go all
// the same.
func TestGroomUnwantedLate(t *testing.T) {
	t.Parallel()
	dir, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	h := open(t, groomOptions(data, 1, 0, dir))
	record(t, h, cam, "", 25*20)
	n := len(mediaFiles(t, dir.Root))
	h.close()
	o := groomOptions(data, 2, time.Hour, dir)
	d := &noDeletes{Dir: dir}
	d.off.Store(true)
	o.Spaces[0].Storage = d
	h = open(t, o)
	eventually(t, "all to be groomed, and the originals to stay", func() bool { return groomedFiles(h.a) == int64(n) && d.tried.Load() > 0 })
	pools := []archive.Pool{o.Pools[0]}
	pools[0].GroomAfter = 0
	if err := h.a.SetPools(pools); err != nil {
		t.Fatal(err)
	}
	d.off.Store(false)
	eventually(t, "the originals to go", func() bool { return len(mediaFiles(t, dir.Root)) == n })
	noIntents(t, h)
	auditKeys(t, h.a, cam, 0, 25*20)
}

// TestMoveTargetRemoved: where the space that a file was moved to is lost and
// removed, the original that still lies there is footage again.
func TestMoveTargetRemoved(t *testing.T) {
	t.Parallel()
	h, o, cam, live, cold := halfMoved(t)
	pools := []archive.Pool{o.Pools[0]}
	pools[0].ArchiveTo, pools[0].ArchiveAfter = "", 0
	if err := h.a.SetPools(pools); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(cold.Root, cold.Root+".away"); err != nil {
		t.Fatal(err)
	}
	cold.Kill()
	cold.Revive()
	if err := h.a.TuneSpace("s1", archive.Limits{}, 0); err != nil { // opens it again
		t.Fatal(err)
	}
	eventually(t, "the loss to be seen", func() bool { return spaceState(h, "s1").State == archive.SpaceLost })
	if err := h.a.RemoveSpace(t.Context(), "s1"); err != nil {
		t.Fatal(err)
	}
	live.off.Store(false)
	eventually(t, "the original to be listed again", func() bool {
		_, gaps, err := h.a.Ranges("gate", all)
		return err == nil && len(gaps) == 0
	})
	noIntents(t, h)
	audit(t, h.a, cam, 0, 25*20)
}
