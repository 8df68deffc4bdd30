package archive_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// sore is a space without descriptors that does not give what some files hold.
type sore struct {
	*storagetest.Dir
	mu  sync.Mutex
	bad map[string]bool
}

func (s *sore) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	s.mu.Lock()
	bad := s.bad[name]
	s.mu.Unlock()
	if bad {
		return 0, syscall.EIO
	}
	return s.Dir.ReadAt(ctx, name, off, p)
}

// TestGroomUnreadable: a file that a bad sector lies in stays as it is, one that
// somebody took is reported, and all others are groomed once.
func TestGroomUnreadable(t *testing.T) {
	t.Parallel()
	d, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	h := open(t, groomOptions(data, 1, 0, d))
	const to = 25 * 20
	record(t, h, cam, "", to)
	files := mediaFiles(t, d.Root)
	h.close()
	d.Descriptors = false
	bad, taken := files[2], files[5]
	if err := os.Remove(filepath.Join(d.Root, taken)); err != nil {
		t.Fatal(err)
	}
	s := &sore{Dir: d, bad: map[string]bool{bad: true}}
	o := groomOptions(data, 2, time.Hour, d)
	o.Spaces[0].Storage, o.MoveEvery = s, 300*time.Millisecond // longer than intents take to go
	h = open(t, o)
	eventually(t, "the others to be groomed", func() bool {
		st := h.a.Groomings()[0]
		return st.Files == int64(len(files)-2) && st.State == "idle"
	})
	eventually(t, "the originals to go", func() bool { return len(mediaFiles(t, d.Root)) == len(files)-1 })
	if _, err := os.Stat(filepath.Join(d.Root, bad)); err != nil {
		t.Error("what cannot be read was not left alone:", err)
	}
	eventually(t, "the hole to have its cause", func() bool {
		_, gaps, err := h.a.Ranges("gate", all)
		return err == nil && len(gaps) == 1 && gaps[0].Why == archive.GapDeleted
	})
	eventually(t, "it to be told", func() bool { return h.saw("archive.groom_failed") > 0 }) // when it has failed twice
	if st := h.a.Groomings()[0]; st.Failures != 1 || st.Damaged != 0 || h.saw("archive.groom_failed") != 1 {
		t.Errorf("%+v, told %d times", st, h.saw("archive.groom_failed"))
	}
}

// filling is a space that takes some files and then no more.
type filling struct {
	*storagetest.Dir
	good atomic.Int32
}

func (f *filling) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	if f.good.Add(-1) < 0 {
		return syscall.ENOSPC
	}
	return f.Dir.Put(ctx, name, size, r)
}

// TestGroomSpaceFails: what was made of some files takes their place, though
// the space fails at the next one.
func TestGroomSpaceFails(t *testing.T) {
	t.Parallel()
	d, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	h := open(t, groomOptions(data, 1, 0, d))
	record(t, h, cam, "", 25*20)
	h.close()
	o := groomOptions(data, 2, time.Hour, d)
	b := &filling{Dir: d}
	b.good.Store(3)
	o.Spaces[0].Storage = b
	h = open(t, o)
	eventually(t, "three of them to be groomed", func() bool { return groomedFiles(h.a) == 3 && h.a.Groomings()[0].State == "failing" })
}
