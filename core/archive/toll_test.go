package archive_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// shared is a space on a disk of 10 GB that is half full of other things. What its
// reserve misses it does not tell.
type shared struct {
	fills
	reserve      atomic.Int64
	lift, lifted atomic.Bool
}

const sharedTotal = 10 << 30

func (s *shared) Lift(on bool) { s.lift.Store(on) }

func (s *shared) Open(ctx context.Context, epoch, least uint64, create bool) (archive.SpaceInfo, error) {
	s.lifted.Store(s.lift.Load())
	return s.fills.Open(ctx, epoch, least, create)
}

func (s *shared) Usage(ctx context.Context) (archive.Usage, error) {
	u, err := s.Dir.Usage(ctx)
	reserve := s.reserve.Load()
	if s.lifted.Load() {
		reserve = archive.LiftedReserve
	}
	return archive.Usage{Total: sharedTotal, Free: max(s.free.Load()-reserve, 0), Used: u.Used}, err
}

// TestReserveHeldShared: reserve = 90% for 9% deletes nothing on a disk that is
// full of other things either, before and after a restart.
func TestReserveHeldShared(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &shared{fills: fills{Dir: dir}}
		d.free.Store(sharedTotal / 2)
		nine := archive.Limits{Reserve: archive.Threshold{Percent: 9}}
		d.reserve.Store(nine.Reserve.Of(sharedTotal))
		o := options(data, 1, dir)
		o.Spaces[0].Storage, o.Spaces[0].Limits, o.Pools = d, nine, overwrites(0)
		o.Pools[0].OverwriteFree = archive.Threshold{Bytes: 100 << 10}
		h := open(t, o)
		record(t, h, cam, "", 25*120)
		time.Sleep(5 * time.Minute)
		files := len(mediaFiles(t, dir.Root))
		ninety := archive.Limits{Reserve: archive.Threshold{Percent: 90}}
		d.reserve.Store(ninety.Reserve.Of(sharedTotal))
		if err := h.a.TuneSpace("s0", ninety, 0); err != nil {
			t.Fatal(err)
		}
		look := func(held int) {
			t.Helper()
			if n := len(mediaFiles(t, dir.Root)); n != files || len(h.a.Held()) != held {
				t.Errorf("%d of %d files are left, held %+v", n, files, h.a.Held())
			}
		}
		time.Sleep(30 * time.Minute)
		look(1)
		h.close()
		o.Epoch, o.Spaces[0].Limits = 2, ninety
		d.Lift(false)
		h = open(t, o)
		time.Sleep(30 * time.Minute)
		look(1)

		// Recording goes on, and as much goes as comes, also where nothing is to
		// be kept free above the reserve.
		d.FailAppends(func(archive.AppendData) archive.FailReason {
			if d.free.Load() < d.reserve.Load() && !d.lifted.Load() {
				return archive.FailLimit
			}
			return archive.FailUnknown
		})
		o.Pools[0].OverwriteFree = archive.Threshold{}
		if err := h.a.SetPools(o.Pools); err != nil {
			t.Fatal(err)
		}
		was := sizeOf(t, dir.Root)
		yard := newCamera("yard", 2)
		yard.born = cam.born.Add(time.Hour)
		record(t, h, yard, "", 25*30)
		time.Sleep(5 * time.Minute)
		if n := sizeOf(t, dir.Root); n < was*9/10 || n > was*11/10 || len(h.a.Held()) != 1 {
			t.Errorf("%d bytes lie there, %d before 30 s were recorded; held %+v", n, was, h.a.Held())
		}
		files = len(mediaFiles(t, dir.Root))
		d.reserve.Store(nine.Reserve.Of(sharedTotal))
		if err := h.a.TuneSpace("s0", nine, 0); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		d.FailAppends(nil)
		if look(0); d.lifted.Load() {
			t.Error("its limits stay lifted")
		}
		h.close()
	})
}

// TestHeldLittleRestart: what a setting took little by little is not taken again
// after a restart.
func TestHeldLittleRestart(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		h, o, was := littleByLittle(t, data, dir)
		for epoch := range uint64(4) {
			time.Sleep(30 * time.Minute)
			h.close()
			if epoch == 2 {
				time.Sleep(48 * time.Hour)
			}
			o.Epoch = epoch + 2
			h = open(t, o)
		}
		time.Sleep(30 * time.Minute)
		if left := sizeOf(t, dir.Root); left < was*45/100 || len(h.a.Held()) != 1 {
			t.Errorf("%d of %d bytes are left, held %+v", left, was, h.a.Held())
		}
		h.close()
	})
}

// sized is a space of so many bytes that keeps a reserve of them free.
type sized struct {
	fills
	total, reserve atomic.Int64
}

func (s *sized) Usage(ctx context.Context) (archive.Usage, error) {
	u, err := s.Dir.Usage(ctx)
	total := s.total.Load()
	return archive.Usage{Total: total, Free: max(total-s.reserve.Load()-u.Used, 0), Used: u.Used}, err
}

// TestReserveOnce: overwrite-free is kept free above the reserve, and not the
// reserve a second time; the preview says the same.
func TestReserveOnce(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &sized{fills: fills{Dir: dir}}
		d.total.Store(1 << 30)
		d.reserve.Store(2 << 20)
		o := options(data, 1, dir)
		o.Spaces[0].Storage, o.Spaces[0].Limits, o.Pools = d, archive.Limits{Reserve: archive.Threshold{Bytes: 2 << 20}}, overwrites(0)
		o.Pools[0].OverwriteFree = archive.Threshold{Bytes: 1 << 20}
		h := open(t, o)
		record(t, h, cam, "", 25*120)
		files, was := len(mediaFiles(t, dir.Root)), sizeOf(t, dir.Root)
		d.total.Store(was + 2<<20 + 3<<19) // half a megabyte above both
		time.Sleep(5 * time.Minute)
		if n := len(mediaFiles(t, dir.Root)); n != files {
			t.Errorf("%d of %d files are left", n, files)
		}
		p, err := h.a.Preview(t.Context(), archive.Changes{})
		if err != nil || p.Spaces[0].Deletes != 0 || len(p.Pools) != 1 || p.Pools[0].Usable < was || p.Pools[0].Usable > was+1<<20 {
			t.Errorf("the preview: %+v %v, of %d bytes", p, err, was)
		}
		d.total.Store(was + 2<<20 + 1<<19)
		time.Sleep(5 * time.Minute)
		if n := sizeOf(t, dir.Root); n > was-1<<19 || n < was*2/3 {
			t.Errorf("%d of %d bytes are left where half a megabyte was missing", n, was)
		}
		h.close()
	})
}

// asking is a space where something is done when it is asked how full it is.
type asking struct {
	*storagetest.Dir
	once atomic.Pointer[func()]
}

func (a *asking) Usage(ctx context.Context) (archive.Usage, error) {
	if f := a.once.Swap(nil); f != nil {
		(*f)()
	}
	return a.Dir.Usage(ctx)
}

// TestSpaceHeldLockedMeanwhile: what was to go from a held space for what came, and
// was locked before it went, has made no room: other files go for it.
func TestSpaceHeldLockedMeanwhile(t *testing.T) {
	dir, other, data := newDir(t), newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		d, last := &fills{Dir: dir}, &asking{Dir: other}
		o := options(data, 1, dir, other)
		o.Spaces[0].Storage, o.Spaces[1].Storage = d, last
		h, cam := heldAt(t, o, d, func(free float64) []archive.Pool {
			return append(overwrites(free), archive.Pool{Name: "other", Spaces: []string{"s1"}})
		})
		was := sizeOf(t, dir.Root)
		time.Sleep(10 * time.Second) // between two passes
		yard := newCamera("yard", 2)
		yard.born = cam.born.Add(30 * time.Minute)
		record(t, h, yard, "", 25*30)
		more := sizeOf(t, dir.Root)
		locked := make(chan archive.Lock, 1)
		lock := func() { // what lies in s0 is listed
			l, err := h.a.AddLock(context.Background(), archive.Lock{UID: "gate", Span: all, Reason: "r", Who: "w"})
			if err != nil {
				t.Error(err)
			}
			locked <- l
		}
		last.once.Store(&lock)
		l := <-locked
		time.Sleep(30 * time.Second)
		if n := sizeOf(t, dir.Root); n != more {
			t.Fatalf("%d of %d bytes are left, all of it locked", n, more)
		}
		if err := h.a.RemoveLock(t.Context(), "gate", l.ID, "w"); err != nil {
			t.Fatal(err)
		}
		time.Sleep(5 * time.Minute)
		if n := sizeOf(t, dir.Root); n < was*9/10 || n > was {
			t.Errorf("%d bytes lie there, %d before 30 s were recorded", n, was)
		}
		h.close()
	})
}

// counts is a space that tells how full its disk is, whatever lies there, until it
// has counted what is its own.
type counts struct {
	*storagetest.Dir
	total, other atomic.Int64
}

func (c *counts) Usage(ctx context.Context) (archive.Usage, error) {
	u, err := c.Dir.Usage(ctx)
	total := c.total.Load()
	return archive.Usage{Total: total, Free: max(total-u.Used, 0), Used: u.Used + c.other.Load()}, err
}

// TestOverwritingAfterCount: overwriting goes on unasked in a space that said at first
// that it holds more than it does.
func TestOverwritingAfterCount(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &counts{Dir: dir}
		d.total.Store(1 << 30)
		d.other.Store(100 << 20)
		o := options(data, 1, dir)
		o.Spaces[0].Storage, o.Pools = d, overwrites(0)
		o.Pools[0].OverwriteFree = archive.Threshold{Bytes: 1 << 20}
		h := open(t, o)
		record(t, h, cam, "", 25*120)
		time.Sleep(5 * time.Minute)
		d.other.Store(0) // it has counted
		was := sizeOf(t, dir.Root)
		d.total.Store(was + 1<<20)
		for i := range 12 {
			more := newCamera("yard", 2)
			more.born, more.run[1] = cam.born.Add(time.Duration(20+2*i)*time.Minute), byte(i+1)
			record(t, h, more, "", 25*30)
			time.Sleep(2 * time.Minute)
			if n := sizeOf(t, dir.Root); n > was || n < was*8/10 || h.saw("retention.held") != 0 {
				t.Fatalf("round %d: %d bytes lie there, %d before; held %d times", i, n, was, h.saw("retention.held"))
			}
		}
		h.close()
	})
}
