package rtspsource

import (
	"time"

	"media-server/core/media"
)

// A sender's first report may have been made before its media was let go, and is
// wrong then. GStreamer's RTSP server (1.22) fills its pipeline before it answers
// PLAY, and a report that falls due then, a second or two after the beginning,
// takes the first packet for one of the pipeline's time zero: it has been off by
// 160 ms, of a camera of one picture a second by 600 ms, and each track's by an
// amount of its own.
//
// Such a report counts no more than one unit's packets, and what comes behind it,
// or what it did not count, is much older than it. That alone proves nothing: a
// microphone's buffer, a transcoder or an encoder that is behind make old units
// too, for good. But what was held back comes in a burst, each unit less old than
// the one before, until the source has caught up. So the report is on trial until
// either shows. First is every report that no unit has come behind: several may
// fall due before the media is let go. After one that was refused the next is
// believed.
const (
	// heldLong is above what lies between capture and sending in a source without
	// large buffers: encoding, reordering, a sound card.
	heldLong = 500 * time.Millisecond

	// caughtUp is a fall of the age that is neither jitter nor reordered pictures.
	caughtUp = heldLong / 2

	// For steadyFor no unit is less old, by more than steadyBy, than the first of
	// them: then the source is as late as that. The core waits 400 ms before it
	// places the first unit (clock.Config.Settle): a microphone's buffer that it
	// learns of later takes it minutes to work off.
	steadyFor = 300 * time.Millisecond
	steadyBy  = 100 * time.Millisecond
)

// trial is what is known of the units around a first report. Ages are by the
// report, at the unit's arrival.
type trial struct {
	on     bool
	began  int64         // arrival of its first unit
	newest uint32        // greatest timestamp
	most   time.Duration // greatest age
	steady time.Duration // age from which it has not fallen by more than steadyBy
	since  int64         // arrival of that unit
}

// age is how old the unit of timestamp ts was when it arrived, by the last report.
func (t *timeline) age(ts uint32, arrived int64) time.Duration {
	return t.before(ts) + time.Duration(arrived-t.srAt)
}

// before is by how much ts lies before the last report.
func (t *timeline) before(ts uint32) time.Duration {
	return media.DurationOf(int64(int32(t.srRaw-ts)), uint32(t.rate))
}

// another takes note of a new report.
func (t *timeline) another(counts uint32, received uint64) {
	if t.trial.on {
		// Where units are so rare that the last one could not be judged, this one
		// was made while the source goes on.
		t.proved = time.Duration(t.srAt-t.trial.began) >= steadyFor
		t.trial = trial{}
	}
	t.srCount = counts
	if !t.proved && t.started && counts > 0 && uint64(counts) < received && t.countsOne() && t.age(t.first, t.firstAt) > heldLong {
		t.begin(t.first, t.firstAt) // more was under way before it: the burst may be over already
		t.judge(t.raw, t.at)
	}
}

// countsOne tells whether the report knows of no more than one unit, or does not
// count at all. Twice as much is allowed, because packets of the first unit may be
// lost; of a device that counts units instead of packets it says nothing.
func (t *timeline) countsOne() bool { return uint64(t.srCount) <= 2*t.head }

func (t *timeline) begin(ts uint32, arrived int64) {
	age := t.age(ts, arrived)
	t.trial = trial{on: true, began: arrived, newest: ts, most: age, steady: age, since: arrived}
}

// judge looks at the unit of timestamp ts while no report has been proved.
func (t *timeline) judge(ts uint32, arrived int64) {
	c := &t.trial
	if !c.on {
		if t.before(ts) > heldLong && t.countsOne() {
			t.begin(ts, arrived)
		} else {
			t.proved = true
		}
		return
	}
	if int32(ts-c.newest) <= 0 {
		return // a reordered picture is older than it is late
	}
	c.newest = ts
	age := t.age(ts, arrived)
	c.most = max(c.most, age)
	switch {
	case age <= heldLong || c.most-age > caughtUp:
		t.report, t.proved, t.trial = false, true, trial{}
	case c.steady-age > steadyBy:
		c.steady, c.since = age, arrived
	case time.Duration(arrived-c.since) >= steadyFor:
		t.proved, t.trial = true, trial{}
	}
}
