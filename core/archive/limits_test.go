package archive

import (
	"testing"
	"time"

	"media-server/core/archive/retain"
)

// TestLimitsIn: how full a space is by other limits than those that its storage
// goes by, and by those, without a cut at zero.
func TestLimitsIn(t *testing.T) {
	size := func(n int64) Limits { return Limits{Size: Threshold{Bytes: n}} }
	reserve := func(n int64) Limits { return Limits{Reserve: Threshold{Bytes: n}} }
	for _, c := range []struct {
		name              string
		total, free, used int64 // as told
		now, by           Limits
		wantTotal         int64
		wantFree          int64
	}{
		{"as it is", 1000, 300, 600, Limits{}, Limits{}, 1000, 300},
		{"a limit in force", 500, 100, 400, size(500), size(500), 500, 100},
		{"the disk is fuller than the limit", 500, 20, 400, size(500), size(500), 500, 20},
		{"it holds more than it may", 100, 0, 700, size(100), size(100), 100, -600},
		{"a limit tried", 1000, 300, 600, Limits{}, size(100), 100, -500},
		{"a limit lifted", 1000, 300, 600, Limits{}, size(650), 650, 50},
		{"a limit that is larger", 500, 100, 400, size(500), size(800), 800, 400},
		{"a share in force", 400, 100, 300, Limits{Size: Threshold{Percent: 40}}, Limits{Size: Threshold{Percent: 40}}, 400, 100},
		{"a share made smaller", 400, 100, 300, Limits{Size: Threshold{Percent: 40}}, Limits{Size: Threshold{Percent: 10}}, 100, -200},
		{"a reserve in force", 1000, 300, 600, reserve(50), reserve(50), 1000, 300},
		{"a reserve tried", 1000, 300, 600, reserve(50), reserve(500), 1000, -150},
		{"a reserve as a share", 1000, 300, 600, reserve(50), Limits{Reserve: Threshold{Percent: 60}}, 1000, -250},
		{"a reserve in force that hides what is missing", 1000, 0, 800, Limits{Reserve: Threshold{Percent: 90}}, Limits{Reserve: Threshold{Percent: 90}}, 1000, -700},
		{"likewise in bytes", 1000, 0, 800, reserve(900), reserve(900), 1000, -700},
		{"likewise on a disk that is not shown", 500, 0, 400, Limits{Size: Threshold{Bytes: 500}, Reserve: Threshold{Bytes: 900}}, Limits{Size: Threshold{Bytes: 500}, Reserve: Threshold{Bytes: 900}}, 500, 0},
		{"nothing told", 0, 0, 0, Limits{}, size(100), 0, 0},
	} {
		u := c.by.in(Usage{Total: c.total, Free: c.free, Used: c.used}, c.now)
		if u.Total != c.wantTotal || u.Free != c.wantFree || u.Used != c.used {
			t.Errorf("%s: %+v, want total %d, free %d", c.name, u, c.wantTotal, c.wantFree)
		}
	}
}

// TestToll: what goes for thresholds in a day is added up as far as it does not
// come again, and for as long as it is held.
func TestToll(t *testing.T) {
	s := &space{}
	now := time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC).UnixNano()
	used := int64(1000)
	full, free := false, int64(100)
	pass := func(came, went int64, held, yes bool) retain.Pressure {
		now += int64(time.Minute)
		used += came
		s.stats.written += uint64(came)
		s.look(used, free, now)
		var p retain.Pressure
		s.weigh(&p, used, free, 0, wish{})
		s.gave(went)
		s.pay(held, yes, went, full)
		used -= went
		return p
	}
	pass(10, 10, false, false)
	for range 3 * 24 * 60 {
		if p := pass(10, 10, false, false); p.Took > 10 || p.Came != 10 {
			t.Fatalf("overwriting: %+v", p)
		}
	}
	pass(0, 300, false, false)
	if p := pass(0, 0, false, false); p.Took < 290 || p.Took > 310 {
		t.Errorf("300 went: %+v", p)
	}
	for range 2 * 24 * 60 { // held: as much goes as comes
		if p := pass(10, 10, true, false); p.Took < 280 || p.Need > 20 {
			t.Fatalf("held: %+v", p)
		}
	}
	pass(0, 100, true, false) // a file at once, for ten passes
	for range 9 {
		if p := pass(10, 0, true, false); p.Need != 0 {
			t.Errorf("room that was made in advance is not counted: %+v", p)
		}
	}
	if p := pass(30, 0, true, false); p.Need == 0 {
		t.Errorf("no room for what came: %+v", p)
	}
	pass(0, 500, false, true) // confirmed
	full = true
	for range 20 { // a small space that is emptied whenever it is full
		pass(used/2, used, false, false)
		pass(900, 0, false, false)
	}
	full = false
	free = 900
	if p := pass(10, 0, false, false); p.Came != 0 {
		t.Errorf("what came is no reason for what another setting asks for: %+v", p)
	}
	if p := pass(10, 0, false, false); p.Came != 10 {
		t.Errorf("with that setting: %+v", p)
	}
	if p := pass(0, 0, false, false); p.Took != 0 {
		t.Errorf("what was confirmed is counted: %+v", p)
	}
}

// TestLimitsLifted: a disk is not filled to the last byte because its limits are
// lifted, one that never had any is as before; what is free is told by the same.
func TestLimitsLifted(t *testing.T) {
	least := Limits{Reserve: Threshold{Bytes: LiftedReserve}}
	for _, c := range []struct{ set, want Limits }{
		{Limits{}, Limits{}},
		{Limits{Size: Threshold{Bytes: 1 << 30}}, least},
		{Limits{Reserve: Threshold{Percent: 60}}, least},
		{Limits{Size: Threshold{Percent: 10}, Reserve: Threshold{Bytes: 1 << 30}}, least},
	} {
		if got := c.set.lifted(); got != c.want {
			t.Errorf("%+v lifted: %+v", c.set, got)
		}
	}
	set := Limits{Size: Threshold{Bytes: 1 << 30}}
	const disk, used, free = 10 << 30, 2 << 30, 8<<30 - LiftedReserve
	if u := set.in(Usage{Total: disk, Free: free, Used: used}, set.lifted()); u.Total != 1<<30 || u.Free != -1<<30 {
		t.Errorf("%+v", u)
	}
}
