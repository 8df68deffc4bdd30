package rtspsource

import (
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/media"
)

const (
	gatherTime = 100 * time.Millisecond // worth of bytes to wait for
	gatherMost = 64 << 10
	gatherWait = 250 * time.Millisecond // longest stay in the kernel
)

// gatherer lets the kernel collect packets while nobody watches live, so that
// a source wakes this process ten times a second and not once a packet. See
// doc.go, Wake-ups.
type gatherer struct {
	s     *session
	mark  int // SO_RCVLOWAT in force
	since int64
	bytes uint64
	rate  int64 // bytes a second, measured
}

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
		want = int(min(gatherMost, media.Rescale(g.rate, int64(gatherTime), int64(time.Second))))
		if want < 4<<10 { // little comes anyway; holding it back would only add delay
			want = 1
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
			return t.line.report
		}
	}
	return false
}
