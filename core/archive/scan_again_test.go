package archive_test

import (
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// ailing is a storage that does not give some bytes.
type ailing struct {
	archive.Storage
	bad   string       // of files whose names end so
	times atomic.Int64 // so often
	dead  atomic.Bool  // and says nothing of any file
}

var errSector = errors.New("input/output error")

func (s *ailing) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if strings.HasSuffix(name, s.bad) && s.times.Add(-1) >= 0 {
		return 0, errSector
	}
	return s.Storage.ReadAt(ctx, name, off, p)
}

func (s *ailing) Stat(ctx context.Context, name string) (archive.Entry, error) {
	if s.dead.Load() {
		return archive.Entry{}, errSector
	}
	return s.Storage.Stat(ctx, name)
}

// TestRebuildOfAilingStorage: footage whose bytes do not come just now does not
// leave the catalogue, whether it is one file or the whole space.
func TestRebuildOfAilingStorage(t *testing.T) {
	root := t.TempDir()
	newTemplate(t, 1).footage(t, root, "cam", time.Now().Add(-48*time.Hour).Truncate(time.Hour), 2, 300)
	dir := storagetest.New(root)
	dir.Descriptors = false
	s := &ailing{Storage: dir, bad: ".mp4"}
	o := options(t.TempDir(), 2, dir)
	o.Spaces[0].Storage = s
	aside := 0
	o.Notify = func(n archive.Notice) {
		if n.Type == "archive.set_aside" {
			aside++
		}
	}
	a, err := archive.Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	listed := func(want int) {
		t.Helper()
		for _, uid := range []string{"cam00", "cam01"} {
			x, err := a.Extents(uid, all)
			if uid == "cam00" {
				if err != nil || len(x) != 300 {
					t.Errorf("%s: %d files listed, %v", uid, len(x), err)
				}
			} else if err != nil || len(x) != want {
				t.Errorf("%s: %d files listed, want %d, %v", uid, len(x), want, err)
			}
		}
	}
	rebuild := func(times int64, dead bool) error {
		s.times.Store(times)
		s.dead.Store(dead)
		defer func() { s.dead.Store(false); s.times.Store(0) }()
		return a.Rebuild(t.Context(), "", nil)
	}
	// Fifty reads fail, and do well the second time.
	if err := rebuild(50, false); err != nil || aside != 0 {
		t.Fatal(err, aside)
	}
	listed(300)
	// An eighth of a stream stays unreadable: it is told, and stays listed.
	s.bad = "0.mp4"
	if err := rebuild(1<<30, false); err != nil || aside < 30 || aside > 40 {
		t.Fatal(err, aside)
	}
	s.bad = ".mp4"
	listed(300)
	// Too many, or all of them: the rebuild has failed, and nothing goes.
	if err := rebuild(1<<30, false); !errors.Is(err, errSector) {
		t.Fatal(err)
	}
	listed(300)
	s.bad = "0.mp4" // few, but of a space that does not answer
	if err := rebuild(1<<30, true); !errors.Is(err, errSector) {
		t.Fatal(err)
	}
	listed(300)
	if err := rebuild(0, false); err != nil {
		t.Fatal(err)
	}
	listed(300)
}
