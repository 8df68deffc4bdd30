package archive_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// TestFilesTaken: complete files that another program deletes, cuts or spoils
// are reported as gaps with their cause, the neighbours of one that was read
// without having been read; a file that is put back is listed again.
func TestFilesTaken(t *testing.T) {
	dir := t.TempDir()
	h := open(t, options(t.TempDir(), 1, storagetest.New(dir)))
	rec, err := h.a.Recorder("gate", archive.Rules{Pool: "default", Chunk: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, newCamera("gate", 1), rec, archive.GapNone)
	if err := f.feed(25 * 22); err != nil {
		t.Fatal(err)
	}
	rec.End(archive.GapDisabled)
	rec.Close()
	eventually(t, "all files are listed", func() bool { return archive.Listed(h.a, "gate") })
	all := media.Span{From: 0, To: 1 << 62}
	segs, err := h.a.Segments("gate", all)
	if err != nil || len(segs) < 9 {
		t.Fatalf("%d segments, %v", len(segs), err)
	}
	files, _ := filepath.Glob(filepath.Join(dir, "gate", "*", "*.mp4"))
	slices.Sort(files)
	if len(files) < 9 {
		t.Fatalf("%d files", len(files))
	}
	away := filepath.Join(t.TempDir(), "away")
	for _, err := range []error{os.Rename(files[2], away), os.Remove(files[4]), os.Truncate(files[6], 2000), os.Remove(files[0]), spoil(files[8])} {
		if err != nil {
			t.Fatal(err)
		}
	}
	reported := func(n ...int) bool {
		_, gs, err := h.a.Ranges("gate", all)
		if err != nil || len(gs) != len(n) {
			return false
		}
		for i, k := range n {
			why := map[int]archive.GapCause{6: archive.GapDamaged, 8: archive.GapDamaged}[k]
			if why == "" {
				why = archive.GapDeleted
			}
			if gs[i].Why != why || max(gs[i].Span.From-segs[k].Span.From, segs[k].Span.From-gs[i].Span.From) > media.Wall(100*time.Millisecond) {
				return false
			}
		}
		return true
	}
	if _, gs, _ := h.a.Ranges("gate", all); len(gs) != 0 {
		t.Fatalf("gaps before anybody looked: %v", gs)
	}
	// Somebody reads one of them, and finds it gone; the look-over finds the
	// others, but for the one of the right size.
	if _, err := h.a.Layout(segs[2].File); err == nil {
		t.Fatal("a file that is gone was read")
	}
	eventually(t, "four gaps", func() bool { return reported(0, 2, 4, 6) })
	if _, err := h.a.Layout(segs[8].File); err == nil {
		t.Fatal("a file without a valid index was read")
	}
	eventually(t, "the spoilt file is reported", func() bool { return reported(0, 2, 4, 6, 8) })
	if n := h.saw("archive.damaged"); n != 3 {
		t.Errorf("%d notices", n)
	}
	for _, k := range []int{6, 8} {
		if _, err := os.Stat(files[k]); err != nil {
			t.Errorf("what is not understood any more: %v", err)
		}
	}
	if err := os.Rename(away, files[2]); err != nil {
		t.Fatal(err)
	}
	if err := h.a.Rebuild(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the file that is back closes its gap", func() bool { return reported(0, 4, 6, 8) })
	if _, err := h.a.Layout(segs[2].File); err != nil {
		t.Error(err)
	}
}

// TestDiskAwayIsNotTaken: a disk under which all files vanish at once is away;
// its files stay on the lists.
func TestDiskAwayIsNotTaken(t *testing.T) {
	dir := t.TempDir()
	h := open(t, options(t.TempDir(), 1, storagetest.New(dir)))
	rec, err := h.a.Recorder("gate", archive.Rules{Pool: "default", Chunk: time.Second})
	if err != nil {
		t.Fatal(err)
	}
	if err := start(t, newCamera("gate", 1), rec, archive.GapNone).feed(25 * 10); err != nil {
		t.Fatal(err)
	}
	rec.End(archive.GapDisabled)
	rec.Close()
	eventually(t, "all files are listed", func() bool { return archive.Listed(h.a, "gate") })
	segs, _ := h.a.Segments("gate", media.Span{From: 0, To: 1 << 62})
	if err := os.Rename(filepath.Join(dir, "gate"), filepath.Join(dir, ".gate")); err != nil {
		t.Fatal(err)
	}
	if err := archive.LookOver(t.Context(), h.a, "s0"); err == nil {
		t.Error("nothing is said")
	}
	if now, _ := h.a.Segments("gate", media.Span{From: 0, To: 1 << 62}); len(now) != len(segs) {
		t.Errorf("%d of %d segments are listed", len(now), len(segs))
	}
}

// spoil changes a byte in the index, which the file ends with.
func spoil(path string) error {
	b, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	b[len(b)-40] ^= 1
	return os.WriteFile(path, b, 0o640)
}
