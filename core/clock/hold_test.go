package clock

import (
	"testing"
	"time"

	"media-server/core/media"
)

// Sound that lies before the end of what is stored, and is not stored itself,
// moves nothing. Where what is stored would lie before it, all tracks move by
// the same, those answered already and those that come later, and only once.
func TestStart(t *testing.T) {
	begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	at := func(ms int64) media.Wall { return begin.Add(time.Duration(ms) * time.Millisecond) }
	for _, c := range []struct {
		name               string
		notBefore, picture int64 // ms
		moved              time.Duration
	}{
		{"sound alone before it", 122, 200, 0},
		{"the picture too", 230, 200, 30 * time.Millisecond},
		{"a clock set back", 3600_000, 200, 0},
	} {
		m := New(Config{NotBefore: at(c.notBefore)})
		m.Track(1, 90000)
		m.Track(2, 48000)
		m.Track(3, 90000)
		m.Observe(Observation{Track: 2, PTS: 0, Received: at(0)})
		m.Observe(Observation{Track: 1, PTS: 0, Received: at(c.picture)})
		if w := m.Wall(2, 0); w != at(0) {
			t.Errorf("%s: the sound lies %v off before the start", c.name, w.Sub(at(0)))
		}
		first := m.Wall(1, 0)
		if moved := m.Start(first); moved != c.moved {
			t.Errorf("%s: moved by %v", c.name, moved)
		}
		m.Observe(Observation{Track: 3, PTS: 0, Received: at(300)})
		for track, want := range map[int]media.Wall{1: at(c.picture), 2: at(0), 3: at(300)} {
			if off := m.Wall(track, 0).Sub(want); off != c.moved {
				t.Errorf("%s: track %d moved by %v, want %v", c.name, track, off, c.moved)
			}
		}
		held := c.notBefore < 3600_000
		for _, end := range []int64{0, c.notBefore - 50, c.notBefore + 50, c.notBefore + 60_000} {
			to, stored := end, at(end)
			switch end {
			case 0:
				to, stored = c.notBefore, 0
			case c.notBefore + 60_000:
				to = c.notBefore
			}
			if got := m.Covered(at(to-1), stored); got != held || m.Covered(at(to), stored) {
				t.Errorf("%s: covered up to %d ms of %d: %v", c.name, to, end, got)
			}
		}
		if again := m.Start(at(-1000)); again != 0 {
			t.Errorf("%s: moved once more, by %v", c.name, again)
		}
	}
}

// A track that comes a second behind the first key frame moves with the others,
// however long that was waited for.
func TestStartLate(t *testing.T) {
	begin := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	m := New(Config{NotBefore: begin.Add(30050 * time.Millisecond)})
	m.Track(1, 90000)
	m.Track(2, 48000)
	for ms := int64(0); ms <= 30000; ms += 1000 {
		m.Observe(Observation{Track: 1, PTS: ms * 90, Received: begin.Add(time.Duration(ms) * time.Millisecond)})
	}
	if moved := m.Start(m.Wall(1, 30000*90)); moved != 50*time.Millisecond {
		t.Fatalf("moved by %v", moved)
	}
	at := begin.Add(31 * time.Second)
	m.Observe(Observation{Track: 2, PTS: 0, Received: at})
	if off := m.Wall(2, 0).Sub(at); off != 50*time.Millisecond {
		t.Errorf("the late track moved by %v", off)
	}
}

// A run that is resumed has started.
func TestStartAfterRestore(t *testing.T) {
	m := New(Config{})
	m.Track(1, 90000)
	m.Observe(Observation{Track: 1, PTS: 0, Received: media.Wall(epoch)})
	w := m.Wall(1, 0)
	r := Restore(Config{NotBefore: w.Add(time.Second)}, m.State())
	if moved := r.Start(w); moved != 0 || r.Wall(1, 0) != w {
		t.Errorf("moved by %v", moved)
	}
}
