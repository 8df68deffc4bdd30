package archive

import "testing"

// TestTollOfAClockAhead: the day in which it is added up what went ends also where
// the clock was ahead when it began.
func TestTollOfAClockAhead(t *testing.T) {
	const now = 400 * tollDay
	s := newSpace(&Archive{}, Space{})
	s.look(1000, 0, now+365*tollDay)
	s.pay(false, false, 300, false)
	if s.look(700, 0, now); s.toll.took != 0 || s.toll.since != now || s.toll.used != 700 {
		t.Errorf("%+v", s.toll)
	}
}
