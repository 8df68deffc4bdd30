package retain

import (
	"testing"
	"time"
)

func TestForecast(t *testing.T) {
	const gb = int64(1e9)
	p := []Stop{{Pool: "p"}}
	pool := PoolFacts{Name: "p", Usable: 100 * gb, Overwrite: true}
	with := func(f func(*PoolFacts)) PoolFacts { p := pool; f(&p); return p }
	a := StreamFacts{UID: "a", Stops: p, PerDay: 10 * gb}
	limited := StreamFacts{UID: "b", Stops: p, PerDay: 10 * gb, Limit: 2 * day, By: Age}
	for _, c := range []struct {
		name    string
		pool    PoolFacts
		streams []StreamFacts
		kept    []time.Duration
		by      []Why
		cut     time.Duration
		full    time.Duration
	}{
		{"one stream fills the pool", pool, []StreamFacts{a}, []time.Duration{10 * day}, []Why{SpaceFree}, 10 * day, 0},
		{"its own limit is shorter", pool, []StreamFacts{limited}, []time.Duration{2 * day}, []Why{Age}, 0, 0},
		{"the rest is shared", pool, []StreamFacts{a, limited}, []time.Duration{8 * day, 2 * day}, []Why{SpaceFree, Age}, 8 * day, 0},
		{"locks take room", with(func(p *PoolFacts) { p.Locked = 60 * gb }), []StreamFacts{a, limited}, []time.Duration{2 * day, 2 * day}, []Why{SpaceFree, Age}, 2 * day, 0},
		{"locks take all", with(func(p *PoolFacts) { p.Locked = 200 * gb }), []StreamFacts{a}, []time.Duration{0}, []Why{SpaceFree}, 0, 0},
		{"capacity", pool, []StreamFacts{{UID: "c", Stops: p, PerDay: 10 * gb, Capacity: 15 * gb}}, []time.Duration{36 * time.Hour}, []Why{Capacity}, 0, 0},
		{"nothing comes", pool, []StreamFacts{{UID: "c", Stops: p}}, []time.Duration{0}, []Why{""}, 0, 0},
		{"groomed footage takes less", pool, []StreamFacts{{UID: "c", Stops: p, PerDay: 10 * gb, GroomAfter: 5 * day, Stays: 0.1}}, []time.Duration{55 * day}, []Why{SpaceFree}, 55 * day, 0},
		{"groomed, and its own limit is shorter", pool, []StreamFacts{{UID: "c", Stops: p, PerDay: 10 * gb, GroomAfter: 5 * day, Stays: 0.1, Limit: 30 * day, By: Age}}, []time.Duration{30 * day}, []Why{Age}, 0, 0},
		{"one is groomed, the other not", pool, []StreamFacts{{UID: "c", Stops: p, PerDay: 10 * gb, GroomAfter: 2 * day, Stays: 0.5}, {UID: "d", Stops: p, PerDay: 10 * gb}}, []time.Duration{6 * day, 6 * day}, []Why{SpaceFree, SpaceFree}, 6 * day, 0},
		{"capacity of what is groomed", pool, []StreamFacts{{UID: "c", Stops: p, PerDay: 10 * gb, Capacity: 20 * gb, GroomAfter: day, Stays: 0.1}}, []time.Duration{11 * day}, []Why{Capacity}, 0, 0},
		{"may not overwrite, but grooms", with(func(p *PoolFacts) { p.Overwrite, p.Left = false, 10*gb }), []StreamFacts{{UID: "c", Stops: p, PerDay: 10 * gb, Gain: 10 * gb, GroomAfter: day, Stays: 0.1}}, []time.Duration{0}, []Why{""}, 0, 11 * day},
		{"may not overwrite", with(func(p *PoolFacts) { p.Overwrite, p.Left = false, 30*gb }), []StreamFacts{{UID: "c", Stops: p, PerDay: 10 * gb}}, []time.Duration{0}, []Why{""}, 0, 3 * day},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, pools := Forecast([]PoolFacts{c.pool}, c.streams)
			for i := range out {
				if d := out[i].Kept - c.kept[i]; d.Abs() > time.Second || out[i].By != c.by[i] {
					t.Errorf("%s is kept %v by %q, want %v by %q", out[i].UID, out[i].Kept, out[i].By, c.kept[i], c.by[i])
				}
			}
			if (pools[0].Kept-c.cut).Abs() > time.Second || (pools[0].Full-c.full).Abs() > time.Second {
				t.Errorf("pool %+v, want cut at %v, full in %v", pools[0], c.cut, c.full)
			}
		})
	}
}

// TestForecastFits: what a forecast keeps fits into the pool, whatever comes.
func TestForecastFits(t *testing.T) {
	for seed := range 500 {
		var ss []StreamFacts
		p := []Stop{{Pool: "p"}}
		for i := range 1 + seed%7 {
			s := StreamFacts{UID: string(rune('a' + i)), Stops: p, PerDay: int64(1 + (seed*7919+i*104729)%1000), By: Age}
			s.Limit = time.Duration((seed*31+i*17)%40) * day
			if (seed+i)%3 == 0 {
				s.Capacity = int64((seed*13 + i*37) % 5000)
			}
			if (seed+i)%4 == 0 {
				s.GroomAfter, s.Stays = time.Duration((seed*7+i*11)%20)*day, float64((seed+i*3)%10)/10
			}
			ss = append(ss, s)
		}
		usable := int64(seed * 100)
		out, _ := Forecast([]PoolFacts{{Name: "p", Usable: usable, Overwrite: true}}, ss)
		var sum float64
		for i, o := range out {
			if o.By == "" && ss[i].PerDay > 0 {
				sum += 1e18
			}
			sum += ss[i].need(o.Kept)
		}
		if sum > float64(usable)*1.001+float64(len(ss)) {
			t.Fatalf("seed %d: %.0f bytes are kept in %d: %+v %+v", seed, sum, usable, ss, out)
		}
	}
}

// TestForecastTiers: footage that moves on takes room where it lies at its age.
func TestForecastTiers(t *testing.T) {
	const gb = int64(1e9)
	live := PoolFacts{Name: "live", Usable: 50 * gb, Overwrite: true}
	cold := PoolFacts{Name: "cold", Usable: 200 * gb, Overwrite: true}
	path := func(after time.Duration) []Stop { return []Stop{{"live", 0}, {"cold", after}} }
	a := StreamFacts{UID: "a", Stops: path(3 * day), PerDay: 10 * gb}
	for _, c := range []struct {
		name    string
		pools   []PoolFacts
		streams []StreamFacts
		kept    []time.Duration
		by      []Why
		pool    []time.Duration
		full    []time.Duration
	}{
		{"both pools count", []PoolFacts{live, cold}, []StreamFacts{a}, []time.Duration{23 * day}, []Why{SpaceFree}, []time.Duration{0, 23 * day}, []time.Duration{0, 0}},
		{"the order of the pools does not", []PoolFacts{cold, live}, []StreamFacts{a}, []time.Duration{23 * day}, []Why{SpaceFree}, []time.Duration{23 * day, 0}, []time.Duration{0, 0}},
		{"the first is too small", []PoolFacts{live, cold}, []StreamFacts{{UID: "a", Stops: path(7 * day), PerDay: 10 * gb}}, []time.Duration{5 * day}, []Why{SpaceFree}, []time.Duration{5 * day, 0}, []time.Duration{0, 0}},
		{"its own limit comes first", []PoolFacts{live, cold}, []StreamFacts{{UID: "a", Stops: path(3 * day), PerDay: 10 * gb, Limit: 20 * day, By: Age}}, []time.Duration{20 * day}, []Why{Age}, []time.Duration{0, 0}, []time.Duration{0, 0}},
		{"another one is recorded in the second", []PoolFacts{live, cold}, []StreamFacts{a, {UID: "b", Stops: []Stop{{"cold", 0}}, PerDay: 10 * gb}},
			[]time.Duration{23 * day / 2, 23 * day / 2}, []Why{SpaceFree, SpaceFree}, []time.Duration{0, 23 * day / 2}, []time.Duration{0, 0}},
		{"groomed in the second", []PoolFacts{live, cold}, []StreamFacts{{UID: "a", Stops: path(3 * day), PerDay: 10 * gb, GroomAfter: 13 * day, Stays: 0.5}},
			[]time.Duration{33 * day}, []Why{SpaceFree}, []time.Duration{0, 33 * day}, []time.Duration{0, 0}},
		{"the second may not overwrite", []PoolFacts{live, {Name: "cold", Usable: 200 * gb, Left: 120 * gb}}, []StreamFacts{a}, []time.Duration{0}, []Why{""}, []time.Duration{0, 0}, []time.Duration{0, 12 * day}},
		{"the first may not, but footage moves on in time", []PoolFacts{{Name: "live", Usable: 50 * gb, Left: 1}, cold}, []StreamFacts{a}, []time.Duration{23 * day}, []Why{SpaceFree}, []time.Duration{0, 23 * day}, []time.Duration{0, 0}},
		{"it comes groomed", []PoolFacts{live, {Name: "cold", Usable: 200 * gb, Left: 100 * gb}}, []StreamFacts{{UID: "a", Stops: path(3 * day), PerDay: 10 * gb, GroomAfter: 2 * day, Stays: 0.5}},
			[]time.Duration{0}, []Why{""}, []time.Duration{0, 0}, []time.Duration{0, 20 * day}},
	} {
		t.Run(c.name, func(t *testing.T) {
			out, pools := Forecast(c.pools, c.streams)
			for i := range out {
				if d := out[i].Kept - c.kept[i]; d.Abs() > time.Second || out[i].By != c.by[i] {
					t.Errorf("%s is kept %v by %q, want %v by %q", out[i].UID, out[i].Kept, out[i].By, c.kept[i], c.by[i])
				}
			}
			for i := range pools {
				if (pools[i].Kept-c.pool[i]).Abs() > time.Second || (pools[i].Full-c.full[i]).Abs() > time.Second {
					t.Errorf("pool %+v, want cut at %v, full in %v", pools[i], c.pool[i], c.full[i])
				}
			}
		})
	}
}
