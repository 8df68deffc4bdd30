package archive_test

import (
	"context"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// copying is a storage of which a copy is made at the moment files have gone
// from it, as a process that is killed then would leave it.
type copying struct {
	*storagetest.Dir
	t  *testing.T
	mu sync.Mutex
	of []string
}

func (c *copying) Delete(ctx context.Context, names []string) error {
	if err := c.Dir.Delete(ctx, names); err != nil {
		return err
	}
	to := c.t.TempDir()
	if err := os.CopyFS(to, os.DirFS(c.Root)); err != nil {
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, n := range names {
		if filepath.Ext(n) == ".mp4" {
			c.of = append(c.of, to)
			break
		}
	}
	return nil
}

// TestLedgerBeforeDeletion: where the process is killed behind a deletion and
// the databases are lost with it, the ledger knows already that a rule took
// those files. Where it ends before the ledger does, nothing goes.
func TestLedgerBeforeDeletion(t *testing.T) {
	t.Parallel()
	d := newDir(t)
	d.SyncEvery = 50 * time.Millisecond
	c := &copying{Dir: d, t: t}
	data := t.TempDir()
	process := func(epoch uint64) *host {
		o := options(data, epoch, d)
		o.Spaces[0].Storage = c
		o.Signer, o.Pools[0].Sign = signerOf(1), true
		return open(t, o)
	}
	rule := func(h *host) {
		rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Second, Duration: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(rec.Close)
	}
	h := process(1)
	record(t, h, aged("gate", 1, time.Hour), "", 25*20)
	files := len(mediaFiles(t, d.Root))
	rule(h)
	resume := d.Stall() // the ledger takes its time, deletions do not
	eventually(t, "a pass that has something to delete", func() bool {
		ending, end := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer end()
		_, err := h.a.Retain(ending, nil)
		return err != nil
	})
	resume()
	h.close()
	if n := len(mediaFiles(t, d.Root)); n != files {
		t.Errorf("%d files of %d are left by a process that ended before its ledger was written", n, files)
	}
	h = process(2)
	rule(h)
	time.AfterFunc(200*time.Millisecond, d.Stall())
	eventually(t, "the rule to take them", func() bool {
		_, err := h.a.Retain(t.Context(), nil)
		return err == nil && len(mediaFiles(t, d.Root)) == 0
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.of) == 0 {
		t.Fatal("nothing was deleted")
	}
	for _, dir := range c.of {
		if out := verify(t, dir, signerOf(1).public()); len(out.Findings) != 0 || out.Gone == 0 {
			t.Errorf("killed behind the deletion: %+v", out)
		}
	}
}
