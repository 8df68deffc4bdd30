package archive_test

import (
	"context"
	"errors"
	"io"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

type stopHere struct{}

// slowAsked is a space that takes no file before it may, and that keeps those
// waiting for its usage who carry a stopHere.
type slowAsked struct {
	*storagetest.Dir
	puts, usage *stop
}

func (s *slowAsked) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	s.puts.wait()
	return s.Dir.Put(ctx, name, size, r)
}

func (s *slowAsked) Usage(ctx context.Context) (archive.Usage, error) {
	if ctx.Value(stopHere{}) != nil {
		s.usage.wait()
	}
	return s.Dir.Usage(ctx)
}

// TestRetainMovedMeanwhile: files that a full space is to lose are moved to
// another one before that is written down. There they stay.
func TestRetainMovedMeanwhile(t *testing.T) {
	t.Parallel()
	live, dir, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	o := tiered(t.TempDir(), 1, live, dir)
	cold := &slowAsked{Dir: dir}
	o.Spaces[1].Storage = cold
	cold.puts, cold.usage = newStop(t), newStop(t)
	cold.puts.armed.Store(true)
	cold.usage.armed.Store(true)
	h := open(t, o)
	t.Cleanup(cold.puts.free)
	t.Cleanup(cold.usage.free)
	record(t, h, cam, "live", 25*20)
	<-cold.puts.entered
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	files := mediaFiles(t, live.Root)
	done := make(chan error, 1)
	go func() { // what is in s0 is listed first, then s1 is asked
		_, err := h.a.Retain(context.WithValue(context.Background(), stopHere{}, true), map[string]int64{"s0": 1 << 30})
		done <- err
	}()
	<-cold.usage.entered
	cold.puts.free()
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	cold.usage.free()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if got := mediaFiles(t, dir.Root); !slices.Equal(got, files) {
		t.Errorf("the other space holds %v, want %v", got, files)
	}
	audit(t, h.a, cam, 0, 25*20)
}

// noDeletes is a space that deletes nothing for a while.
type noDeletes struct {
	*storagetest.Dir
	off   atomic.Bool
	tried atomic.Int32
}

func (n *noDeletes) Delete(ctx context.Context, names []string) error {
	n.tried.Add(1)
	if n.off.Load() {
		return errors.New("made to fail")
	}
	return n.Dir.Delete(ctx, names)
}

// TestRetainTriesAgain: what a space failed to delete goes as soon as it can,
// in the same process or, where the space comes late, in the next.
func TestRetainTriesAgain(t *testing.T) {
	t.Parallel()
	for name, restart := range map[string]bool{"same process": false, "next process": true} {
		t.Run(name, func(t *testing.T) {
			data, dir := t.TempDir(), newDir(t)
			d := &noDeletes{Dir: dir}
			d.off.Store(true)
			opts := func(epoch uint64) archive.Options {
				o := options(data, epoch, dir)
				o.Spaces[0].Storage = d
				return o
			}
			h := open(t, opts(1))
			record(t, h, aged("gate", 1, time.Hour), "", 25*10)
			record(t, h, newCamera("yard", 2), "", 25*3)
			kept := len(filesOf(t, dir.Root, "yard"))
			eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
			rec, err := h.a.Recorder("gate", archive.Rules{Duration: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			rec.Close()
			eventually(t, "a deletion to be tried", func() bool {
				h.a.Retain(t.Context(), nil) // it fails, or its rule is not yet known
				return d.tried.Load() > 0
			})
			if segs, err := h.a.Segments("gate", all); err != nil || len(segs) != 0 {
				t.Fatalf("%d segments are listed still: %v", len(segs), err)
			}
			if restart {
				h.close()
				dir.Kill()
				h = open(t, opts(2))
				if err := h.a.Opened(t.Context()); err != nil {
					t.Fatal(err)
				}
				d.off.Store(false)
				dir.Revive()
				takes(t, h, "s0")
			}
			d.off.Store(false)
			eventually(t, "the files to go", func() bool {
				retain(t, h)
				return len(filesOf(t, dir.Root, "gate")) == 0
			})
			if got := len(filesOf(t, dir.Root, "yard")); got != kept {
				t.Errorf("%d files of another stream are left of %d", got, kept)
			}
			h.close()
		})
	}
}
