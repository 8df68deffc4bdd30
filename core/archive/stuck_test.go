package archive_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// TestStuckSpace: a space that takes nothing is left after a while, when its
// pool has another, and nothing is lost or doubled when it comes back.
func TestStuckSpace(t *testing.T) {
	one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000 // the bubble's clock
		h := open(t, options(data, 1, one, two))
		rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 5 * time.Second})
		f := start(t, cam, rec, archive.GapNone)
		f.live(t, 7)
		resume := one.Stall()
		f.live(t, 25)
		if h.saw("storage.moved") == 0 {
			t.Error("nothing was moved")
		}
		resume()
		f.live(t, 5)
		f.flush()
		audit(t, h.a, cam, 0, f.next[1])
		rec.End(archive.GapNone)
		rec.Close()
		time.Sleep(2 * time.Minute) // what was given up is recovered, though nothing new comes there
		if m := h.a.Metrics(); m.Spaces[0].QueueBytes+m.Spaces[1].QueueBytes != 0 {
			t.Errorf("%+v", m)
		}
		if n := openFiles(one) + openFiles(two); n != 0 {
			t.Errorf("%d files are not complete", n)
		}
		audit(t, h.a, cam, 0, f.next[1])
		h.close()
	})
	h := open(t, options(data, 2, one, two))
	audit(t, h.a, cam, 0, 37*25)
}

// TestMovedIsNotOld: what comes from a stuck space has not waited for the one that it
// comes to, which takes data: nothing goes back into the stuck one.
func TestMovedIsNotOld(t *testing.T) {
	one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000
		h := open(t, options(data, 1, one, two))
		rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: time.Minute})
		f := start(t, cam, rec, archive.GapNone)
		f.live(t, 7)
		defer one.Stall()()
		two.BeforeAppend = func(string) { time.Sleep(100 * time.Millisecond) } // much comes at once
		f.live(t, 23)
		if h.saw("storage.moved") == 0 {
			t.Fatal("nothing was moved")
		}
		if m := h.a.Metrics(); m.Spaces[0].QueueBytes != 0 {
			t.Errorf("%d bytes wait for the stuck space", m.Spaces[0].QueueBytes)
		}
		f.flush()
		audit(t, h.a, cam, 0, f.next[1])
		h.close()
	})
}

// slowOpen is a space whose disk hangs when it is opened.
type slowOpen struct {
	*storagetest.Dir
	hangs    atomic.Bool
	diesSeal atomic.Bool // its process dies when it has sealed a file, and the disk hangs
}

func (s *slowOpen) Open(ctx context.Context, epoch, least uint64, create bool) (archive.SpaceInfo, error) {
	if s.hangs.Load() {
		<-ctx.Done()
		return archive.SpaceInfo{}, ctx.Err()
	}
	return s.Dir.Open(ctx, epoch, least, create)
}

func (s *slowOpen) Stat(ctx context.Context, name string) (archive.Entry, error) {
	if s.hangs.Load() {
		return archive.Entry{}, errors.New("the process is dead")
	}
	return s.Dir.Stat(ctx, name)
}

func (s *slowOpen) Seal(ctx context.Context, name, final string, size int64) error {
	if s.hangs.Load() {
		return errors.New("the process is dead")
	}
	err := s.Dir.Seal(ctx, name, final, size)
	if err == nil && s.diesSeal.CompareAndSwap(true, false) {
		s.hangs.Store(true)
		s.Kill()
		return errors.New("the process is dead")
	}
	return err
}

// TestStuckOpening: the process of a space dies, and the next one cannot open it, as
// the disk hangs. What waits goes elsewhere before anything is lost, and what was
// left behind is brought to order when the disk is back.
func TestStuckOpening(t *testing.T) {
	for _, c := range []struct {
		name    string
		sync    time.Duration
		seconds int           // until the disk hangs
		chunk   time.Duration // within them: the process dies when it has sealed one
	}{
		{"some of it durable", 5 * time.Second, 8, time.Minute},
		{"nothing durable", 5 * time.Second, 2, time.Minute},
		{"a seal without an answer", 5 * time.Second, 13, 10 * time.Second},
		{"a seal without an answer or sync", time.Hour, 13, 10 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
			one.SyncEvery = c.sync // what waits is partly written
			slow := &slowOpen{Dir: one}
			synctest.Test(t, func(t *testing.T) {
				cam.born = 946684800_000000000
				o := options(t.TempDir(), 1, one, two)
				o.Spaces[0].Storage = slow
				h := open(t, o)
				rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: c.chunk})
				f := start(t, cam, rec, archive.GapNone)
				slow.diesSeal.Store(c.chunk < time.Minute)
				f.live(t, c.seconds)
				switch sealed := c.chunk < time.Minute; {
				case !sealed:
					slow.hangs.Store(true)
					one.Kill()
				case !slow.hangs.Load():
					t.Fatal("nothing was sealed")
				}
				f.live(t, 20)
				if m := h.a.Metrics(); m.Spaces[0].QueueBytes != 0 || h.saw("storage.moved") == 0 {
					t.Errorf("%d bytes wait for the space that hangs", m.Spaces[0].QueueBytes)
				}
				one.Revive()
				slow.hangs.Store(false)
				f.live(t, 5)
				f.flush()
				time.Sleep(3 * time.Minute)
				audit(t, h.a, cam, 0, f.next[1])
				if n := openFiles(one); n != 0 {
					t.Errorf("%d files are not complete", n)
				}
				h.close()
				h = open(t, options(t.TempDir(), 2, one, two)) // without a catalogue
				time.Sleep(time.Minute)
				audit(t, h.a, cam, 0, f.next[1])
				h.close()
			})
		})
	}
}

// TestMovedThenKilled: the end of a complete file was written again in the space where
// its run goes on already, and the process dies before that copy is complete. The run
// goes on behind what came last, not behind the copy.
func TestMovedThenKilled(t *testing.T) {
	one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam.born = 946684800_000000000
		h := open(t, options(data, 1, one, two))
		rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: time.Minute})
		f := start(t, cam, rec, archive.GapNone)
		f.live(t, 7)
		resume := one.Stall()
		dead := make(chan struct{})
		two.BeforeSeal = func(string) { <-dead }
		f.live(t, 20)
		if h.saw("storage.moved") == 0 || openFiles(two) != 2 {
			t.Fatalf("%d files grow in the second space", openFiles(two))
		}
		one.Kill()
		two.Kill()
		resume()
		close(dead)
		h.close()
		one.Revive()
		two.Revive()
		two.BeforeSeal = nil

		h = open(t, options(data, 2, one, two))
		g := goOn(t, h, cam, f.next[1]+100)
		g.flush()
		time.Sleep(time.Second)
		audit(t, h.a, cam, 0, g.next[1])
		h.close()
	})
}

// TestGraceEnds: a recovered file whose run does not go on is sealed.
func TestGraceEnds(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		for epoch := uint64(1); epoch <= 2; epoch++ {
			h := open(t, options(data, epoch, dir))
			if epoch == 1 {
				rec, _ := h.a.Recorder("gate", archive.Rules{})
				f := start(t, cam, rec, archive.GapNone)
				if err := f.feed(200); err != nil {
					t.Fatal(err)
				}
				time.Sleep(time.Second)
				rec.Close()
			} else {
				if openFiles(dir) != 1 {
					t.Error("not open at first")
				}
				time.Sleep(3 * time.Minute)
				if openFiles(dir) != 0 {
					t.Error("still open")
				}
			}
			h.close()
		}
	})
}

// lateSeal is a space of which the answer to a seal that fails, or hangs, comes after
// everybody else was told.
type lateSeal struct {
	*storagetest.Dir
	hangs atomic.Bool
}

func (l *lateSeal) Seal(ctx context.Context, name, final string, size int64) error {
	if l.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	err := l.Dir.Seal(ctx, name, final, size)
	if err != nil {
		time.Sleep(100 * time.Millisecond)
	}
	return err
}

// TestPassedWhileSealed: what cannot be sealed in a space that fails, or hangs, is
// written elsewhere, though it is being sealed whenever that is decided.
func TestPassedWhileSealed(t *testing.T) {
	for name, fail := range map[string]func(*lateSeal){
		"fails": func(l *lateSeal) { l.FailSeals(1 << 30) },
		"hangs": func(l *lateSeal) { l.hangs.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			one, two, cam := newDir(t), newDir(t), newCamera("gate", 1)
			one.SyncEvery = time.Hour // a sync hangs, too
			late := &lateSeal{Dir: one}
			synctest.Test(t, func(t *testing.T) {
				cam.born = 946684800_000000000
				o := options(t.TempDir(), 1, one, two)
				o.Spaces[0].Storage, o.Spaces[0].Fsync = late, time.Second
				h := open(t, o)
				rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 5 * time.Second})
				f := start(t, cam, rec, archive.GapNone)
				f.live(t, 4)
				fail(late)
				f.live(t, 25)
				if m := h.a.Metrics(); m.Spaces[0].QueueBytes != 0 || h.saw("storage.moved") == 0 {
					t.Errorf("%d bytes wait for the space that %s", m.Spaces[0].QueueBytes, name)
				}
				f.flush()
				audit(t, h.a, cam, 0, f.next[1])
				h.close()
			})
		})
	}
}
