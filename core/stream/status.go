package stream

import (
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Status is what is known of a stream at an instant.
type Status struct {
	State     State
	Since     media.Wall
	Reason    string // why it is not active, for an operator
	Hint      string
	RetryIn   time.Duration
	Device    string
	Tracks    []media.Track
	LeftOut   []LeftOut
	BitrateIn int64 // bits a second over the last seconds
	LastFrame media.Wall
	Recording bool   // a key frame that came now would be stored
	Mode      string // off, event, continuous: what the schedule says now
	Why       string // why it is being recorded: continuous, schedule, event; "" = it is not
	Behind    bool   // storage does not keep up: the driver is buffering

	GoesOn  bool             // of the run under way something is stored: what comes next is listed in a moment
	Refused bool             // storage refused a part and has taken none since; the driver keeps what it can
	Missing archive.GapCause // why there is nothing behind the last footage; none = the state says it

	CameraOffset      time.Duration // camera's clock minus ours
	CameraOffsetKnown bool

	Driver     Stats
	Units      uint64 // taken
	Duplicates uint64 // sent again by the driver and dropped
	Lost       uint64 // sequence numbers that never came
	Waiting    uint64 // before a key frame or parameters: not stored
	Odd        uint64 // otherwise not stored (empty, malformed, too big)
	Runs       uint64
	Clock      ClockStats
	Unstored   []Unstored // tracks that arrive and cannot be stored

	behindSince media.Wall
}

// ClockStats counts what the time map had to cut.
type ClockStats struct {
	ServerSteps, CameraJumps uint64
}

// Status returns the stream's state.
func (s *Stream) Status() Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	st.BitrateIn = s.meter.rate
	st.Behind = s.behind
	st.Mode, st.Why = s.mode()
	st.Refused, st.Missing = s.behindTold, s.lost
	if r := s.cur; r != nil {
		st.CameraOffset, st.CameraOffsetKnown = r.clock.CameraOffset()
		st.Unstored = r.unstored()
		if st.GoesOn = s.handed.Run == r.id && !s.behindTold; !st.GoesOn && st.Missing == archive.GapNone {
			st.Missing = s.before
		}
	}
	return st
}

// setState notes a change of state and tells about it once.
func (s *Stream) setState(state State, reason, hint string) {
	st := &s.status
	changed := st.State != state || st.Reason != reason
	if st.State != state {
		st.Since = media.WallOf(s.dep.Now())
	}
	st.State, st.Reason, st.Hint = state, reason, hint
	if !changed {
		return
	}
	level, msg := "info", "stream "+string(state)
	switch state {
	case StateLost, StateSilent, StateRefused:
		level, msg = "warning", reason
	}
	s.notify("stream."+string(state), level, msg, map[string]any{"hint": hint})
}

func (s *Stream) notify(typ, level, msg string, data map[string]any) {
	s.dep.Notify(Notice{Type: typ, UID: s.spec.Capture.UID, Level: level, Message: msg, Data: data})
}

// meter measures the bit rate over about four seconds.
type meter struct {
	bytes int64
	at    media.Wall
	rate  int64
}

func (m *meter) add(n int) { m.bytes += int64(n) }

func (m *meter) tick(now media.Wall) {
	if m.at == 0 {
		m.at = now
		return
	}
	d := now.Sub(m.at)
	if d < 400*time.Millisecond {
		return
	}
	current := int64(float64(m.bytes*8) / d.Seconds())
	if m.rate == 0 {
		m.rate = current
	}
	w := min(d.Seconds()/4, 1)
	m.rate += int64(float64(current-m.rate) * w)
	m.bytes, m.at = 0, now
}
