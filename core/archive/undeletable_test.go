package archive_test

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
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
	if st := stateOf(h); st.Stays != len(bad) || !slices.Contains(bad, st.StaysOne) || !strings.Contains(st.StaysWhy, "not permitted") {
		t.Errorf("the space says %d %q %q", st.Stays, st.StaysOne, st.StaysWhy)
	}
	d.set()
	eventually(t, "it to go when it can", func() bool {
		retain(t, h)
		return len(filesOf(t, dir.Root, "gate")) == 0 && stateOf(h).Stays == 0
	})
	h.close()
}

// fewAtOnce is a space that takes no long lists.
type fewAtOnce struct{ *storagetest.Dir }

func (f fewAtOnce) Delete(ctx context.Context, names []string) error {
	if len(names) > 3 {
		return errors.New("too many at once")
	}
	return f.Dir.Delete(ctx, names)
}

// TestDeleteInHalves: what goes in parts though not at once is gone, and nothing is
// said to have failed.
func TestDeleteInHalves(t *testing.T) {
	t.Parallel()
	dir := newDir(t)
	o := options(t.TempDir(), 1, dir)
	o.Spaces[0].Storage = fewAtOnce{dir}
	var log said
	o.Log = slog.New(slog.NewTextHandler(&log, nil))
	h := open(t, o)
	record(t, h, aged("gate", 1, time.Hour), "", 25*20)
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	rec, err := h.a.Recorder("gate", archive.Rules{Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	rec.Close()
	eventually(t, "all to go", func() bool {
		retain(t, h)
		return len(filesOf(t, dir.Root, "gate")) == 0
	})
	if strings.Contains(log.String(), "too many") {
		t.Error(log.String())
	}
	h.close()
}

// stuckFills is a space that tells how full it is and deletes nothing for a while, or
// some files never.
type stuckFills struct {
	fills
	off   atomic.Bool
	stays atomic.Pointer[[]string]
}

func (s *stuckFills) Delete(ctx context.Context, names []string) error {
	if s.off.Load() {
		return errors.New("read-only file system")
	}
	if stays := s.stays.Load(); stays != nil && slices.ContainsFunc(names, func(n string) bool { return slices.Contains(*stays, n) }) {
		return errors.New("operation not permitted")
	}
	return s.fills.Delete(ctx, names)
}

// TestDeletesFail: while a space deletes nothing, no more is marked as going than
// was asked for, by a threshold, by what waits to be recorded, or by what comes to a
// space that is held; nothing else goes when it deletes again.
func TestDeletesFail(t *testing.T) {
	const short = 1 << 20
	for _, how := range []string{"threshold", "waits", "held"} {
		t.Run(how, func(t *testing.T) {
			dir, data := newDir(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				d := &stuckFills{}
				d.Dir = dir
				o := options(data, 1, dir)
				o.Spaces[0].Storage = d
				var h *host
				var was int64
				least, most := int64(short), int64(short*5/4)
				if how == "held" {
					var cam *camera
					h, cam = heldAt(t, o, &d.fills, overwrites)
					was = sizeOf(t, dir.Root)
					d.off.Store(true)
					yard := newCamera("yard", 2)
					yard.born = cam.born.Add(30 * time.Minute)
					record(t, h, yard, "", 25*30)
					came := sizeOf(t, dir.Root) - was
					was, least, most = was+came, came*3/4, came*5/4
				} else {
					cam := inBubble("gate", 1)
					d.free.Store(fillTotal / 2)
					o.Pools = overwrites(10)
					h = open(t, o)
					record(t, h, cam, "", 25*120)
					time.Sleep(5 * time.Minute)
					was = sizeOf(t, dir.Root)
					d.off.Store(true)
				}
				switch how {
				case "threshold":
					d.free.Store(fillTotal/10 - short)
				case "waits":
					for range 10 {
						h.a.Retain(t.Context(), map[string]int64{"s0": short}) // it fails
					}
				}
				time.Sleep(10 * time.Minute)
				if n := sizeOf(t, dir.Root); n != was {
					t.Fatalf("%d of %d bytes are left though nothing can be deleted", n, was)
				}
				p, err := h.a.Preview(t.Context(), archive.Changes{})
				if err != nil || how != "held" && (p.Spaces[0].Deletes != 0 || p.Spaces[0].Held) {
					t.Errorf("the preview asks for what is going: %+v %v", p.Spaces, err)
				}
				d.off.Store(false)
				time.Sleep(5 * time.Minute)
				if gone := was - sizeOf(t, dir.Root); gone < least || gone > most {
					t.Errorf("%d of %d bytes went where %d to %d were asked for", gone, was, least, most)
				}
				h.close()
			})
		})
	}
}

// TestRoomBeyondBad: files that cannot be deleted are no room that is being made: what
// is asked for goes all the same, also where they take as much, and after a restart.
func TestRoomBeyondBad(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &stuckFills{}
		d.Dir = dir
		d.free.Store(fillTotal / 2)
		o := options(data, 1, dir)
		o.Spaces[0].Storage, o.Pools = d, overwrites(10)
		h := open(t, o)
		record(t, h, cam, "", 25*120)
		time.Sleep(5 * time.Minute)
		bad, was := mediaFiles(t, dir.Root)[:20], sizeOf(t, dir.Root)
		d.stays.Store(&bad)
		const short = 1 << 19
		for epoch := range uint64(2) {
			d.free.Store(fillTotal/10 - short)
			time.Sleep(5 * time.Minute)
			gone := was - sizeOf(t, dir.Root)
			if gone < short || gone > short*3/2 {
				t.Errorf("%d of %d bytes went, %d were asked for", gone, was, short)
			}
			was -= gone
			h.close()
			o.Epoch = epoch + 2
			h = open(t, o)
		}
		for _, n := range bad {
			if !slices.Contains(mediaFiles(t, dir.Root), n) {
				t.Errorf("%s went", n)
			}
		}
		h.close()
	})
}
