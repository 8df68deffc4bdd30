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
			cam := newCamera("gate-"+name, byte(i+1))
			cam.born = 946684800_000000000 // the bubble's clock
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
