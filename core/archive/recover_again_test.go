package archive_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// TestFailOverAfterRecovery: a space fails before anything was synced there since
// a start. What an earlier process wrote there has no other copy: it stays.
func TestFailOverAfterRecovery(t *testing.T) {
	for _, sealed := range []bool{false, true} {
		one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
		data := t.TempDir()
		one.SyncEvery = time.Hour // no part header says that anything is durable
		killed(t, options(data, 1, one, two), 200, cam)
		h := open(t, options(data, 2, one, two))
		one.FailAppends(func(archive.AppendData) archive.FailReason { return archive.FailReadOnly })
		if sealed { // it is not resumed: its index waits to be written
			rec, err := h.a.Recorder(cam.name, archive.Rules{})
			if err != nil {
				t.Fatal(err)
			}
			rec.End(archive.GapDisabled)
			rec.Close()
			time.Sleep(3 * time.Second)
		} else {
			f := goOn(t, h, cam, 400)
			f.flush()
			eventually(t, "recording to go on elsewhere", func() bool { return h.saw("storage.moved") > 0 && h.a.Metrics().Spaces[0].QueueBytes == 0 })
			f.rec.End(archive.GapDisabled)
			f.rec.Close()
			eventually(t, "all stored", func() bool { return h.a.Metrics().Spaces[1].QueueBytes == 0 })
			audit(t, h.a, cam, 0, 400)
		}
		h.close()
		one.FailAppends(nil)
		one.SyncEvery = 0
		h = open(t, options(data, 3, one, two))
		eventually(t, "all sealed", func() bool { return openFiles(one) == 0 && archive.Listed(h.a, "gate") || sealed })
		to := uint64(400)
		if sealed {
			to = 200
		}
		audit(t, h.a, cam, 0, to)
		h.close()
	}
}

// TestRecoverShortRead: a backend that gives a part of what was asked for, and
// then an error, has not come to the end of the file.
func TestRecoverShortRead(t *testing.T) {
	dir, data, gate := newDir(t), t.TempDir(), newCamera("gate", 1)
	synctest.Test(t, func(t *testing.T) {
		gate.born = 946684800_000000000
		killed(t, options(data, 1, dir), 200, gate)
		dir.Descriptors = false
		bad := &badPlace{Dir: dir, uid: "gate", part: true}
		file, was := bad.growing(t)
		bad.from = int64(len(was)) / 2
		bad.to = bad.from + 512
		bad.fail.Store(1 << 40)
		h := open(t, away(data, 2, bad))
		if err := h.a.Opened(t.Context()); err != nil {
			t.Fatal(err)
		}
		h.close()
		if h.saw("archive.torn_tail") > 0 {
			t.Errorf("%+v", h.notices)
		}
		if now, err := os.ReadFile(file); err != nil || len(now) != len(was) {
			t.Errorf("%d bytes have become %d, %v", len(was), len(now), err)
		}
		h = open(t, options(data, 3, dir))
		defer h.close()
		audit(t, h.a, gate, 0, 200)
	})
}

// TestYoungerUnread: the last file of a stream cannot be read at a start. Neither
// the run nor its numbers go on behind the one before: what the last one holds
// would be there twice.
func TestYoungerUnread(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	gate := newCamera("gate", 1)
	synctest.Test(t, func(t *testing.T) {
		gate.born = 946684800_000000000
		h := open(t, options(data, 1, dir))
		rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 4 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, gate, rec, archive.GapNone)
		if err := errors.Join(f.feed(260), f.flush()); err != nil {
			t.Fatal(err)
		}
		rec.Close() // as a killed core leaves it
		time.Sleep(3 * time.Second)
		h.close()
		dir.Descriptors = false
		bad := &badPlace{Dir: dir, uid: "gate"}
		bad.growing(t)
		bad.fail.Store(1 << 40)
		h = open(t, away(data, 2, bad))
		if err := h.a.Opened(t.Context()); err != nil {
			t.Fatal(err)
		}
		if rec, err = h.a.Recorder("gate", archive.Rules{}); err != nil {
			t.Fatal(err)
		}
		if res, ok := rec.Resume(); ok {
			t.Errorf("it goes on at %+v", res.Positions)
		}
		later := newCamera("gate", 3)
		later.born = gate.born.Add(time.Minute)
		l := start(t, later, rec, archive.GapServerDown)
		if err := errors.Join(l.feed(100), l.flush()); err != nil {
			t.Fatal(err)
		}
		rec.End(archive.GapNone)
		rec.Close()
		time.Sleep(3 * time.Second)
		h.close()
		h = open(t, options(data, 3, dir))
		defer h.close()
		time.Sleep(10 * time.Second)
		segs, err := h.a.Segments("gate", all)
		if err != nil {
			t.Fatal(err)
		}
		for i, s := range segs {
			if i > 0 && (s.Number <= segs[i-1].Number || s.Span.From < segs[i-1].Span.To-20_000_000) {
				t.Errorf("segment %d %v follows %d %v", s.Number, s.Span, segs[i-1].Number, segs[i-1].Span)
			}
		}
		if n := len(segs); n < 7 {
			t.Errorf("%d segments", n)
		}
	})
}

// TestCopyAtStart: a copy of a space stands in the settings under a name of its
// own when the server is started. Nothing of either is touched.
func TestCopyAtStart(t *testing.T) {
	data, root, copied := t.TempDir(), filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "c")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	h, cam := recorded(t, data, storagetest.New(root), 1, 9)
	eventually(t, "all sealed", func() bool { return archive.Listed(h.a, "gate") })
	h.close()
	if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	n := len(mediaFiles(t, copied))
	slow := &late{storagetest.New(root), make(chan struct{})}
	o := options(data, 2, storagetest.New(root), storagetest.New(copied))
	o.Spaces[0].Storage, o.Spaces[1].Name = slow, "backup"
	o.Pools[0].Spaces = []string{"s0"}
	time.AfterFunc(300*time.Millisecond, func() { close(slow.come) })
	h = open(t, o)
	defer h.close()
	eventually(t, "the copy to be seen", func() bool {
		s := spaceState(h, "backup")
		return s.State == archive.SpaceLost && strings.Contains(s.Why, "a copy of space s0")
	})
	if err := h.a.Rebuild(t.Context(), "", nil); err != nil && !strings.Contains(err.Error(), "backup") {
		t.Error(err)
	}
	if now := len(mediaFiles(t, copied)); now != n {
		t.Errorf("%d files of %d are left of the copy", now, n)
	}
	audit(t, h.a, cam, 0, 25*9)
}

// heldSeals is a space that comes late, and where sealing takes its time.
type heldSeals struct {
	*storagetest.Dir
	come, seal chan struct{}
}

func (s *heldSeals) Open(ctx context.Context, epoch, least uint64, create bool) (archive.SpaceInfo, error) {
	return (&late{s.Dir, s.come}).Open(ctx, epoch, least, create)
}

func (s *heldSeals) Seal(ctx context.Context, name, final string, size int64) error {
	select {
	case <-s.seal:
	case <-ctx.Done():
		return ctx.Err()
	}
	return s.Dir.Seal(ctx, name, final, size)
}

// TestLateAndNotListed: the youngest file of a stream lies in a space that came
// too late for its run to go on, and is not listed yet when recording begins. The
// one before it is not taken for the last.
func TestLateAndNotListed(t *testing.T) {
	dir, data, gate := newDir(t), t.TempDir(), newCamera("gate", 1)
	synctest.Test(t, func(t *testing.T) {
		gate.born = 946684800_000000000
		h := open(t, options(data, 1, dir))
		rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 4 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		f := start(t, gate, rec, archive.GapNone)
		if err := errors.Join(f.feed(260), f.flush()); err != nil {
			t.Fatal(err)
		}
		rec.Close() // as a killed core leaves it
		time.Sleep(3 * time.Second)
		segs, err := h.a.Segments("gate", all)
		if err != nil {
			t.Fatal(err)
		}
		last := segs[len(segs)-1].Number
		h.close()
		slow := &heldSeals{dir, make(chan struct{}), make(chan struct{})}
		o := options(data, 2, dir)
		o.Spaces[0].Storage = slow
		h = open(t, o)
		if err := h.a.Opened(t.Context()); err != nil { // it has failed to be
			t.Fatal(err)
		}
		close(slow.come)
		for stateOf(h).State != archive.SpaceNormal {
			time.Sleep(time.Millisecond)
		}
		if rec, err = h.a.Recorder("gate", archive.Rules{}); err != nil {
			t.Fatal(err)
		}
		if res, ok := rec.Resume(); ok {
			t.Errorf("it goes on at %+v", res.Positions)
		}
		if n, _ := rec.NextSegment(); n <= last {
			t.Errorf("segment %d is the next, there is one %d", n, last)
		}
		rec.Close()
		close(slow.seal)
		time.Sleep(30 * time.Second)
		audit(t, h.a, gate, 0, 260)
		h.close()
	})
}
