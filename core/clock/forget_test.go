package clock

import (
	"testing"
	"time"

	"media-server/core/media"
)

// A camera with a key frame every 30 s whose encoder is 110 ms late for its
// first pictures: the first picture that is stored, and sound beside it, are
// where they belong. Without Forget they would be 96 ms off then.
func TestForgetWhileWaiting(t *testing.T) {
	for _, forget := range []bool{true, false} {
		m := New(Config{})
		m.Track(1, 90000)
		m.Track(2, 48000)
		begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
		var video, audio time.Duration
		for ms := int64(0); ms <= 28000; ms += 40 {
			late := int64(0)
			if ms < 4000 {
				late = 110
			}
			m.Observe(Observation{Track: 1, PTS: ms * 90, Received: begin + media.Wall((ms+late)*int64(time.Millisecond))})
			m.Observe(Observation{Track: 2, PTS: ms * 48, Received: begin + media.Wall(ms*int64(time.Millisecond))})
			if !m.Settled() {
				continue
			}
			at := begin + media.Wall(ms*int64(time.Millisecond))
			video, audio = m.Wall(1, ms*90).Sub(at), m.Wall(2, ms*48).Sub(at)
			if forget && ms < 28000 {
				m.Forget(1)
			}
		}
		if forget && video.Abs() > time.Millisecond || audio.Abs() > time.Millisecond {
			t.Errorf("video is %v off, audio %v", video, audio)
		}
		if !forget && video < 90*time.Millisecond {
			t.Errorf("without it video is %v off: the test proves nothing", video)
		}
	}
}

// What was held behind NotBefore is not forgotten: it would lie before it.
func TestForgetKeepsHold(t *testing.T) {
	begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	m := New(Config{NotBefore: begin + media.Wall(300*time.Millisecond)})
	m.Track(1, 90000)
	m.Observe(Observation{Track: 1, PTS: 0, Received: begin})
	if moved := m.Start(m.Wall(1, 0)); moved != 300*time.Millisecond {
		t.Fatalf("moved by %v", moved)
	}
	first := m.Wall(1, 0)
	m.Forget(1)
	m.Observe(Observation{Track: 1, PTS: 9000, Received: begin + media.Wall(100*time.Millisecond)})
	if next := m.Wall(1, 9000); next.Sub(first) < 99*time.Millisecond {
		t.Errorf("%v behind the one before", next.Sub(first))
	}
}
