package archive_test

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

func stateOf(h *host) archive.SpaceStatus { return h.a.SpaceStatuses()[0] }

// TestSwappedDisk: under a space's path lies an empty folder, then another
// space, then the right one again.
func TestSwappedDisk(t *testing.T) {
	data := t.TempDir()
	mount := t.TempDir()
	path := filepath.Join(mount, "space")
	here := "" // which of the three lies at path
	swap := func(to string) {
		t.Helper()
		for _, m := range [][2]string{{path, filepath.Join(mount, here)}, {filepath.Join(mount, to), path}} {
			if m[1] == mount { // nothing lies there yet
				continue
			}
			if err := os.Rename(m[0], m[1]); err != nil {
				t.Fatal(err)
			}
		}
		here = to
	}
	const right, empty, other = "right", "empty", "other"
	for _, d := range []string{right, empty, other} {
		if err := os.Mkdir(filepath.Join(mount, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	swap(right)
	h, _ := recorded(t, data, storagetest.New(path), 1, 9)
	eventually(t, "the first scan to end", func() bool { st := stateOf(h); return st.State == archive.SpaceNormal && st.ID != [16]byte{} })
	h.close()
	// Another server's space.
	o, _ := recorded(t, t.TempDir(), storagetest.New(filepath.Join(mount, other)), 1, 6)
	o.close()

	epoch := uint64(2)
	openWith := func(to string) *host {
		t.Helper()
		swap(to)
		h := open(t, options(data, epoch, storagetest.New(path)))
		epoch++
		return h
	}
	h = openWith(empty)
	eventually(t, "the loss to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
	if st := stateOf(h); st.Why == "" || st.Hint == "" || h.saw("storage.failed") == 0 {
		t.Errorf("%+v", st)
	}
	if left, _ := os.ReadDir(path); len(left) != 0 {
		t.Errorf("something was written into an empty mount point: %v", left)
	}
	// The disk is mounted again while the server runs.
	swap(right)
	eventually(t, "the space to be back", func() bool { return stateOf(h).State == archive.SpaceNormal && h.saw("storage.ok") > 0 })
	h.close()

	h = openWith(other)
	eventually(t, "the stranger to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
	before := len(mediaFiles(t, path))
	if segs, err := h.a.Segments("gate", all); err != nil || len(segs) == 0 {
		t.Errorf("what the lost space holds is not listed any more: %v", err)
	}
	// And taken.
	if err := h.a.RestoreSpace("s0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the space to be taken", func() bool { return stateOf(h).State == archive.SpaceNormal })
	eventually(t, "its footage to be listed", func() bool {
		segs, err := h.a.Segments("gate", all)
		return err == nil && len(segs) > 0 && h.saw("archive.rebuild") > 0
	})
	if n := len(mediaFiles(t, path)); n != before {
		t.Errorf("%d files of %d are left of the other space", n, before)
	}
	if err := h.a.RestoreSpace("s0"); err == nil {
		t.Error("a space that is not lost was taken again")
	}
	if err := h.a.RestoreSpace("none"); err == nil {
		t.Error("a space that is not there was taken")
	}
	h.close()
	h = openWith(other)
	defer h.close()
	eventually(t, "the taken space to be known", func() bool { return stateOf(h).State == archive.SpaceNormal })
}

// TestOlderCopy: at a space's path lies a copy of it from before: it has the
// right id, and nothing is written to it until somebody says that it is right.
func TestOlderCopy(t *testing.T) {
	t.Parallel()
	data, root, copied := t.TempDir(), filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "s")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	h, _ := recorded(t, data, storagetest.New(root), 1, 9) // an hour ago
	h.close()
	if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	early := len(mediaFiles(t, copied))
	h = open(t, options(data, 2, storagetest.New(root)))
	record(t, h, aged("gate", 2, 30*time.Minute), "", 25*9)
	whole := segments(t, h, "gate")
	h.close()

	for epoch := range uint64(2) { // refused again
		h = open(t, options(data, 3+epoch, storagetest.New(copied)))
		eventually(t, "the copy to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
		if st := stateOf(h); !strings.Contains(st.Why, "older copy") || !strings.Contains(st.Hint, "restore") || h.saw("storage.failed") == 0 {
			t.Errorf("%+v", st)
		}
		if n := segments(t, h, "gate"); n != whole {
			t.Errorf("%d of %d segments are listed while the right disk is away", n, whole)
		}
		h.close()
	}
	if b, err := os.ReadFile(filepath.Join(copied, ".space")); err != nil || string(b[16:]) != "1" {
		t.Errorf("the copy was written to: %q, %v", b, err)
	}
	h = open(t, options(data, 5, storagetest.New(root)))
	eventually(t, "the right disk to be taken at once", func() bool { return stateOf(h).State == archive.SpaceNormal })
	h.close()

	h = open(t, options(data, 6, storagetest.New(copied)))
	eventually(t, "the copy to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
	if err := h.a.RestoreSpace("s0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the copy to be taken", func() bool { return stateOf(h).State == archive.SpaceNormal && h.saw("archive.rebuild") > 0 })
	eventually(t, "what the copy does not hold to leave the lists", func() bool { return segments(t, h, "gate") == early })
	if n := len(mediaFiles(t, copied)); n != early {
		t.Errorf("%d of %d files are left", n, early)
	}
	record(t, h, aged("gate", 3, 10*time.Minute), "", 25*9)
	_, gaps, err := h.a.Ranges("gate", all)
	if err != nil || !slices.ContainsFunc(gaps, func(g archive.Gap) bool { return g.Why == archive.GapDiskError }) {
		t.Errorf("gaps %v, %v", gaps, err)
	}
	h.close()
	h = open(t, options(data, 7, storagetest.New(copied)))
	defer h.close()
	eventually(t, "the copy to be the space", func() bool { return stateOf(h).State == archive.SpaceNormal })
}

func segments(t *testing.T, h *host, uid string) int {
	t.Helper()
	segs, err := h.a.Segments(uid, all)
	if err != nil {
		t.Fatal(err)
	}
	return len(segs)
}
