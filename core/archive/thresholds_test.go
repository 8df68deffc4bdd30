package archive_test

import (
	"slices"
	"testing"

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
