package retain

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"media-server/core/media"
)

const now = media.Wall(1000 * int64(time.Hour))

// hourly makes files of an hour, ending ages hours before now.
func hourly(stream, space string, size int64, ages ...int) []File {
	var out []File
	for _, a := range ages {
		to := now.Add(-time.Duration(a) * time.Hour)
		out = append(out, File{ID: uint64(10000 - a), Stream: stream, Space: space, Size: size, Span: media.Span{From: to.Add(-time.Hour), To: to}})
	}
	return out
}

func ids(ds []Deletion) (out []string) {
	for _, d := range ds {
		out = append(out, fmt.Sprintf("%d %s", 10000-d.ID, d.Why))
	}
	return out
}

func TestPlan(t *testing.T) {
	lock := func(fs []File, i int) []File { fs[i].Locked = true; return fs }
	for _, c := range []struct {
		name     string
		streams  []Stream
		pressure []Pressure
		want     []string
		short    int64
		broken   []string
	}{
		{name: "no rule, nothing goes", streams: []Stream{{UID: "a", Oldest: hourly("a", "s", 1, 500, 3)}}},
		{name: "age", streams: []Stream{{UID: "a", Duration: 24 * time.Hour, Oldest: hourly("a", "s", 1, 30, 24, 23)}}, want: []string{"30 dvr-duration", "24 dvr-duration"}},
		{name: "the pool's days are shorter", streams: []Stream{{UID: "a", Duration: 48 * time.Hour, Days: 24 * time.Hour, Oldest: hourly("a", "s", 1, 30, 2)}}, want: []string{"30 days"}},
		{name: "a file half too old stays", streams: []Stream{{UID: "a", Duration: 30*time.Minute + 24*time.Hour, Oldest: hourly("a", "s", 1, 24)}}},
		{name: "locked", streams: []Stream{{UID: "a", Duration: time.Hour, Oldest: lock(hourly("a", "s", 1, 30, 29), 0)}}, want: []string{"29 dvr-duration"}},
		{name: "capacity takes the oldest", streams: []Stream{{UID: "a", Capacity: 25, Bytes: 40, Oldest: hourly("a", "s", 10, 3, 4, 2, 1)}}, want: []string{"4 dvr-capacity", "3 dvr-capacity"}},
		{name: "what age took counts for capacity", streams: []Stream{{UID: "a", Duration: 4 * time.Hour, Capacity: 30, Bytes: 40, Oldest: hourly("a", "s", 10, 4, 3, 2, 1)}}, want: []string{"4 dvr-duration"}},
		{name: "pressure", pressure: []Pressure{{Space: "s", Want: 15, Oldest: append(hourly("a", "s", 10, 3, 1), hourly("b", "s", 10, 2)...)}}, want: []string{"3 overwrite-free", "2 overwrite-free"}},
		{name: "pressure after age", streams: []Stream{{UID: "a", Duration: 3 * time.Hour, Oldest: hourly("a", "s", 10, 3)}},
			pressure: []Pressure{{Space: "s", Want: 10, Oldest: hourly("a", "s", 10, 3, 2)}}, want: []string{"3 dvr-duration"}},
		{name: "only locked ones left", pressure: []Pressure{{Space: "s", Want: 15, Oldest: lock(hourly("a", "s", 10, 3, 2), 0)}}, want: []string{"2 overwrite-free"}, short: 5},
		{name: "promise broken", streams: []Stream{{UID: "a", Keep: 5 * time.Hour}}, pressure: []Pressure{{Space: "s", Want: 15, Oldest: hourly("a", "s", 10, 6, 3)}},
			want: []string{"6 overwrite-free", "3 overwrite-free"}, broken: []string{"a"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := Plan(now, c.streams, c.pressure)
			if got := ids(r.Delete); !reflect.DeepEqual(got, c.want) {
				t.Errorf("deletes %v, want %v", got, c.want)
			}
			if r.Short["s"] != c.short || !reflect.DeepEqual(r.Broken, c.broken) {
				t.Errorf("short %v, broken %v", r.Short, r.Broken)
			}
		})
	}
}

// TestPlanProperties holds for any input: nothing locked goes, nothing goes
// twice, no file of a stream outlives a younger one that age or capacity took.
func TestPlanProperties(t *testing.T) {
	for seed := range uint64(2000) {
		rng := rand.New(rand.NewPCG(seed, 1))
		var streams []Stream
		var all []File
		for i := range 1 + rng.IntN(4) {
			s := Stream{UID: fmt.Sprint(i), Duration: time.Duration(rng.IntN(50)) * time.Hour, Capacity: int64(rng.IntN(300))}
			for j := range rng.IntN(40) {
				f := hourly(s.UID, "s", int64(1+rng.IntN(20)), j)[0]
				f.ID = uint64(i*1000 + j)
				f.Locked = rng.IntN(5) == 0
				s.Oldest = append(s.Oldest, f)
				s.Bytes += f.Size
			}
			all = append(all, s.Oldest...)
			streams = append(streams, s)
		}
		r := Plan(now, streams, []Pressure{{Space: "s", Want: int64(rng.IntN(500)), Oldest: all}})
		gone := map[uint64]bool{}
		for _, d := range r.Delete {
			if d.Locked || gone[d.ID] {
				t.Fatalf("seed %d: %+v", seed, d)
			}
			gone[d.ID] = true
		}
		for _, d := range r.Delete {
			for _, f := range all {
				if f.Stream == d.Stream && f.Span.From < d.Span.From && !f.Locked && !gone[f.ID] {
					t.Fatalf("seed %d: %d goes before the older %d", seed, d.ID, f.ID)
				}
			}
		}
	}
}

// TestPlanHoldsSpace: a threshold or limit that wants more at once than may go
// unasked gets what recording needs; ordinary overwriting is never held.
func TestPlanHoldsSpace(t *testing.T) {
	oldest := hourly("a", "s", 10, 9, 8, 7, 6, 5, 4, 3, 2, 1, 0)
	for _, c := range []struct {
		name    string
		streams []Stream
		p       Pressure
		files   int
		held    int64 // 0 = not
	}{
		{name: "overwriting", p: Pressure{Want: 5, Asked: 5, Most: 50, Bytes: 100}, files: 1},
		{name: "half", p: Pressure{Want: 50, Asked: 50, Most: 50, Bytes: 100}, files: 5},
		{name: "more than half", p: Pressure{Want: 60, Asked: 60, Most: 50, Bytes: 100}, held: 60},
		{name: "more than all", p: Pressure{Want: 900, Asked: 900, Most: 50, Bytes: 100}, held: 100},
		{name: "what recording needs goes", p: Pressure{Want: 60, Asked: 60, Most: 50, Bytes: 100, Need: 12}, files: 2, held: 60},
		{name: "confirmed", p: Pressure{Want: 60, Asked: 60, Bytes: 100}, files: 6},
		{name: "a full disk asks, not a threshold", p: Pressure{Want: 60, Most: 50, Bytes: 100}, files: 6},
		{name: "what came goes with overwriting", p: Pressure{Want: 60, Asked: 60, Most: 50, Bytes: 100, Came: 10}, files: 6},
		{name: "other rules take enough of it", streams: []Stream{{UID: "a", Duration: 8 * time.Hour, Oldest: oldest}},
			p: Pressure{Want: 60, Asked: 60, Most: 50, Bytes: 100}, files: 6},
		{name: "little by little", p: Pressure{Want: 10, Asked: 10, Most: 50, Bytes: 60, Took: 45}, held: 10},
		{name: "a little so far", p: Pressure{Want: 10, Asked: 10, Most: 50, Bytes: 80, Took: 20}, files: 1},
		{name: "all may go, the disk is fuller than that", p: Pressure{Want: 900, Asked: 900, Most: 100, Bytes: 100}, files: 10},
		{name: "more went than is left, and all may go", p: Pressure{Want: 90, Asked: 90, Most: 100, Bytes: 80, Took: 200}, files: 9},
		{name: "other rules take all that is asked for", streams: []Stream{{UID: "a", Duration: 8 * time.Hour, Oldest: oldest}},
			p: Pressure{Want: 10, Asked: 10, Most: 50, Bytes: 60, Took: 100}, files: 2},
		{name: "no footage", p: Pressure{Want: 10, Asked: 10, Most: 50}},
	} {
		t.Run(c.name, func(t *testing.T) {
			c.p.Space, c.p.By, c.p.Oldest = "s", Reserve, oldest
			if c.name == "no footage" {
				c.p.Oldest = nil
			}
			r := Plan(now, c.streams, []Pressure{c.p})
			if len(r.Delete) != c.files {
				t.Errorf("deletes %v, want %d files", ids(r.Delete), c.files)
			}
			if c.held == 0 && len(r.HeldSpaces) == 0 {
				return
			}
			if want := (HeldSpace{Space: "s", Why: Reserve, Goes: c.held, Bytes: c.p.Bytes}); len(r.HeldSpaces) != 1 || r.HeldSpaces[0] != want {
				t.Errorf("held %+v, want %+v", r.HeldSpaces, want)
			}
		})
	}
}
