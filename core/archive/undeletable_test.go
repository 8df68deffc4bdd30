package archive_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// keeps is a space that cannot delete some files, and gives up at the first of them.
type keeps struct {
	*storagetest.Dir
	mu    sync.Mutex
	stays []string
	tried int
}

func (k *keeps) Delete(ctx context.Context, names []string) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tried++
	for _, n := range names {
		if slices.Contains(k.stays, n) {
			return errors.New("operation not permitted")
		}
		if err := k.Dir.Delete(ctx, []string{n}); err != nil {
			return err
		}
	}
	return nil
}

// said is a log.
type said struct {
	mu sync.Mutex
	b  strings.Builder
}

func (s *said) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(b)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func (k *keeps) set(names ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.stays, k.tried = names, 0
}

// TestDeleteBeyondBad: a file that cannot be deleted keeps none of the others, it is
// said once which one it is, and it goes when it can.
func TestDeleteBeyondBad(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	d := &keeps{Dir: dir}
	o := options(t.TempDir(), 1, dir)
	o.Spaces[0].Storage = d
	var log said
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	h := open(t, o)
	record(t, h, aged("gate", 1, time.Hour), "", 25*20)
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	files := filesOf(t, dir.Root, "gate")
	if len(files) < 8 {
		t.Fatal(files)
	}
	bad := files[:2]
	d.set(bad...)
	rec, err := h.a.Recorder("gate", archive.Rules{Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	rec.Close()
	pass := func() {
		if _, err := h.a.Retain(t.Context(), nil); err != nil {
			log.Write([]byte(err.Error()))
		}
	}
	eventually(t, "the others to go", func() bool { pass(); return slices.Equal(filesOf(t, dir.Root, "gate"), bad) })
	d.set(bad...)
	for range 5 {
		pass()
	}
	if d.tried > 10 {
		t.Errorf("%d times in 5 passes it was tried to delete what stays", d.tried)
	}
	for _, n := range bad {
		if k := strings.Count(log.String(), n); k != 1 {
			t.Errorf("%d times it is said that %s stays: %s", k, n, log.String())
		}
	}
	if !strings.Contains(log.String(), "not permitted") {
		t.Errorf("it is not said why: %s", log.String())
	}
	d.set()
	eventually(t, "it to go when it can", func() bool {
		retain(t, h)
		return len(filesOf(t, dir.Root, "gate")) == 0
	})
	h.close()
}
