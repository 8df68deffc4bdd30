package rtspsource

import (
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/media"
)

const (
	gatherLeast = 40_000                 // bytes a second below which there is little to gain
	gatherMark  = 400 * time.Millisecond // worth of bytes that would end the wait early
	gatherWait  = 250 * time.Millisecond // longest time before somebody who begins to watch is noticed

	// gatherTick is the pace at which gathering sources read: all of them at the
	// same instants, so that one wake-up of the process serves them all. 87 ms
	// shares no divisor with the frame periods in use (20, 33.3, 40, 50, 100 ms):
	// arrivals wander through the tick, and the least delayed ones, by which the
	// core keeps the camera's clock, are late by a millisecond or two only.
	gatherTick = 87 * time.Millisecond
)

// gatherer lets the kernel collect packets while nobody watches live, so that
// a hundred sources wake this process eleven times a second together, and not
// once a packet each. SO_RCVLOWAT keeps the kernel from telling of every
// packet; it also makes it give the socket room for as much. See doc.go,
// Wake-ups.
type gatherer struct {
	s     *session
	mark  int // SO_RCVLOWAT in force
	since int64
	bytes uint64
	rate  int64 // bytes a second, measured
}

var gatherStart = time.Now()

// pause waits for the next common instant.
func (g *gatherer) pause() {
	time.Sleep(gatherTick - time.Since(gatherStart)%gatherTick)
}

// on tells whether the source is read by the tick.
func (g *gatherer) on() bool { return g.mark > 1 }

// step sets the mark and says how long a read may wait.
func (g *gatherer) step(now int64) time.Duration {
	s := g.s
	if s.wire.tcp == nil || s.udp || s.cfg.NoGather {
		return time.Second
	}
	switch {
	case g.since == 0:
		g.since, g.bytes = now, s.wire.total
	case now-g.since >= int64(2*time.Second):
		g.rate = media.Rescale(int64(s.wire.total-g.bytes), int64(time.Second), now-g.since)
		g.since, g.bytes = now, s.wire.total
	}
	want := 1
	if g.rate > 0 && s.mapped() && !s.sink.AtOnce() {
		if g.rate >= gatherLeast { // little comes anyway; holding it back would only add delay
			want = int(min(1<<20, max(64<<10, media.Rescale(g.rate, int64(gatherMark), int64(time.Second)))))
		}
	}
	if want != g.mark && (want == 1 || g.mark <= 1 || want > g.mark*5/4 || want < g.mark*3/4) {
		raw, err := s.wire.tcp.SyscallConn()
		if err == nil {
			raw.Control(func(fd uintptr) {
				err = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT, want)
			})
		}
		if err == nil {
			g.mark = want
		}
	}
	if g.mark > 1 {
		return gatherWait
	}
	return time.Second
}

// mapped tells that there is video whose RTP time is tied to the camera's
// clock, so that late arrival no longer moves anything.
func (s *session) mapped() bool {
	for _, t := range s.tracks {
		if t.track.Kind() == media.Video {
			return t.line.report && !t.line.trial.on
		}
	}
	return false
}
