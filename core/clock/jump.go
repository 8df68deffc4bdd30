package clock

import "time"

// startPhase is how long units may wait to be mapped (a camera of one picture
// a second included).
const startPhase = 3 * time.Second

// jump tells whether the camera's PTS left its course with this unit.
func (t *track) jump(cfg Config, first int64, o Observation, x, at int64, fresh bool) (time.Duration, bool) {
	if fresh {
		return 0, false
	}
	if t.resumed {
		return t.jumpWhileAway(cfg, x, at)
	}
	if back := t.maxX - x; back > int64(cfg.BackTolerance) {
		return time.Duration(-back), true
	}
	if !t.floor.known {
		return 0, false
	}
	a := at - x
	explained := o.NTP != 0 && t.reports.n > 0 && abs(int64(o.NTP)-x-t.reports.median) < int64(cfg.JumpTolerance)/2

	if t.n == 0 && at-first < int64(startPhase) {
		// Nothing has been mapped yet: a unit that is earlier by any amount only
		// says that those before it were late.
		return 0, false
	}

	// Forward: the PTS moved on by more than the time that passed, and now
	// claims a capture after the arrival. A burst after congestion does the
	// former in small steps and never the latter by much.
	ahead := (x - t.maxX) - (at - t.lastAt)
	if ahead > int64(cfg.JumpTolerance) && a < t.floor.value-int64(cfg.JumpTolerance) && !explained {
		return time.Duration(t.floor.value - a), true
	}

	// Stood still: late for long, and no burst made up for it.
	if a < t.floor.value+int64(lateBy) {
		t.lateAt = 0
		return 0, false
	}
	if t.lateAt == 0 {
		t.lateAt = at
	}
	if at-t.lateAt >= int64(cfg.StallTime) && !explained {
		return time.Duration(t.floor.value - a), true
	}
	return 0, false
}

// jumpWhileAway judges the first unit after a restore. Units that the stored
// state had seen may come again, so only a course that the arrivals contradict
// outright counts.
func (t *track) jumpWhileAway(cfg Config, x, at int64) (time.Duration, bool) {
	const farOff = int64(time.Minute)
	t.resumed = false
	t.maxX, t.lastAt = x, at
	off := at - x - t.floor.value
	if off < -int64(cfg.JumpTolerance) || off > farOff {
		return time.Duration(-off), true
	}
	return 0, false
}
