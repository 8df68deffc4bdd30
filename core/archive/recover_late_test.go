package archive_test

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// slowReads is a space without descriptors where reading a file of a stream takes
// its time.
type slowReads struct {
	*storagetest.Dir
	uid  string        // "" = every stream
	took time.Duration // of each read
	come chan struct{} // closed: no read takes longer any more
}

func (s *slowReads) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if strings.HasPrefix(name, "open/"+s.uid) {
		t := time.NewTimer(s.took)
		defer t.Stop()
		select {
		case <-t.C:
		case <-s.come:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return s.Dir.ReadAt(ctx, name, off, p)
}

// killed records streams and leaves their files as a killed core does.
func killed(t *testing.T, o archive.Options, units uint64, cams ...*camera) {
	t.Helper()
	h := open(t, o)
	for _, cam := range cams {
		rec, err := h.a.Recorder(cam.name, archive.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, cam, rec, archive.GapNone)
		if err := errors.Join(f.feed(units), f.flush()); err != nil {
			t.Fatal(err)
		}
		rec.Close()
	}
	time.Sleep(time.Second)
	h.close()
}

// goOn resumes a stream and feeds it up to a unit.
func goOn(t *testing.T, h *host, cam *camera, to uint64) *feeder {
	t.Helper()
	rec, err := h.a.Recorder(cam.name, archive.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	if res, ok := rec.Resume(); !ok || res.Positions.Run != cam.run {
		t.Fatalf("%s cannot go on", cam.name)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(to); err != nil {
		t.Fatal(err)
	}
	return f
}

// TestHungRecovery: one file hangs while a space is recovered at start, so that
// the space is opened later. What was found until then goes on, once.
func TestHungRecovery(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	gate, yard := newCamera("gate", 1), newCamera("yard", 2)
	synctest.Test(t, func(t *testing.T) {
		gate.born, yard.born = 946684800_000000000, 946684800_000000000 // the bubble's clock
		killed(t, options(data, 1, dir), 200, gate, yard)
		dir.Descriptors = false
		o := options(data, 2, dir)
		slow := &slowReads{Dir: dir, uid: "yard", took: time.Hour, come: make(chan struct{})}
		o.Spaces[0].Storage = slow
		h := open(t, o)
		defer h.close()
		begun := time.Now()
		if err := h.a.Opened(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begun); d > 30*time.Second {
			t.Errorf("others waited for %s", d)
		}
		f := goOn(t, h, gate, 300)
		time.Sleep(time.Second)
		close(slow.come)
		time.Sleep(10 * time.Second)
		if err := f.feed(400); err != nil {
			t.Fatal(err)
		}
		f.flush()
		f.rec.End(archive.GapDisabled)
		f.rec.Close()
		time.Sleep(30 * time.Second)
		audit(t, h.a, gate, 0, 400)
		audit(t, h.a, yard, 0, 200)
		if n := openFiles(dir); n != 0 || h.saw("archive.damaged")+h.saw("archive.set_aside") != 0 || !archive.Listed(h.a, "gate") {
			t.Errorf("%d files are left growing, %+v", n, h.notices)
		}
	})
}

// TestLongRecovery: a space whose recovery takes long and gets on is waited for:
// its runs go on.
func TestLongRecovery(t *testing.T) {
	dir, data, cam := newDir(t), t.TempDir(), newCamera("gate", 1)
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000
		killed(t, options(data, 1, dir), 500, cam)
		dir.Descriptors = false
		o := options(data, 2, dir)
		o.Spaces[0].Storage = &slowReads{Dir: dir, took: 9 * time.Second}
		h := open(t, o)
		defer h.close()
		begun := time.Now()
		if err := h.a.Opened(t.Context()); err != nil {
			t.Fatal(err)
		}
		if d := time.Since(begun); d < 25*time.Second {
			t.Fatalf("it was ended after %s, or little was tried", d)
		}
		f := goOn(t, h, cam, 600)
		f.flush()
		f.rec.End(archive.GapDisabled)
		f.rec.Close()
		time.Sleep(time.Minute)
		audit(t, h.a, cam, 0, 600)
	})
}

// TestPulledWhileResumed: the disk with a file that goes on from an earlier
// process is pulled and put back. The file goes on, once.
func TestPulledWhileResumed(t *testing.T) {
	dir, data, cam := newDir(t), t.TempDir(), newCamera("gate", 1)
	killed(t, options(data, 1, dir), 200, cam)
	h := open(t, options(data, 2, dir))
	f := goOn(t, h, cam, 250)
	eventually(t, "all to be durable", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
	away := dir.Root + ".away"
	dir.Kill()
	if err := os.Rename(dir.Root, away); err != nil {
		t.Fatal(err)
	}
	dir.Revive()
	eventually(t, "the loss to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
	if err := f.feed(300); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(away, dir.Root); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the space to be back", func() bool { return stateOf(h).State == archive.SpaceNormal })
	if err := f.feed(400); err != nil {
		t.Fatal(err)
	}
	f.flush()
	f.rec.End(archive.GapDisabled)
	f.rec.Close()
	eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") && openFiles(dir) == 0 })
	audit(t, h.a, cam, 0, 400)
	if h.saw("archive.damaged") != 0 {
		t.Errorf("%+v", h.notices)
	}
}
