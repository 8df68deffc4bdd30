package archive_test

import (
	"context"
	"io"
	"slices"
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
