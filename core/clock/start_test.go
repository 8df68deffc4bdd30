package clock

import (
	"testing"
	"time"

	"media-server/core/media"
)

// A camera of one picture a second whose first picture is late: the second one
// says where both belong, and is no jump.
func TestLateFirstPicture(t *testing.T) {
	m := New(Config{})
	m.Track(1, 90000)
	begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	for i := range int64(5) {
		at := begin + media.Wall(i)*media.Wall(time.Second)
		if i == 0 {
			at += media.Wall(600 * time.Millisecond)
		}
		if v := m.Observe(Observation{Track: 1, PTS: i * 90000, Received: at}); v.Kind != OK {
			t.Fatalf("picture %d: %+v", i, v)
		}
	}
	for i := range int64(5) {
		if off := m.Wall(1, i*90000).Sub(begin + media.Wall(i)*media.Wall(time.Second)); off.Abs() > time.Millisecond {
			t.Errorf("picture %d is %v off", i, off)
		}
	}
}
