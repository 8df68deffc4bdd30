package archive_test

import (
	"context"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// hangsDelete is a space that does not answer while it is asked to delete.
type hangsDelete struct {
	*storagetest.Dir
	hangs atomic.Bool
}

func (d *hangsDelete) Delete(ctx context.Context, names []string) error {
	if d.hangs.Load() {
		<-ctx.Done()
		return ctx.Err()
	}
	return d.Dir.Delete(ctx, names)
}

// TestRoomWithoutWaiting: a space that is full while a plan is carried out gets its
// room within seconds, whoever watches what is to go, and whatever another storage
// does; where its own does not delete, another space is taken. What waits to be
// written would be lost after half a minute.
func TestRoomWithoutWaiting(t *testing.T) {
	for name, hinder := range map[string]func(t *testing.T, h *host, own, other *hangsDelete){
		"somebody watches what goes":                func(t *testing.T, h *host, _, _ *hangsDelete) { watch(t, h, "gate") },
		"somebody watches what goes from elsewhere": func(t *testing.T, h *host, _, _ *hangsDelete) { watch(t, h, "yard") },
		"another storage hangs":                     func(_ *testing.T, _ *host, _, other *hangsDelete) { other.hangs.Store(true) },
		"its own storage hangs":                     func(_ *testing.T, _ *host, own, _ *hangsDelete) { own.hangs.Store(true) },
	} {
		t.Run(name, func(t *testing.T) {
			one, two, three, data := newDir(t), newDir(t), newDir(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				own, other := &hangsDelete{Dir: one}, &hangsDelete{Dir: two}
				o := options(data, 1, one, two, three)
				o.Spaces[0].Storage, o.Spaces[1].Storage = own, other
				o.Pools = []archive.Pool{{Name: "a", Spaces: []string{"s0", "s2"}, Overwrite: true}, {Name: "b", Spaces: []string{"s1"}, Overwrite: true}}
				three.Limit(1) // nothing goes there as long as s0 can be had
				h := open(t, o)
				gate, yard, hall := inBubble("gate", 1), inBubble("yard", 2), inBubble("hall", 3)
				record(t, h, gate, "a", 25*20)
				record(t, h, yard, "b", 25*20)
				time.Sleep(10 * time.Minute) // the locks are known
				hinder(t, h, own, other)
				for uid, pool := range map[string]string{"gate": "a", "yard": "b"} {
					rec, err := h.a.Recorder(uid, archive.Rules{Duration: time.Minute, Pool: pool})
					if err != nil {
						t.Fatal(err)
					}
					rec.Close()
				}
				hall.born = gate.born.Add(time.Hour)
				rec, err := h.a.Recorder("hall", archive.Rules{Chunk: 2 * time.Second, Pool: "a"})
				if err != nil {
					t.Fatal(err)
				}
				f := start(t, hall, rec, archive.GapNone)
				f.live(t, 2) // the rules are written
				passed, decided := make(chan error, 1), time.Now()
				go func() {
					_, err := h.a.Retain(t.Context(), nil)
					passed <- err
				}()
				f.live(t, 1)
				for _, uid := range []string{"gate", "yard"} {
					if _, ok := h.a.Bounds(uid); ok {
						t.Fatal("nothing of it was to go:", uid)
					}
				}
				one.Limit(sizeOf(t, one.Root) + 20_000)
				three.Limit(0)
				for range 60 {
					f.live(t, 1)
					if w := h.a.Metrics().Spaces[0].OldestWaiting; w > 15*time.Second {
						t.Fatalf("something has waited for %s", w)
					}
					if d := time.Since(decided); d > 20*time.Second && d < 50*time.Second && strings.HasSuffix(name, "what goes") && len(filesOf(t, one.Root, "gate")) > 0 {
						t.Fatal("who watches is waited for")
					}
				}
				if h.saw("storage.full") == 0 {
					t.Error("the space was never full")
				}
				one.Limit(0)
				f.flush()
				rec.End(archive.GapNone)
				rec.Close()
				<-passed
				own.hangs.Store(false)
				other.hangs.Store(false)
				time.Sleep(5 * time.Minute)
				auditRest(t, h.a, hall, 25*63) // its own oldest goes as well
				if x, y := len(mediaFiles(t, two.Root)), len(filesOf(t, one.Root, "gate")); x+y > 0 {
					t.Errorf("%d files that were to go are there still, and %d in the other space", y, x)
				}
				h.close()
			})
		})
	}
}

// auditRest is audit for what is left of a stream: all from its first units on.
func auditRest(t *testing.T, a *archive.Archive, cam *camera, to uint64) {
	t.Helper()
	segs, err := a.Segments(cam.name, all)
	if err != nil || len(segs) == 0 {
		t.Fatal(segs, err)
	}
	next := map[int]uint64{}
	for _, s := range segs {
		l, err := a.Layout(s.File)
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range l.Fragments[l.Segments[s.Index].First:l.Segments[s.Index].Last] {
			if _, ok := next[f.Track]; !ok {
				next[f.Track] = f.FirstSeq
			}
		}
		auditSegment(t, a, cam, s, next)
	}
	if next[1] != to || next[2] != to {
		t.Fatalf("units up to %v, want %d", next, to)
	}
}

// watch reads the oldest file of a stream for as long as the test runs.
func watch(t *testing.T, h *host, uid string) {
	t.Helper()
	segs, err := h.a.Segments(uid, all)
	if err != nil || len(segs) == 0 {
		t.Fatal(segs, err)
	}
	pin, err := h.a.Pin(segs[0].File)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(pin.Release)
}

// TestReadersHaveTheirGrace: a file whose deletion is decided is read on for a minute,
// and no longer, while other plans are made and carried out.
func TestReadersHaveTheirGrace(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h := open(t, options(data, 1, dir))
		gate, yard := inBubble("gate", 1), inBubble("yard", 2)
		record(t, h, gate, "", 25*20)
		record(t, h, yard, "", 25*20)
		time.Sleep(10*time.Minute + 10*time.Second)
		segs, err := h.a.Segments("gate", all)
		if err != nil {
			t.Fatal(err)
		}
		pin, err := h.a.Pin(segs[0].File)
		if err != nil {
			t.Fatal(err)
		}
		defer pin.Release()
		reads := func() bool {
			_, err := pin.ReadAt(make([]byte, 100), 0)
			return err == nil
		}
		rule := func(uid string) {
			t.Helper()
			rec, err := h.a.Recorder(uid, archive.Rules{Duration: time.Minute})
			if err != nil {
				t.Fatal(err)
			}
			rec.Close()
			time.Sleep(time.Second)
			retain(t, h)
		}
		files := len(filesOf(t, dir.Root, "gate"))
		rule("gate")
		decided := time.Now()
		if n := len(filesOf(t, dir.Root, "gate")); n != 1 || !reads() || files < 9 {
			t.Errorf("%d of %d files are left, and the one that is read can be: %v", n, files, reads())
		}
		rule("yard")
		if n := len(filesOf(t, dir.Root, "yard")); n != 0 || time.Since(decided) > 2*time.Second {
			t.Errorf("%d files of the next plan are left, %s later", n, time.Since(decided))
		}
		time.Sleep(50 * time.Second)
		retain(t, h)
		if n := len(filesOf(t, dir.Root, "gate")); n != 1 || !reads() {
			t.Errorf("%d files are left after 50 s, and can be read: %v", n, reads())
		}
		time.Sleep(15 * time.Second)
		if n := len(filesOf(t, dir.Root, "gate")); n != 0 || reads() {
			t.Errorf("%d files are left after 65 s, and can be read: %v", n, reads())
		}
		if m := h.a.Metrics(); m.Deleted != int64(2*files) {
			t.Errorf("%d files were deleted, want %d", m.Deleted, 2*files)
		}
		h.close()
	})
}

// TestCapacityWhileRead: what is to go for a stream's capacity counts as gone while
// somebody reads it, and while its space does not delete it: no more goes for that.
func TestCapacityWhileRead(t *testing.T) {
	for name, reads := range map[string]bool{"somebody reads": true, "it is not deleted": false} {
		t.Run(name, func(t *testing.T) {
			dir, data := newDir(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				d := &noDeletes{Dir: dir}
				o := options(data, 1, dir)
				o.Spaces[0].Storage = d
				h := open(t, o)
				record(t, h, inBubble("gate", 1), "", 25*20)
				time.Sleep(10*time.Minute + 10*time.Second)
				if reads {
					watch(t, h, "gate")
				}
				d.off.Store(!reads)
				files, size := len(filesOf(t, dir.Root, "gate")), sizeOf(t, dir.Root)
				rec, err := h.a.Recorder("gate", archive.Rules{Capacity: size - 1}) // the oldest is too much
				if err != nil {
					t.Fatal(err)
				}
				rec.Close()
				time.Sleep(time.Second)
				var listed int
				for i := range 5 {
					if _, err := h.a.Retain(t.Context(), nil); err != nil && reads {
						t.Errorf("pass %d: %v", i+1, err)
					}
					if segs, err := h.a.Segments("gate", all); err != nil || i > 0 && len(segs) != listed {
						t.Errorf("%d segments are listed behind pass %d, %d before: %v", len(segs), i+1, listed, err)
					} else {
						listed = len(segs)
					}
					want := files
					if reads && i > 2 { // the grace is a minute
						want--
					}
					if n := len(filesOf(t, dir.Root, "gate")); n != want {
						t.Errorf("%d of %d files are left behind pass %d, want %d", n, files, i+1, want)
					}
					time.Sleep(25 * time.Second)
				}
				d.off.Store(false)
				time.Sleep(5 * time.Minute)
				if n := len(filesOf(t, dir.Root, "gate")); n != files-1 {
					t.Errorf("%d of %d files are left in the end", n, files)
				}
				h.close()
			})
		})
	}
}
