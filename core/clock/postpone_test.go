package clock

import (
	"testing"
	"time"

	"media-server/core/media"
)

// TestPostpone: behind a step that is postponed the map goes on by the clock as it
// was, minutes long and through a restart; each step is told once, in the times that
// the clock showed.
func TestPostpone(t *testing.T) {
	for _, by := range []time.Duration{time.Hour, -time.Hour, -3 * time.Second} {
		m := New(Config{})
		m.Track(1, 90000)
		var told []Verdict
		feed := func(from, to int64, ahead time.Duration) {
			for i := from; i < to; i++ {
				at := media.Wall(epoch + i*40*ms)
				v := m.Observe(Observation{Track: 1, PTS: i * 3600, Received: at.Add(ahead), Mono: i*40*ms + 1})
				if v.Kind == Step {
					told = append(told, v)
					m.Postpone()
				}
				if off := m.Wall(1, i*3600).Sub(at); off.Abs() > time.Millisecond {
					t.Fatalf("set by %v: unit %d is off by %v", by, i, off)
				}
			}
		}
		feed(0, 500, 0)
		feed(500, 3000, by)
		feed(3000, 5000, 2*by)
		if len(told) != 2 {
			t.Fatalf("%d steps", len(told))
		}
		for n, v := range told {
			if d := v.After.Sub(v.Before) - by; d.Abs() > time.Millisecond {
				t.Errorf("step %d is told as %v", n, v.After.Sub(v.Before))
			}
		}
		if want := media.Wall(epoch + 3001*40*ms).Add(2 * by); told[1].After != want {
			t.Errorf("the clock showed %v, not %v", want, told[1].After)
		}
		m = roundTrip(t, m)
		told = nil
		feed(5000, 6000, 2*by)
		if len(told) != 1 || (told[0].After.Sub(told[0].Before)-2*by).Abs() > time.Millisecond {
			t.Errorf("behind a restart: %+v", told)
		}
	}
}
