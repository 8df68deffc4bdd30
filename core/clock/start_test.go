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

// A track of one unit a second beside a picture, whose first unit is late: the
// start waits for its second one, so that it is placed right from the first.
func TestLateFirstOfSparseTrack(t *testing.T) {
	m := New(Config{})
	m.Track(1, 90000)
	m.Track(2, 90000)
	begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	see := func(track int, ms, late int64) {
		m.Observe(Observation{Track: track, PTS: ms * 90, Received: begin + media.Wall((ms+late)*int64(time.Millisecond))})
	}
	settled := int64(-1)
	for ms := int64(0); ms <= 2000; ms += 40 {
		see(1, ms, 0)
		switch ms {
		case 80:
			see(2, 80, 60)
		case 1080:
			see(2, 1080, 0)
		}
		if settled < 0 && m.Settled() {
			settled = ms
		}
	}
	// Not before the second one at 1080; it was earlier than the first, so others
	// are looked out for a little longer.
	if settled < 1080 || settled > 1280 {
		t.Errorf("settled at %d ms, want 1080 to 1280", settled)
	}
	if off := m.Wall(2, 80*90).Sub(begin + media.Wall(80*time.Millisecond)); off.Abs() > time.Millisecond {
		t.Errorf("the first unit is %v off", off)
	}
}

// A track whose second unit does not come does not hold up the start for long.
func TestSparseTrackAlone(t *testing.T) {
	m := New(Config{})
	m.Track(1, 90000)
	m.Track(2, 90000)
	begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	settled := int64(-1)
	for ms := int64(0); ms <= 3000 && settled < 0; ms += 40 {
		m.Observe(Observation{Track: 1, PTS: ms * 90, Received: begin + media.Wall(ms*int64(time.Millisecond))})
		if ms == 0 {
			m.Observe(Observation{Track: 2, PTS: 0, Received: begin})
		}
		if m.Settled() {
			settled = ms
		}
	}
	if settled != startAlone.Milliseconds() {
		t.Errorf("settled at %d ms, want %v", settled, startAlone)
	}
}

// A camera that paces pictures by decode time, with as many B-frames as its encoder
// likes: the one picture that is sent at once comes after the usual time. The first
// report beside the sound says that there will be one.
func TestPacedPictures(t *testing.T) {
	m := New(Config{})
	m.Track(1, 90000)
	m.Track(2, 90000)
	begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	see := func(track int, ms, at int64) {
		taken := begin + media.Wall(ms*int64(time.Millisecond))
		m.Observe(Observation{Track: track, PTS: ms * 90, NTP: taken, Received: begin + media.Wall(at*int64(time.Millisecond))})
	}
	// By decode time, 40 ms apart from 120 on; 640 is the one before three B-frames.
	pictures := []int64{0, 40, 80, 200, 120, 160, 240, 280, 320, 360, 400, 440, 480, 640, 520, 560, 600, 680, 720, 760, 800, 840}
	settled := int64(-1)
	for i, ms := range pictures {
		at := 120 + int64(i)*40
		for s := at - 40; s < at; s += 20 {
			see(2, s, s)
		}
		see(1, ms, at)
		if settled < 0 && m.Settled() {
			settled = at
			for _, ms := range pictures[:i+1] {
				m.Wall(1, ms*90)
			}
		}
	}
	if settled < 640 || settled > 1000 {
		t.Errorf("settled at %d ms", settled)
	}
	for _, ms := range pictures {
		if off := m.Wall(1, ms*90).Sub(begin + media.Wall(ms*int64(time.Millisecond))); off.Abs() > 5*time.Millisecond {
			t.Errorf("the picture of %d ms is %v off", ms, off)
		}
	}
}
