package archive_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// raised lists what was told about the thresholds of a space: "+name" and
// "-name".
func raised(h *host, space string) (out []string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, n := range h.notices {
		name, ok := n.Data["threshold"].(string)
		if !ok || n.Data["space"] != space {
			continue
		}
		sign := "-"
		if n.Data["raised"] == true {
			sign = "+"
		}
		out = append(out, sign+name)
	}
	return out
}

// TestThresholds: each threshold raises its event once, and clears it once, one
// percent above.
func TestThresholds(t *testing.T) {
	const gb = 1 << 30
	o := options(t.TempDir(), 1)
	o.Pools = nil
	disks := map[string]*measured{}
	for _, name := range []string{"rolls", "stops"} {
		m := &measured{Dir: storagetest.New(t.TempDir())}
		m.total.Store(100 * gb)
		m.free.Store(50 * gb)
		disks[name] = m
		o.Spaces = append(o.Spaces, archive.Space{Name: name, Storage: m, Create: true})
		p := pool(name, name)
		p.Overwrite = name == "rolls"
		p.OverwriteFree, p.AlarmFree = archive.Threshold{Percent: 10}, archive.Threshold{Percent: 20}
		o.Pools = append(o.Pools, p)
	}
	h := open(t, o)
	takes(t, h, "rolls")
	takes(t, h, "stops")
	eventually(t, "retention to begin", func() bool { return !h.a.RetentionWaits() })
	step := func(free int64, rolls, stops []string) {
		t.Helper()
		for _, m := range disks {
			m.free.Store(free)
		}
		for range 3 { // looking again tells nothing again
			archive.Look(h.a)
		}
		if got := raised(h, "rolls"); !slices.Equal(got, rolls) {
			t.Errorf("%d GB free: rolls told %v, want %v", free/gb, got, rolls)
		}
		if got := raised(h, "stops"); !slices.Equal(got, stops) {
			t.Errorf("%d GB free: stops told %v, want %v", free/gb, got, stops)
		}
	}
	// What may overwrite raises its alarm after five minutes only.
	step(30*gb, nil, nil)
	step(15*gb, nil, []string{"+alarm-free"})
	step(20*gb+gb/2, nil, []string{"+alarm-free"}) // not one percent above yet
	step(9*gb, []string{"+overwrite-free"}, []string{"+alarm-free"})
	step(10*gb, []string{"+overwrite-free"}, []string{"+alarm-free"})
	step(0, []string{"+overwrite-free", "+reserve"}, []string{"+alarm-free", "+reserve"})
	step(gb/2, []string{"+overwrite-free", "+reserve"}, []string{"+alarm-free", "+reserve"})
	step(2*gb, []string{"+overwrite-free", "+reserve", "-reserve"}, []string{"+alarm-free", "+reserve", "-reserve"})
	step(50*gb, []string{"+overwrite-free", "+reserve", "-reserve", "-overwrite-free"}, []string{"+alarm-free", "+reserve", "-reserve", "-alarm-free"})
}

// fills is a space of 10 MB that the test fills, and that deleting makes room in.
type fills struct {
	*storagetest.Dir
	free atomic.Int64
}

const fillTotal = 10 << 20

func (f *fills) Usage(context.Context) (archive.Usage, error) {
	return archive.Usage{Total: fillTotal, Free: max(f.free.Load(), 0), Used: fillTotal - f.free.Load()}, nil
}

func (f *fills) Delete(ctx context.Context, names []string) error {
	for _, n := range names {
		if fi, err := os.Stat(filepath.Join(f.Root, n)); err == nil {
			f.free.Add(fi.Size())
		}
	}
	return f.Dir.Delete(ctx, names)
}

// TestLow: with both thresholds at 10 %, a recorder that is full and overwrites
// raises no alarm; one where overwriting does not help does, and it is over when
// there has been room for five minutes.
func TestLow(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &fills{Dir: dir}
		d.free.Store(fillTotal / 2)
		o := options(data, 1, dir)
		o.Spaces[0].Storage = d
		tenth := archive.Threshold{Percent: 10}
		o.Pools = []archive.Pool{{Name: "default", Spaces: []string{"s0"}, Overwrite: true, OverwriteFree: tenth, AlarmFree: tenth, DeleteMost: 50}}
		h := open(t, o)
		record(t, h, cam, "", 25*120)
		files := mediaFiles(t, dir.Root)
		fi, err := os.Stat(filepath.Join(dir.Root, files[len(files)/2]))
		if err != nil || len(files) < 50 {
			t.Fatal(len(files), err)
		}
		minutes := func(n int, fill int64) {
			for range n {
				d.free.Add(-fill)
				time.Sleep(time.Minute)
			}
		}
		time.Sleep(30 * time.Second) // passes come in between
		state := func() archive.SpaceStatus { return h.a.SpaceStatuses()[0] }
		d.free.Store(fillTotal/10 + fi.Size()/2)
		minutes(20, fi.Size()) // about a file each minute: one goes for one that comes
		if h.saw("storage.low") != 0 || !state().Low.IsZero() {
			t.Errorf("an alarm of a recorder that overwrites: %v", raised(h, "s0"))
		}
		if gone := len(files) - len(mediaFiles(t, dir.Root)); gone < 15 || h.saw("storage.overwriting") != 1 {
			t.Errorf("%d files were overwritten, told %v", gone, raised(h, "s0"))
		}

		// Something else takes the disk, a moment only, then for good.
		d.free.Store(-1 << 30)
		minutes(3, 0)
		d.free.Store(fillTotal/10 + 1)
		minutes(2, 0)
		if h.saw("storage.low") != 0 {
			t.Errorf("an alarm within five minutes: %v", raised(h, "s0"))
		}
		d.free.Store(-1 << 30)
		minutes(4, 0)
		if h.saw("storage.low") != 0 {
			t.Errorf("the minutes of before were counted in: %v", raised(h, "s0"))
		}
		minutes(4, 0)
		if s := state(); h.saw("storage.low") != 1 || s.Low.IsZero() || s.AlarmFree != fillTotal/10 {
			t.Errorf("no alarm, or several: %v, %+v", raised(h, "s0"), s)
		}
		d.free.Store(fillTotal/10 + 1) // above it, by less than one percent
		minutes(3, 0)
		if state().Low.IsZero() {
			t.Error("over at once")
		}
		minutes(4, 0)
		if h.saw("storage.ok") != 1 || !state().Low.IsZero() {
			t.Errorf("not over: %v", raised(h, "s0"))
		}
		d.free.Store(-1 << 30)
		minutes(8, 0)
		if h.saw("storage.low") != 2 {
			t.Errorf("the next shortage was told %d times: %v", h.saw("storage.low")-1, raised(h, "s0"))
		}
		h.close()
	})
}
