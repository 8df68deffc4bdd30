package clock

import (
	"media-server/core/media"
)

// track is one track's part of the map. x is PTS in nanoseconds from the first
// PTS seen.
type track struct {
	id        int
	timescale uint32

	based   bool
	resumed bool // restored, no unit seen since
	pts0    int64
	maxX    int64
	lastAt  int64 // arrival of the last unit, server clock
	firstAt int64 // arrival of the first one
	lateAt  int64 // since when all units are late; 0 = the last one was not

	arrivals int  // units observed by this Map
	reorders bool // its PTS goes back: B-frames

	floor   floor
	reports reports
	align   int64 // added to floor: <= 0

	knots [8]knot
	n     int   // knots made; the newest is knots[(n-1)%8]
	top   int64 // greatest x answered: what lies before it is never bent
}

// knot begins a straight piece of the map: wall + (x − at)·(1 + ppb·1e-9).
type knot struct {
	at, wall int64
	ppb      int64
}

func (k knot) wallAt(x int64) int64 {
	dx := x - k.at
	bent := min(max(dx, -int64(horizon)), int64(horizon))
	return k.wall + dx + media.Rescale(bent, abs(k.ppb), 1e9)*sign(k.ppb)
}

func sign(v int64) int64 {
	if v < 0 {
		return -1
	}
	return 1
}

func (t *track) x(pts int64) int64 {
	if !t.based {
		t.based, t.pts0 = true, pts
	}
	return int64(media.DurationOf(pts-t.pts0, t.timescale))
}

func (t *track) newest() knot { return t.knots[(t.n-1)%len(t.knots)] }

func (t *track) push(k knot) {
	t.knots[t.n%len(t.knots)] = k
	t.n++
}

// wall reads the map, and bends it towards the target when x is new ground.
func (t *track) wall(x int64) int64 {
	k := t.newest()
	if x >= k.at {
		w := k.wallAt(x)
		if x-k.at >= int64(knotEvery) && x >= t.top && t.floor.known {
			t.bend(k, x, w)
		}
		t.top = max(t.top, x)
		return w
	}
	for i := t.n - 2; i >= 0 && i >= t.n-len(t.knots); i-- {
		k = t.knots[i%len(t.knots)]
		if x >= k.at {
			break
		}
	}
	return k.wallAt(x)
}

// bend begins a new piece at (x, w) whose slope works off the error.
func (t *track) bend(last knot, x, w int64) {
	off := t.floor.value + t.align - (w - x)
	var ppb int64
	if abs(off) > slewFrom || last.ppb != 0 && abs(off) > slewUntil && off > 0 == (last.ppb > 0) {
		ppb = min(max(media.Rescale(off, 1e9, int64(horizon)), -maxSlew), maxSlew)
	}
	if ppb != last.ppb || ppb != 0 {
		t.push(knot{x, w, ppb})
	}
}
