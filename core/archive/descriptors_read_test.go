package archive_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestReadAgain: a file that is read again and again is opened once, and deleted footage
// is gone from the disk at once.
func TestReadAgain(t *testing.T) {
	dir := newDir(t)
	dir.Descriptors = true
	h, _ := recorded(t, t.TempDir(), dir, 1, 9)
	defer h.close()
	eventually(t, "the ledgers to be read", func() bool { return !h.a.RetentionWaits() })
	segs, err := h.a.Segments("gate", all)
	if err != nil || len(segs) == 0 {
		t.Fatal(segs, err)
	}
	was, before := openUnder(t, dir.Root), dir.Opens.Load() // the backend of the test has some open itself
	for range 50 {
		p, err := h.a.Pin(segs[0].File)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := p.ReadAt(make([]byte, 100), 0); err != nil {
			t.Fatal(err)
		}
		if _, _, ok := p.File(); !ok {
			t.Fatal("no descriptor")
		}
		p.Release()
	}
	if n := dir.Opens.Load() - before; n != 1 {
		t.Errorf("opened %d times", n)
	}
	if n := openUnder(t, dir.Root); n != was+1 {
		t.Errorf("%d are open, %d before", n, was)
	}
	if err := h.a.DeleteFootage(t.Context(), "gate"); err != nil {
		t.Fatal(err)
	}
	if n := openUnder(t, dir.Root); n != was {
		t.Errorf("%d of what is deleted are open, %d before it was read", n, was)
	}
}

// openUnder counts what of a folder this process has open.
func openUnder(t *testing.T, root string) (n int) {
	t.Helper()
	es, err := os.ReadDir("/proc/self/fd")
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range es {
		if name, err := os.Readlink(fmt.Sprint("/proc/self/fd/", e.Name())); err == nil && strings.HasPrefix(name, filepath.Clean(root)+"/") {
			n++
		}
	}
	return n
}
