package rtspsource

import (
	"time"

	"media-server/core/media"
)

// maxJump is how far timestamps may run away from arrival before they count as
// nonsense. It is above any read timeout in use, so that a stalled TCP
// connection that empties in a burst is not taken for a jump.
const maxJump = 10 * time.Second

// timeline turns a track's RTP timestamps into PTS and NTP time.
type timeline struct {
	rate int64

	started bool
	head    uint64 // packets received when the sender's first unit was complete
	first   uint32 // that unit's timestamp
	firstAt int64  // and its arrival
	raw     uint32 // timestamp of the newest packet looked at
	pts     int64  // its extended value
	at      int64  // its arrival, Mono nanoseconds

	report   bool // a sender report holds, or is on trial
	proved   bool // the sender is known to go on: its reports are believed as they are
	srNTP    uint64
	srRaw    uint32
	srWall   media.Wall
	srAt     int64  // its arrival
	srCount  uint32 // packets it knows of
	trial    trial
	shift    int64
	shiftSet bool

	Jumps uint64
}

// restart forgets the sender: the next timestamp goes on by arrival, and old
// reports no longer hold.
func (t *timeline) restart() {
	if t.started {
		t.report, t.proved, t.srNTP, t.trial = false, false, 0, trial{}
		t.raw = 0
		t.started = false
	}
}

// extend returns the PTS of ts, which arrived at mono. jumped is true
// where it had to be bridged: a new sender, or timestamps that are nonsense.
func (t *timeline) extend(ts uint32, mono int64) (pts int64, jumped bool) {
	if !t.started {
		t.started = true
		if t.at != 0 { // a new sender on this track: go on by the time that passed
			t.pts += media.TicksOf(time.Duration(mono-t.at), uint32(t.rate))
			jumped = true
		} else {
			t.pts = int64(ts)
		}
		if t.report && !t.near(ts) {
			t.report = false // it came first, and told of another time
		}
		t.first, t.firstAt, t.raw, t.at = ts, mono, ts, mono
		return t.pts, jumped
	}
	step := int64(int32(ts - t.raw))
	passed := media.TicksOf(time.Duration(mono-t.at), uint32(t.rate))
	limit := media.TicksOf(maxJump, uint32(t.rate))
	if d := step - passed; d > limit || d < -limit {
		t.Jumps++
		t.report, t.trial = false, trial{}
		t.pts += passed
		jumped = true
	} else {
		t.pts += step
	}
	t.raw, t.at = ts, mono
	return t.pts, jumped
}

// setReport takes a sender report that arrived at now, when so many of the
// sender's packets had. It answers false for one that cannot be: no time in it,
// or an RTP time far from what is received.
func (t *timeline) setReport(r senderReport, received uint64, now stamp) bool {
	if r.ntp == 0 {
		return false
	}
	if t.started {
		expected := int64(t.raw) + media.TicksOf(time.Duration(now.mono-t.at), uint32(t.rate))
		if d := int64(int32(r.rtp - uint32(expected))); d > t.minute() || d < -t.minute() {
			return false
		}
	}
	if r.ntp == t.srNTP {
		return true // UDP brought it twice, and what became of it stands
	}
	if !t.shiftSet {
		t.shift, t.shiftSet = ntpShift(r.ntp, now.wall), true
	}
	t.srNTP, t.srRaw, t.srWall, t.srAt, t.report = r.ntp, r.rtp, ntpWall(r.ntp, t.shift), now.mono, true
	t.another(r.packets, received)
	return true
}

// near tells whether ts lies within a minute of the last report.
func (t *timeline) near(ts uint32) bool {
	d := int64(int32(ts - t.srRaw))
	return d <= t.minute() && d >= -t.minute()
}

func (t *timeline) minute() int64 { return media.TicksOf(time.Minute, uint32(t.rate)) }

// ntp is the camera's time of timestamp ts, the newest one that was extended; 0
// when no report has come that is believed.
func (t *timeline) ntp(ts uint32) media.Wall {
	if t.report && !t.proved {
		t.judge(ts, t.at)
	}
	if !t.report || !t.proved {
		return 0
	}
	return t.srWall.Add(time.Duration(media.Rescale(int64(int32(ts-t.srRaw)), int64(time.Second), t.rate)))
}
