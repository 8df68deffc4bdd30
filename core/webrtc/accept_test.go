package webrtc

import (
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
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
	return nil, &net.OpError{Op: "accept", Net: "tcp", Err: syscall.EMFILE}
}

func (l *troubled) Close() error { return nil }

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
