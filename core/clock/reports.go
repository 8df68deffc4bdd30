package clock

import (
	"slices"
	"time"
)

// reports holds the last five distinct values of NTP − PTS of a track. The
// median shrugs off two wrong sender reports in five.
type reports struct {
	ring   [5]int64
	n      int
	at     int64 // arrival of the newest
	fresh  int64 // arrival of the last unit that carried a believed NTP
	median int64

	odd   int64 // a value more than cameraStep away: a wrong report, or the camera's clock was set
	oddAt int64 // since when; 0 = none
}

const (
	reportEvery  = int64(time.Second)
	reportDiffer = int64(50 * time.Microsecond)
	reportStale  = int64(2 * time.Minute)
	cameraStep   = int64(time.Second)
	stepConfirm  = int64(12 * time.Second) // a wrong report lasts until the next: 5 s usually, 10 s with some
)

// add takes a value and returns by how much the camera's clock was set, or 0.
func (r *reports) add(at, s int64) (stepped int64) {
	if r.n > 0 && abs(s-r.median) > cameraStep {
		again := r.oddAt != 0 && abs(s-r.odd) <= cameraStep
		switch {
		case !again:
			r.odd, r.oddAt = s, at
			return 0
		case at-r.oddAt < stepConfirm && (at-r.oddAt < reportEvery || abs(s-r.odd) < reportDiffer):
			return 0
		}
		stepped, r.n = s-r.median, 0
	}
	r.oddAt, r.fresh = 0, at
	if r.n > 0 && (at-r.at < reportEvery || abs(s-r.newest()) < reportDiffer) {
		return stepped
	}
	r.ring[r.n%len(r.ring)] = s
	r.n++
	if r.n == 2*len(r.ring) { // keep the count small but the position right
		r.n = len(r.ring)
	}
	r.at = at
	sorted := r.ring
	k := min(r.n, len(r.ring))
	slices.Sort(sorted[:k])
	r.median = sorted[k/2]
	return stepped
}

func (r *reports) newest() int64 { return r.ring[(r.n+len(r.ring)-1)%len(r.ring)] }

// usable: believed lately, and not in doubt now.
func (r *reports) usable(at int64) bool { return r.n > 0 && r.oddAt == 0 && at-r.fresh < reportStale }

func abs(v int64) int64 {
	if v < 0 {
		return -v
	}
	return v
}
