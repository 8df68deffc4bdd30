package webrtc

import (
	"time"

	"media-server/core/media"
)

// clock turns the timeline's times into RTP timestamps of one track. Both tracks
// of a session count from the same origin, so that sender reports align them.
type clock struct {
	rate   int64
	base   uint32     // timestamp at origin: anything (RFC 3550 5.1)
	origin media.Wall // moves only where time goes back
	edge   media.Wall // pictures: what is older was sent in a burst, see squeeze
	sent   bool
	last   int64 // ticks since origin of the newest frame
	ends   int64 // sound: ticks at which the newest frame ends
}

// squeeze is how much faster than it was taken the group of pictures is sent
// that a session begins with.
const squeeze = 50

// jump is a step of the timeline into the past that RTP cannot follow: another
// run after the server's clock was set back.
const jump = time.Second

func (c *clock) ticks(w media.Wall) int64 {
	return media.Rescale(int64(w-c.origin), c.rate, int64(time.Second))
}

// picture is the timestamp of a frame shown at pts. What is older than edge is
// squeezed towards it, without a step where the two meet.
func (c *clock) picture(pts media.Wall) uint32 {
	at := pts
	if at < c.edge {
		at = c.edge - (c.edge-at)/squeeze
	}
	t := c.ticks(at)
	if c.sent && t <= c.last {
		if c.last-t > int64(jump/time.Second)*c.rate {
			c.origin, t = at-media.Wall(media.Rescale(c.last+c.rate/25, int64(time.Second), c.rate)), c.last+c.rate/25
		} else {
			t = c.last + 1
		}
	}
	c.sent, c.last = true, t
	return c.base + uint32(t)
}

// sound is the timestamp of a frame of n samples. Players take it for a loss if
// one does not begin where the one before ends, so that it does, unless it is off
// by half a frame: then something is missing, or too much.
func (c *clock) sound(pts media.Wall, n int64) uint32 {
	t := c.ticks(pts)
	if d := t - c.ends; c.sent && d > -n/2-1 && d < n/2+1 {
		// What rounding and the slewing of the timeline leave is kept in the
		// origin, so that it does not add up and reports stay right.
		c.origin += media.Wall(media.Rescale(d, int64(time.Second), c.rate))
		t = c.ends
	} else if c.sent && t < c.ends {
		c.origin -= media.Wall(media.Rescale(c.ends-t, int64(time.Second), c.rate))
		t = c.ends
	}
	c.sent, c.last, c.ends = true, t, t+n
	return c.base + uint32(t)
}

// at is the timestamp that belongs to an instant: what a sender report says.
func (c *clock) at(w media.Wall) uint32 { return c.base + uint32(c.ticks(w)) }

// ntp is an instant as sender reports write it (RFC 3550 4).
func ntp(w media.Wall) uint64 {
	const to1970 = 2208988800
	s, ns := uint64(w)/1e9, uint64(w)%1e9
	return (s+to1970)<<32 | ns<<32/1e9
}
