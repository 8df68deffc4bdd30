package webrtc

import (
	"errors"
	"net"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// troubled is a listener that fails so many times, gives one connection and fails ever
// after.
type troubled struct {
	net.Listener
	fails int
	conn  net.Conn
}

func (l *troubled) Accept() (net.Conn, error) {
	if l.fails--; l.fails == -1 {
		return l.conn, nil
	}
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: unix.EMFILE}
}

func (l *troubled) Close() error { return nil }

// TestTCPQueue: the system holds no more for a slow player than it was told to, which
// socket(7) doubles for its own needs.
func TestTCPQueue(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	b := bound(l)
	defer b.Close()
	player, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer player.Close()
	c, err := b.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	raw, err := c.(*counted).Conn.(*net.TCPConn).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	err = raw.Control(func(fd uintptr) {
		if n, err := unix.GetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_SNDBUF); err != nil || n > 2*tcpQueue {
			t.Errorf("%d bytes, %v", n, err)
		}
	})
	if err != nil {
		t.Error(err)
	}
}

// TestAcceptGoesOn: an error of accept ends nothing, and is no reason to turn in
// circles; Close ends the wait for better times.
func TestAcceptGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, z := net.Pipe()
		defer z.Close()
		b := bound(&troubled{fails: 12, conn: a})
		begin := time.Now()
		c, err := b.Accept()
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		// 5 ms doubled eight times is above a second: 5 … 640, then four times 1 s.
		if d := time.Since(begin); d != 1275*time.Millisecond+4*time.Second {
			t.Errorf("after %v", d)
		}
		time.AfterFunc(time.Minute+time.Millisecond, func() { b.Close() })
		begin = time.Now()
		if _, err := b.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
		if d := time.Since(begin); d != time.Minute+time.Millisecond {
			t.Errorf("closed after %v", d)
		}
		if len(b.free) != 0 {
			t.Error("a place is lost")
		}
	})
}
