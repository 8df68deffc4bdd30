package webrtc

import (
	"testing"
	"time"

	"media-server/core/media"
)

const t0 = media.Wall(1_700_000_000_000_000_000)

func TestPictureTimes(t *testing.T) {
	c := clock{rate: 90000, base: 1<<32 - 5, origin: t0}
	var last int64 = -1
	see := func(pts media.Wall) int64 {
		ts := c.picture(pts)
		if c.last <= last {
			t.Fatalf("%v: %d after %d", pts-t0, c.last, last)
		}
		if ts != c.base+uint32(c.last) {
			t.Fatal(ts, c.last)
		}
		last = c.last
		return c.last
	}
	c.edge = t0 + media.Wall(time.Second) // a group of pictures of a second, sent at its end
	first := see(t0)
	if want := int64(90000 - 90000/squeeze); first != want {
		t.Errorf("the key frame is at %d, want %d", first, want)
	}
	for i := 1; i < 50; i++ {
		n := see(t0 + media.Wall(i)*media.Wall(40*time.Millisecond))
		if i >= 25 && n != int64(i)*3600 {
			t.Errorf("live frame %d is at %d", i, n)
		}
	}
	// The same group again, on request: forward by the least.
	c.edge = t0 + media.Wall(1960*time.Millisecond)
	for i := 25; i < 50; i++ {
		see(t0 + media.Wall(i)*media.Wall(40*time.Millisecond))
	}
	if last > 49*3600+50 {
		t.Error(last)
	}
	// The server's clock was set back by an hour: another run.
	c.edge = 0
	back := t0 - media.Wall(time.Hour)
	a, b := see(back), see(back+media.Wall(40*time.Millisecond))
	if b-a != 3600 {
		t.Errorf("%d ticks between two pictures", b-a)
	}
	if got := c.at(back + media.Wall(40*time.Millisecond)); got != c.base+uint32(b) {
		t.Error("a report would say another time")
	}
}

// TestSoundTimes: a packet begins where the one before ends, but for a loss, and
// reports stay with the wall clock.
func TestSoundTimes(t *testing.T) {
	c := clock{rate: 8000, origin: t0}
	pts := t0
	for i := range 1000 {
		if ts := c.sound(pts, 160); ts != uint32(i*160) {
			t.Fatalf("packet %d at %d", i, ts)
		}
		pts += media.Wall(20*time.Millisecond) + media.Wall(10*time.Microsecond) // 500 ppm
		switch i % 3 {
		case 0:
			pts += media.Wall(60 * time.Microsecond)
		case 1:
			pts -= media.Wall(60 * time.Microsecond)
		}
	}
	if d := int64(c.at(pts)) - 160000; d < -2 || d > 2 {
		t.Errorf("reports are off by %d samples", d)
	}
	pts += media.Wall(100 * time.Millisecond) // five are lost
	if ts := c.sound(pts, 160); ts < 160800-2 || ts > 160800+2 {
		t.Errorf("behind a loss at %d", ts)
	}
	end := c.ends
	if ts := c.sound(t0-media.Wall(time.Hour), 160); int64(ts) != end {
		t.Errorf("the clock went back: %d, want %d", ts, end)
	}
}

func TestNTP(t *testing.T) {
	if n := ntp(media.WallOf(time.Unix(0, 500_000_000))); n != 2208988800<<32|1<<31 {
		t.Errorf("%x", n)
	}
}

func TestOpusSamples(t *testing.T) {
	for _, c := range []struct {
		p    []byte
		want int64
	}{
		{nil, 0}, {[]byte{0}, 480}, {[]byte{3 << 3}, 2880}, {[]byte{12 << 3}, 480}, {[]byte{13 << 3}, 960}, {[]byte{16 << 3}, 120}, {[]byte{31 << 3}, 960},
		{[]byte{31<<3 | 1}, 1920}, {[]byte{31<<3 | 2}, 1920}, {[]byte{31<<3 | 3}, 0}, {[]byte{31<<3 | 3, 3}, 2880}, {[]byte{31<<3 | 3, 63}, 0}, {[]byte{31<<3 | 3, 0x41}, 960},
	} {
		if n := opusSamples(c.p); n != c.want {
			t.Errorf("%x: %d, want %d", c.p, n, c.want)
		}
	}
	for _, s := range load(t, "opus").Samples {
		if n := opusSamples(s.Payload); n != 960 {
			t.Fatal(n)
		}
	}
}
