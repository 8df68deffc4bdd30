package archive_test

import (
	"context"
	"errors"
	"os"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// halfDisk is a space on a disk that another one lies on as well.
type halfDisk struct {
	*storagetest.Dir
	other *storagetest.Dir
	total *atomic.Int64
}

func (d *halfDisk) Usage(ctx context.Context) (archive.Usage, error) {
	u, err := d.Dir.Usage(ctx)
	if err != nil {
		return u, err
	}
	o, err := d.other.Usage(ctx)
	total := d.total.Load()
	return archive.Usage{Total: total, Free: max(total-u.Used-o.Used, 0), Used: u.Used}, err
}

// TestDiskOfTwoSpaces: what a disk is short of goes once, from both spaces that lie
// on it, and not from each of them.
func TestDiskOfTwoSpaces(t *testing.T) {
	one, two, data := newDir(t), newDir(t), t.TempDir()
	one.Descriptors, two.Descriptors = true, true
	synctest.Test(t, func(t *testing.T) {
		var total atomic.Int64
		total.Store(1 << 30)
		o := options(data, 1, one, two)
		o.Spaces[0].Storage, o.Spaces[1].Storage = &halfDisk{one, two, &total}, &halfDisk{two, one, &total}
		o.Pools = nil
		for i, name := range []string{"a", "b"} {
			o.Pools = append(o.Pools, archive.Pool{Name: name, Spaces: []string{o.Spaces[i].Name}, Overwrite: true, DeleteMost: 50, OverwriteFree: archive.Threshold{Bytes: 1 << 20}})
		}
		h := open(t, o)
		for i, name := range []string{"a", "b"} {
			cam := inBubble("gate-"+name, byte(i+1))
			record(t, h, cam, name, 25*120)
		}
		time.Sleep(5 * time.Minute)
		was := []int64{sizeOf(t, one.Root), sizeOf(t, two.Root)}
		const short = 1 << 20
		total.Store(was[0] + was[1] + 1<<20 - short)
		p, err := h.a.Preview(t.Context(), archive.Changes{})
		if err != nil || p.Spaces[0].Goes < short/3 || p.Spaces[0].Goes > short*2/3 || p.Spaces[1].Goes < short/3 || p.Spaces[1].Goes > short*2/3 {
			t.Errorf("the preview: %+v %v", p.Spaces, err)
		}
		time.Sleep(5 * time.Minute)
		gone := []int64{was[0] - sizeOf(t, one.Root), was[1] - sizeOf(t, two.Root)}
		if sum := gone[0] + gone[1]; sum < short || sum > short*5/4 || gone[0] < short/3 || gone[1] < short/3 {
			t.Errorf("%v bytes went, %d were missing", gone, short)
		}
		h.close()
	})
}

// TestDiskOfUnequalSpaces: what a disk is short of is not left to a space on it that
// has nothing to give: all of it is locked, it waits for a person, or it wants no room.
func TestDiskOfUnequalSpaces(t *testing.T) {
	const short = 1 << 20
	for _, how := range []string{"locked", "held", "not short"} {
		t.Run(how, func(t *testing.T) {
			one, two, data := newDir(t), newDir(t), t.TempDir()
			one.Descriptors, two.Descriptors = true, true
			synctest.Test(t, func(t *testing.T) {
				var total atomic.Int64
				total.Store(1 << 30)
				o := options(data, 1, one, two)
				o.Spaces[0].Storage, o.Spaces[1].Storage = &halfDisk{one, two, &total}, &halfDisk{two, one, &total}
				free := archive.Threshold{Bytes: 1 << 20}
				o.Pools = []archive.Pool{
					{Name: "a", Spaces: []string{"s0"}, Overwrite: true, OverwriteFree: free},
					{Name: "b", Spaces: []string{"s1"}, Overwrite: true, OverwriteFree: free},
				}
				switch how {
				case "held":
					o.Pools[1].DeleteMost = 50
				case "not short":
					o.Pools[1].OverwriteFree = archive.Threshold{}
				}
				h := open(t, o)
				for i, name := range []string{"a", "b"} {
					cam := inBubble("gate-"+name, byte(i+1))
					record(t, h, cam, name, 25*120)
				}
				time.Sleep(5 * time.Minute)
				var err error
				switch how {
				case "locked":
					_, err = h.a.AddLock(t.Context(), archive.Lock{UID: "gate-b", Span: all, Reason: "r", Who: "w"})
				case "held":
					pools := []archive.Pool{o.Pools[0], o.Pools[1]}
					pools[1].OverwriteFree = archive.Threshold{Bytes: 2 << 30}
					err = h.a.SetPools(pools)
					time.Sleep(5 * time.Minute)
				}
				if err != nil || how == "held" && len(h.a.Held()) != 1 {
					t.Fatalf("held %+v: %v", h.a.Held(), err)
				}
				was := []int64{sizeOf(t, one.Root), sizeOf(t, two.Root)}
				total.Store(was[0] + was[1] + 1<<20 - short)
				p, err := h.a.Preview(t.Context(), archive.Changes{})
				if err != nil || p.Spaces[0].Goes < short || p.Spaces[0].Goes > short*5/4 {
					t.Errorf("the preview: %+v %v", p.Spaces, err)
				}
				time.Sleep(5 * time.Minute)
				if gone := was[0] - sizeOf(t, one.Root); gone < short || gone > short*5/4 {
					t.Errorf("%d bytes went, %d were missing", gone, short)
				}
				if n := sizeOf(t, two.Root); n != was[1] {
					t.Errorf("of %d bytes of the other %d are left", was[1], n)
				}
				h.close()
			})
		})
	}
}

// quota is a space that has a part of a disk to itself, which another one lies on.
type quota struct {
	*storagetest.Dir
	total atomic.Int64
}

func (q *quota) Usage(ctx context.Context) (archive.Usage, error) {
	u, err := q.Dir.Usage(ctx)
	total := q.total.Load()
	return archive.Usage{Total: total, Free: max(total-u.Used, 0), Used: u.Used}, err
}

// TestDiskOfQuotas: where what goes from one space makes no room in the other, though
// both lie on one disk, each makes the room itself.
func TestDiskOfQuotas(t *testing.T) {
	one, two, data := newDir(t), newDir(t), t.TempDir()
	one.Descriptors, two.Descriptors = true, true
	synctest.Test(t, func(t *testing.T) {
		qs := []*quota{{Dir: one}, {Dir: two}}
		o := options(data, 1, one, two)
		o.Pools = nil
		const free, short = 4 << 20, 2 << 20
		for i, name := range []string{"a", "b"} {
			qs[i].total.Store(1 << 30)
			o.Spaces[i].Storage = qs[i]
			o.Pools = append(o.Pools, archive.Pool{Name: name, Spaces: []string{o.Spaces[i].Name}, Overwrite: true, OverwriteFree: archive.Threshold{Bytes: free}})
		}
		h := open(t, o)
		for i, name := range []string{"a", "b"} {
			cam := inBubble("gate-"+name, byte(i+1))
			record(t, h, cam, name, 25*120)
		}
		time.Sleep(5 * time.Minute)
		was := []int64{sizeOf(t, one.Root), sizeOf(t, two.Root)}
		for i := range qs {
			qs[i].total.Store(was[i] + free - short)
		}
		time.Sleep(2*time.Minute + time.Second) // two passes
		for i, d := range []*storagetest.Dir{one, two} {
			if gone := was[i] - sizeOf(t, d.Root); gone < short || gone > short*5/4 {
				t.Errorf("space %d: %d bytes went, %d were missing", i, gone, short)
			}
		}
		h.close()
	})
}

// badFile is half of a disk whose files cannot all be opened.
type badFile struct {
	halfDisk
	bad   atomic.Pointer[string] // this one fails
	hangs atomic.Bool
}

func (b *badFile) File(ctx context.Context, name string) (*os.File, error) {
	if b.hangs.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if bad := b.bad.Load(); bad != nil && *bad == name {
		return nil, errors.New("made to fail")
	}
	return b.halfDisk.File(ctx, name)
}

// TestDiskOfBadFile: which disk a space lies on is told by another file where one
// cannot be opened; a disk that hangs is waited for once.
func TestDiskOfBadFile(t *testing.T) {
	dirs, data := []*storagetest.Dir{newDir(t), newDir(t), newDir(t)}, t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		var total atomic.Int64
		total.Store(1 << 30)
		o := options(data, 1, dirs...)
		o.Pools = nil
		ds := make([]*badFile, len(dirs))
		names := []string{"a", "b", "c"}
		for i, d := range dirs {
			d.Descriptors = true
			ds[i] = &badFile{halfDisk: halfDisk{d, dirs[(i+1)%2], &total}}
			o.Spaces[i].Storage = ds[i]
			o.Pools = append(o.Pools, archive.Pool{Name: names[i], Spaces: []string{o.Spaces[i].Name}, Overwrite: true, OverwriteFree: archive.Threshold{Bytes: 1 << 20}})
		}
		o.Pools[2].OverwriteFree = archive.Threshold{}
		h := open(t, o)
		for i, name := range names {
			cam := inBubble("gate-"+name, byte(i+1))
			record(t, h, cam, name, 25*60)
		}
		time.Sleep(5 * time.Minute)
		for i := range ds {
			ds[i].hangs.Store(i > 0)
		}
		const short = 1 << 19
		total.Store(sizeOf(t, dirs[0].Root) + sizeOf(t, dirs[1].Root) + 1<<20 - short)
		began := time.Now()
		_, err := h.a.Preview(t.Context(), archive.Changes{})
		if took := time.Since(began); err != nil || took > 10*time.Second {
			t.Errorf("two spaces that hang took %s: %v", took, err)
		}
		for i, d := range dirs {
			ds[i].hangs.Store(false)
			ds[i].bad.Store(&mediaFiles(t, d.Root)[0])
		}
		p, err := h.a.Preview(t.Context(), archive.Changes{})
		if err != nil || p.Spaces[0].Goes < short/3 || p.Spaces[0].Goes > short*2/3 || p.Spaces[1].Goes < short/3 || p.Spaces[1].Goes > short*2/3 {
			t.Errorf("the preview: %+v %v", p.Spaces, err)
		}
		h.close()
	})
}
