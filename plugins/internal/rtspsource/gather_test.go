package rtspsource

import (
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"media-server/core/media"
)

// TestGather: the kernel gathers only for video whose clock is known and which
// nobody watches.
func TestGather(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	offers, _ := choose(parseSDP([]byte(fakeSDP)), func(media.Kind) bool { return true })
	m := newMemory(nil)
	s := &session{wire: newWire(c), sink: m}
	s.tracks = []*track{s.newTrack(offers[0])}
	mark := func() (v int) {
		raw, _ := c.(*net.TCPConn).SyscallConn()
		raw.Control(func(fd uintptr) { v, _ = unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVLOWAT) })
		return v
	}
	g := gatherer{s: s}
	now := int64(1)
	seconds := func(n int64) { // at 250 kB/s
		now += n * 1e9
		s.wire.total += uint64(n) * 250_000
		g.step(now)
	}
	g.step(now)
	if seconds(3); mark() != 1 {
		t.Errorf("without a sender report: %d", mark())
	}
	s.tracks[0].line.report = true
	if seconds(3); mark() != 100_000 || !g.on() {
		t.Errorf("gathering: %d, want 100000", mark())
	}
	m.live = true
	if seconds(1); mark() != 1 {
		t.Errorf("while watched: %d", mark())
	}
	m.live = false
	s.cfg.NoGather = true
	g.mark = 0
	if seconds(1); mark() != 1 {
		t.Errorf("switched off: %d", mark())
	}
}
