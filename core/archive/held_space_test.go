package archive_test

import (
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// sizeOf is how many bytes of media lie in a folder.
func sizeOf(t *testing.T, root string) (n int64) {
	t.Helper()
	for _, f := range mediaFiles(t, root) {
		if fi, err := os.Stat(filepath.Join(root, f)); err == nil {
			n += fi.Size()
		}
	}
	return n
}

// overwrites is a pool of one space that is overwritten from 10 % on.
func overwrites(free float64) []archive.Pool {
	return []archive.Pool{{Name: "default", Spaces: []string{"s0"}, Overwrite: true, DeleteMost: 50,
		OverwriteFree: archive.Threshold{Percent: free}, AlarmFree: archive.Threshold{Percent: 10}}}
}

// TestSpaceHeldThreshold: overwrite-free = 90% for 9% deletes nothing but what
// makes room for what comes, until somebody confirms it.
func TestSpaceHeldThreshold(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &fills{Dir: dir}
		d.free.Store(fillTotal / 2)
		o := options(data, 1, dir)
		o.Spaces[0].Storage, o.Pools = d, overwrites(10)
		h := open(t, o)
		record(t, h, cam, "", 25*120)
		files := len(mediaFiles(t, dir.Root))
		set := func(free float64) {
			t.Helper()
			if err := h.a.SetPools(overwrites(free)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(5 * time.Minute)
		}
		look := func(left, held, told int) {
			t.Helper()
			if n := len(mediaFiles(t, dir.Root)); n != left {
				t.Errorf("%d of %d files are left, want %d", n, files, left)
			}
			if k := h.a.Held(); len(k) != held || h.saw("retention.held") != told {
				t.Errorf("held %+v, told %d times", k, h.saw("retention.held"))
			}
		}
		time.Sleep(5 * time.Minute)
		look(files, 0, 0)
		p, err := h.a.Preview(t.Context(), archive.Changes{OverwriteFree: map[string]archive.Threshold{"default": {Percent: 90}}})
		if err != nil || len(p.Spaces) != 1 || !p.Spaces[0].Held || p.Spaces[0].Deletes != files || p.Streams[0].Deletes != files || p.Spaces[0].Why != "overwrite-free" {
			t.Errorf("the preview of it: %+v %v", p, err)
		}
		p, err = h.a.Preview(t.Context(), archive.Changes{OverwriteFree: map[string]archive.Threshold{"default": {Percent: 90}}, Overwrite: map[string]bool{"default": false}})
		if err != nil || p.Spaces[0].Held || p.Spaces[0].Deletes != 0 {
			t.Errorf("the preview of it without overwriting: %+v %v", p, err)
		}
		look(files, 0, 0)
		set(90)
		look(files, 1, 1)
		if x := h.a.Held()[0]; x.Space != "s0" || x.UID != "" || x.Why != "overwrite-free" || x.Goes <= x.Bytes/2 || x.Since.IsZero() {
			t.Errorf("%+v", x)
		}
		set(10) // mended
		look(files, 0, 1)
		if h.a.ConfirmSpace("s0") {
			t.Error("something was confirmed that is not held")
		}

		// Recording goes on, and as much goes as comes.
		set(90)
		look(files, 1, 2)
		was := sizeOf(t, dir.Root)
		cam2 := newCamera("yard", 2)
		cam2.born = cam.born.Add(time.Hour)
		record(t, h, cam2, "", 25*30)
		time.Sleep(5 * time.Minute)
		if n := sizeOf(t, dir.Root); n < was*9/10 || n > was*11/10 {
			t.Errorf("%d bytes lie there, %d before 30 s were recorded", n, was)
		}
		audit(t, h.a, cam2, 0, 25*30)

		if !h.a.ConfirmSpace("s0") {
			t.Error("what is held cannot be confirmed")
		}
		time.Sleep(5 * time.Minute)
		look(0, 0, 2)
		h.close()
	})
}

// littleByLittle records two minutes into a space whose reserve is raised then, so
// that it says that nothing is free, and not what is missing: rules take a little in
// each pass. was is what it held.
func littleByLittle(t *testing.T, data string, dir *storagetest.Dir) (h *host, o archive.Options, was int64) {
	t.Helper()
	d := &clamped{fills: fills{Dir: dir}}
	d.free.Store(fillTotal / 2)
	o = options(data, 1, dir)
	o.Spaces[0].Storage, o.Pools, o.MoveEvery = d, overwrites(3), 24*time.Hour
	h = open(t, o)
	record(t, h, inBubble("gate", 1), "", 25*120)
	time.Sleep(5 * time.Minute)
	was = sizeOf(t, dir.Root)
	d.footage.Store(was)
	d.reserve.Store(fillTotal * 9 / 10)
	return h, o, was
}

// TestSpaceHeldLittle: what a setting takes little by little is held as well, as
// soon as it comes to more than may go at once.
func TestSpaceHeldLittle(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, _, was := littleByLittle(t, data, dir)
		time.Sleep(30 * time.Minute)
		left := sizeOf(t, dir.Root)
		if left < was*45/100 || len(h.a.Held()) != 1 || h.saw("retention.held") != 1 {
			t.Errorf("%d of %d bytes are left, held %+v", left, was, h.a.Held())
		}
		time.Sleep(30 * time.Minute)
		if n := sizeOf(t, dir.Root); n != left || len(h.a.Held()) != 1 {
			t.Errorf("%d of %d bytes are left later, held %+v", n, left, h.a.Held())
		}
		h.close()
	})
}

// TestSpaceHeldLimit: a size-limit with a wrong unit neither deletes everything
// nor stops the recording: it goes on in as much room as it had.
func TestSpaceHeldLimit(t *testing.T) {
	dir, cam := newDir(t), aged("gate", 1, time.Hour)
	o := options(t.TempDir(), 1, dir)
	limits := func(n int64) archive.Limits { return archive.Limits{Size: archive.Threshold{Bytes: n}} }
	o.Spaces[0].Limits, o.Pools = limits(1<<30), overwrites(10)
	dir.Limit(1 << 30)
	h := open(t, o)
	takes(t, h, "s0")
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	feed := func(seconds int) {
		t.Helper()
		for range seconds {
			if err := f.feed(f.next[1] + 25); err != nil {
				t.Fatal(err)
			}
		}
		want := cam.born.Add(time.Duration(f.next[1])*40*time.Millisecond - 4*time.Second) // but for what grows
		eventually(t, "it to be recorded", func() bool {
			n := len(mediaFiles(t, dir.Root))
			segs, err := h.a.Segments("gate", all)
			return err == nil && n > 0 && len(segs) > 0 && segs[len(segs)-1].Span.To >= want && h.a.Metrics().Spaces[0].QueueBytes == 0
		})
	}
	retain(t, h)
	feed(120)
	eventually(t, "all but the last to be sealed", func() bool { return len(mediaFiles(t, dir.Root)) >= 58 })
	was := sizeOf(t, dir.Root)
	eventually(t, "it to be listed", func() bool {
		p, err := h.a.Preview(t.Context(), archive.Changes{Streams: map[string]archive.Rules{"gate": {Duration: time.Second}}})
		return err == nil && len(p.Streams) == 1 && p.Streams[0].Deletes >= 58
	})
	retain(t, h) // all of it has come since the last pass: that excuses no lower limit
	tune := func(n int64) {
		t.Helper()
		dir.Limit(n)
		if err := h.a.TuneSpace("s0", limits(n), 0); err != nil {
			t.Fatal(err)
		}
	}
	held := func() int { retain(t, h); return len(h.a.Held()) }
	total := func(n int64) {
		t.Helper()
		eventually(t, "the space to be opened again", func() bool { retain(t, h); return h.a.SpaceStatuses()[0].Usage.Total == n })
	}
	p, err := h.a.Preview(t.Context(), archive.Changes{Limits: map[string]archive.Limits{"s0": limits(was / 10)}})
	if err != nil || len(p.Spaces) != 1 || !p.Spaces[0].Held || p.Spaces[0].Why != "size-limit" || p.Spaces[0].Free >= 0 || p.Pools[0].Usable > was/10 {
		t.Errorf("the preview of it: %+v %v", p, err)
	}
	tune(was / 10)
	for range 18 { // as much comes as there was, and half of it again
		feed(10)
		if held() != 1 || h.a.Held()[0].Why != "size-limit" {
			t.Fatalf("held %+v", h.a.Held())
		}
		eventually(t, "room to be made for what came", func() bool { retain(t, h); return sizeOf(t, dir.Root) <= was*12/10 })
		if n := sizeOf(t, dir.Root); n < was*8/10 {
			t.Fatalf("%d bytes lie there, %d before the limit was lowered", n, was)
		}
	}
	segs, err := h.a.Segments("gate", all)
	if err != nil || len(segs) == 0 || segs[0].Span.From <= cam.born {
		t.Fatalf("nothing went for what came: %v", err)
	}
	for i, s := range segs[1:] {
		if s.Span.From != segs[i].Span.To {
			t.Errorf("a hole after %v", segs[i].Span)
		}
	}
	if n := h.saw("retention.held"); n != 1 {
		t.Errorf("told %d times", n)
	}
	// A new process of the storage does not know yet how much there is.
	lies := sizeOf(t, dir.Root)
	dir.Kill()
	dir.CountAnew()
	dir.Revive()
	for range 5 {
		if held() != 1 {
			t.Fatal("it is forgotten that a person is waited for")
		}
	}
	feed(1)
	if n := sizeOf(t, dir.Root); n < lies*9/10 || h.saw("retention.held") != 1 {
		t.Errorf("of %d bytes %d are left, told %d times", lies, n, h.saw("retention.held"))
	}
	tune(1 << 30) // mended
	total(1 << 30)
	if held() != 0 {
		t.Errorf("still held: %+v", h.a.Held())
	}

	tune(was / 3) // meant so
	eventually(t, "it to be held", func() bool { return held() == 1 })
	if !h.a.ConfirmSpace("s0") {
		t.Error("what is held cannot be confirmed")
	}
	total(was / 3)
	feed(10)
	eventually(t, "it to fit", func() bool { return held() == 0 && sizeOf(t, dir.Root) <= was/3 })
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "the rest to be listed", func() bool { return archive.Listed(h.a, "gate") })
}

// clamped is a space whose reserve hides how much is missing.
type clamped struct {
	fills
	reserve atomic.Int64
	footage atomic.Int64 // while half of it was free
}

func (c *clamped) Usage(context.Context) (archive.Usage, error) {
	return archive.Usage{Total: fillTotal, Free: max(c.free.Load()-c.reserve.Load(), 0), Used: fillTotal/2 - c.free.Load() + c.footage.Load()}, nil
}

// heldAt is a space of 10 MB that is half full, whose overwrite-free is raised from
// 10 to 99 % when it holds 120 s of a stream.
func heldAt(t *testing.T, o archive.Options, d *fills, pools func(free float64) []archive.Pool) (h *host, cam *camera) {
	t.Helper()
	cam = newCamera("gate", 1)
	cam.born = 946684800_000000000 // the bubble's clock
	d.free.Store(fillTotal / 2)
	o.Pools = pools(10)
	h = open(t, o)
	record(t, h, cam, "", 25*120)
	time.Sleep(5 * time.Minute)
	if err := h.a.SetPools(pools(99)); err != nil {
		t.Fatal(err)
	}
	time.Sleep(5 * time.Minute)
	if k := h.a.Held(); len(k) != 1 || h.saw("retention.held") != 1 {
		t.Fatalf("held %+v", k)
	}
	return h, cam
}

// TestSpaceHeldOthersTake: what other rules delete in a held space, and what is
// moved from there, makes room for what comes.
func TestSpaceHeldOthersTake(t *testing.T) {
	for _, how := range []string{"capacity", "deleted", "moved"} {
		t.Run(how, func(t *testing.T) {
			dir, cold, data := newDir(t), newDir(t), t.TempDir()
			cold.NoAppend = true
			synctest.Test(t, func(t *testing.T) {
				d := &fills{Dir: dir}
				o := options(data, 1, dir, cold)
				o.Spaces[0].Storage, o.MoveEvery = d, time.Minute
				h, cam := heldAt(t, o, d, func(free float64) []archive.Pool {
					ps := overwrites(free)
					if how == "moved" {
						ps[0].ArchiveTo, ps[0].ArchiveAfter = "cold", time.Hour
						ps = append(ps, archive.Pool{Name: "cold", Spaces: []string{"s1"}})
					}
					return ps
				})
				was := sizeOf(t, dir.Root)
				switch how {
				case "capacity":
					rec, err := h.a.Recorder("gate", archive.Rules{Capacity: was * 6 / 10})
					if err != nil {
						t.Fatal(err)
					}
					rec.Close()
				case "deleted":
					if err := h.a.DeleteFootage(t.Context(), "gate"); err != nil {
						t.Fatal(err)
					}
				case "moved":
					time.Sleep(time.Hour)
				}
				time.Sleep(5 * time.Minute)
				left := sizeOf(t, dir.Root)
				if left > was*6/10 {
					t.Fatalf("%d of %d bytes are left", left, was)
				}
				yard := newCamera("yard", 2)
				yard.born = cam.born.Add(30 * time.Minute)
				if how == "moved" {
					yard.born = cam.born.Add(80 * time.Minute)
				}
				record(t, h, yard, "", 25*30)
				n := sizeOf(t, dir.Root)
				time.Sleep(5 * time.Minute)
				if now := sizeOf(t, dir.Root); now != n || n <= left || n > was {
					t.Errorf("%d bytes lie there, %d before 30 s were recorded, %d then", now, left, n)
				}
				if len(h.a.Held()) != 1 {
					t.Errorf("held %+v", h.a.Held())
				}
				h.close()
			})
		})
	}
}

// silent is a space that does not always tell how full it is.
type silent struct {
	fills
	off atomic.Bool
}

func (s *silent) Usage(ctx context.Context) (archive.Usage, error) {
	if s.off.Load() {
		return archive.Usage{}, errors.New("made to fail")
	}
	return s.fills.Usage(ctx)
}

// TestSpaceHeldNotMeasured: a held space that cannot be measured for a while stays
// held, and is not told again.
func TestSpaceHeldNotMeasured(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d := &silent{fills: fills{Dir: dir}}
		o := options(data, 1, dir)
		o.Spaces[0].Storage = d
		h, _ := heldAt(t, o, &d.fills, overwrites)
		since := h.a.Held()[0].Since
		d.off.Store(true)
		time.Sleep(5 * time.Minute)
		if k := h.a.Held(); len(k) != 1 {
			t.Errorf("not measured: held %+v", k)
		}
		d.off.Store(false)
		time.Sleep(5 * time.Minute)
		if k := h.a.Held(); len(k) != 1 || !k[0].Since.Equal(since) || h.saw("retention.held") != 1 {
			t.Errorf("held %+v, told %d times", k, h.saw("retention.held"))
		}
		h.close()
	})
}

// TestSpaceHeldLittleRoom: what is recorded into a held space goes on also where
// some room is left, but less than what waits takes.
func TestSpaceHeldLittleRoom(t *testing.T) {
	dir, cam := newDir(t), aged("gate", 1, time.Hour)
	o := options(t.TempDir(), 1, dir)
	o.Pools = overwrites(90)
	dir.Limit(1 << 30)
	h := open(t, o)
	takes(t, h, "s0")
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	record(t, h, cam, "", 25*60)
	u, err := dir.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir.Limit(u.Used + 100)
	if err := h.a.TuneSpace("s0", archive.Limits{Size: archive.Threshold{Bytes: u.Used + 100}}, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be held", func() bool { retain(t, h); return len(h.a.Held()) == 1 })
	if n := h.a.SpaceStatuses()[0].Usage.Free; n <= 0 {
		t.Fatalf("%d bytes are free", n)
	}
	yard := aged("yard", 2, time.Hour)
	record(t, h, yard, "", 25*30)
	audit(t, h.a, yard, 0, 25*30)
	if len(h.a.Held()) != 1 {
		t.Errorf("held %+v", h.a.Held())
	}
}

// strict is a space that refuses whole files that it has no room for, and of whose
// disk so much is free.
type strict struct {
	*storagetest.Dir
	free atomic.Int64
}

func (s *strict) Usage(ctx context.Context) (archive.Usage, error) {
	u, err := s.Dir.Usage(ctx)
	u.Free = min(u.Free, s.free.Load())
	return u, err
}

func (s *strict) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	if u, err := s.Usage(ctx); err != nil || size > u.Free {
		return errors.New("no room")
	}
	return s.Dir.Put(ctx, name, size, r)
}

// TestMoveIntoHeldSpace: moving goes on into a space that is held, where less room
// is left by its limits than a file takes, and nothing goes for it but what makes
// room for what comes.
func TestMoveIntoHeldSpace(t *testing.T) {
	t.Parallel()
	live, dir, old := newDir(t), newDir(t), aged("old", 1, 2*time.Hour)
	cold := &strict{Dir: dir}
	cold.free.Store(1 << 30)
	o := tiered(t.TempDir(), 1, live, dir)
	o.Spaces[1].Storage = cold
	o.Pools[1].DeleteMost, o.Pools[1].OverwriteFree = 50, archive.Threshold{Percent: 90}
	h := open(t, o)
	takes(t, h, "s1")
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	record(t, h, old, "live", 25*60)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	was := sizeOf(t, dir.Root)
	u, err := cold.Usage(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	dir.Limit(u.Used + 100)
	if err := h.a.TuneSpace("s1", archive.Limits{Size: archive.Threshold{Bytes: u.Used + 100}}, 0); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be held", func() bool { retain(t, h); return len(h.a.Held()) == 1 })
	record(t, h, aged("gate", 2, time.Hour), "live", 25*30)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	if n := sizeOf(t, dir.Root); n < was*8/10 || len(h.a.Held()) != 1 {
		t.Errorf("%d bytes lie there, %d before; held %+v", n, was, h.a.Held())
	}
	if n := h.saw("storage.move_failed"); n != 0 {
		t.Errorf("told %d times that nothing can be moved", n)
	}
}

// TestMoveUpToReserve: what a space tells to be free has its reserve taken off.
func TestMoveUpToReserve(t *testing.T) {
	t.Parallel()
	live, dir := newDir(t), newDir(t)
	cold := &strict{Dir: dir}
	cold.free.Store(100 << 20)
	o := tiered(t.TempDir(), 1, live, dir)
	o.Spaces[1].Storage, o.Spaces[1].Limits = cold, archive.Limits{Reserve: archive.Threshold{Bytes: 200 << 20}}
	o.Pools[1].Overwrite = false
	h := open(t, o)
	record(t, h, aged("gate", 1, time.Hour), "live", 25*30)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
}

// TestSpaceManyFiles: a space that is short of room by more files than one pass
// takes does not wait for the next minute, in which as many may come.
func TestSpaceManyFiles(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &many{fills: fills{Dir: dir}}
		d.free.Store(100 << 20)
		pools := func(free int64) []archive.Pool {
			return []archive.Pool{{Name: "default", Spaces: []string{"s0"}, Overwrite: true, OverwriteFree: archive.Threshold{Bytes: free}}}
		}
		o := options(data, 1, dir)
		o.Spaces[0].Storage, o.Pools = d, pools(1<<20)
		h := open(t, o)
		record(t, h, cam, "", 25*1300)
		time.Sleep(5 * time.Minute)
		if n := len(mediaFiles(t, dir.Root)); n < 600 {
			t.Fatalf("%d files", n)
		}
		time.Sleep(10 * time.Second) // between two passes
		if err := h.a.SetPools(pools(1 << 30)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if n := len(mediaFiles(t, dir.Root)); n != 0 {
			t.Errorf("%d files are left", n)
		}
		h.close()
	})
}

// many is a space of 1 GB.
type many struct{ fills }

func (m *many) Usage(context.Context) (archive.Usage, error) {
	return archive.Usage{Total: 1 << 30, Free: m.free.Load(), Used: 1<<30 - m.free.Load()}, nil
}
