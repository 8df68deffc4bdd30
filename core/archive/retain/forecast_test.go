package retain

import (
	"testing"
	"time"
)

func TestForecast(t *testing.T) {
	const gb = int64(1e9)
	pool := PoolFacts{Name: "p", Usable: 100 * gb, Overwrite: true}
	with := func(f func(*PoolFacts)) PoolFacts { p := pool; f(&p); return p }
	a := StreamFacts{UID: "a", Pool: "p", PerDay: 10 * gb}
	limited := StreamFacts{UID: "b", Pool: "p", PerDay: 10 * gb, Limit: 2 * day, By: Age}
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
		{"capacity", pool, []StreamFacts{{UID: "c", Pool: "p", PerDay: 10 * gb, Capacity: 15 * gb}}, []time.Duration{36 * time.Hour}, []Why{Capacity}, 0, 0},
		{"nothing comes", pool, []StreamFacts{{UID: "c", Pool: "p"}}, []time.Duration{0}, []Why{""}, 0, 0},
		{"groomed footage takes less", pool, []StreamFacts{{UID: "c", Pool: "p", PerDay: 10 * gb, GroomAfter: 5 * day, Stays: 0.1}}, []time.Duration{55 * day}, []Why{SpaceFree}, 55 * day, 0},
		{"groomed, and its own limit is shorter", pool, []StreamFacts{{UID: "c", Pool: "p", PerDay: 10 * gb, GroomAfter: 5 * day, Stays: 0.1, Limit: 30 * day, By: Age}}, []time.Duration{30 * day}, []Why{Age}, 0, 0},
		{"one is groomed, the other not", pool, []StreamFacts{{UID: "c", Pool: "p", PerDay: 10 * gb, GroomAfter: 2 * day, Stays: 0.5}, {UID: "d", Pool: "p", PerDay: 10 * gb}}, []time.Duration{6 * day, 6 * day}, []Why{SpaceFree, SpaceFree}, 6 * day, 0},
		{"capacity of what is groomed", pool, []StreamFacts{{UID: "c", Pool: "p", PerDay: 10 * gb, Capacity: 20 * gb, GroomAfter: day, Stays: 0.1}}, []time.Duration{11 * day}, []Why{Capacity}, 0, 0},
		{"may not overwrite, but grooms", with(func(p *PoolFacts) { p.Overwrite = false }), []StreamFacts{{UID: "c", Pool: "p", PerDay: 10 * gb, Bytes: 90 * gb, Gain: 10 * gb, GroomAfter: day, Stays: 0.1}}, []time.Duration{0}, []Why{""}, 0, 11 * day},
		{"may not overwrite", with(func(p *PoolFacts) { p.Overwrite = false }), []StreamFacts{{UID: "c", Pool: "p", PerDay: 10 * gb, Bytes: 70 * gb}}, []time.Duration{0}, []Why{""}, 0, 3 * day},
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
		for i := range 1 + seed%7 {
			s := StreamFacts{UID: string(rune('a' + i)), Pool: "p", PerDay: int64(1 + (seed*7919+i*104729)%1000), By: Age}
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
