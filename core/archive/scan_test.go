package archive_test

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// counting counts what is asked of a storage about media files, by name.
type counting struct {
	archive.Storage
	mu    sync.Mutex
	tails map[string]int // reads behind a file's start
	heads int
	opens map[string]int
}

func (c *counting) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	c.mu.Lock()
	if off == 0 && strings.HasSuffix(name, ".mp4") {
		c.heads++
	} else {
		c.tails[name]++
	}
	c.mu.Unlock()
	return c.Storage.ReadAt(ctx, name, off, p)
}

func (c *counting) Files(ctx context.Context, names []string) []archive.Opened {
	c.mu.Lock()
	for _, n := range names {
		c.opens[n]++
	}
	c.mu.Unlock()
	return c.Storage.(archive.Opener).Files(ctx, names)
}

// TestRebuildReads: a rebuild reads the tail of each file once, and once more
// where its index is longer than others'; the heads of a few, for the
// parameters of their tracks. Through the backend and by descriptors.
func TestRebuildReads(t *testing.T) {
	root := t.TempDir()
	from := time.Now().Add(-48 * time.Hour).Truncate(time.Hour)
	newTemplate(t, 1).footage(t, root, "short", from, 3, 100)
	long := newTemplate(t, 10)
	long.footage(t, root, "long", from, 2, 20)
	const files = 3*100 + 2*20
	lens := 0
	err := filepath.WalkDir(filepath.Join(root, "long00"), func(p string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		b, err := os.ReadFile(p)
		if n, err := archive.TrailerLength(b); err == nil && n > 64<<10 {
			lens++
		}
		return err
	})
	if err != nil || lens != 20 {
		t.Fatalf("%d files with a long index: nothing would be tried, %v", lens, err)
	}
	for _, descriptors := range []bool{false, true} {
		t.Run(fmt.Sprintf("descriptors=%v", descriptors), func(t *testing.T) {
			dir := storagetest.New(root)
			dir.Descriptors = descriptors
			c := &counting{Storage: dir, tails: map[string]int{}, opens: map[string]int{}}
			o := options(t.TempDir(), 2, dir)
			o.Spaces[0].Storage = c
			var mu sync.Mutex
			said := map[string]any{}
			o.Notify = func(n archive.Notice) {
				mu.Lock()
				defer mu.Unlock()
				if n.Type == "archive.rebuild" {
					said = n.Data
				}
			}
			a, err := archive.Open(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			c.tails = map[string]int{} // of the marker
			if err := a.Rebuild(t.Context(), "", nil); err != nil {
				t.Fatal(err)
			}
			sum := c.heads
			for name, n := range c.tails {
				if sum += n; n > 2 {
					t.Errorf("%s was read %d times", name, n)
				}
			}
			reads, _ := said["reads"].(int)
			if said["files"] != files {
				t.Errorf("%v files of %d", said["files"], files)
			}
			switch {
			case !descriptors && (sum != reads || len(c.tails) != files):
				t.Errorf("%d reads of %d files by the backend's count, %d by the archive's", sum, len(c.tails), reads)
			case descriptors && (sum != 0 || len(c.opens) != files):
				t.Errorf("%d reads through the backend beside %d descriptors", sum, len(c.opens))
			}
			if reads < files || reads > files+2*20+16 { // each reader may ask for the first heads
				t.Errorf("%d reads for %d files", reads, files)
			}
			for uid, want := range map[string]int{"short00": 100, "short02": 100, "long01": 20} {
				x, err := a.Extents(uid, all)
				if err != nil || len(x) != want || x[0].Shape == nil {
					t.Errorf("%s: %d files listed, %v", uid, len(x), err)
				}
			}
		})
	}
}
