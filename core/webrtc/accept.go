package webrtc

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Bounds of TCP.
const (
	maxTCP   = 256       // connections to the port
	tcpQueue = 256 << 10 // bytes that wait for one of them, with pion and with the system each
)

// How long is waited after an error of accept(2): no descriptors, no memory, a
// connection that has gone already.
const (
	acceptAgain   = 5 * time.Millisecond
	acceptSlowest = time.Second
)

// bounded is a listener with a most of connections; one more is closed at once. It
// ends with Close alone: pion's mux would never listen again after any other error.
type bounded struct {
	net.Listener
	free chan struct{}
	done chan struct{} // closed by Close
	once sync.Once
}

func bound(l net.Listener) *bounded {
	return &bounded{Listener: l, free: make(chan struct{}, maxTCP), done: make(chan struct{})}
}

func (b *bounded) Accept() (net.Conn, error) {
	for wait := acceptAgain; ; {
		c, err := b.Listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil, err
		}
		if err != nil {
			if !b.sleep(wait) {
				return nil, net.ErrClosed
			}
			wait = min(2*wait, acceptSlowest)
			continue
		}
		wait = acceptAgain
		select {
		case b.free <- struct{}{}:
			if t, ok := c.(*net.TCPConn); ok {
				_ = t.SetWriteBuffer(tcpQueue) // the system would let it grow to megabytes
			}
			return &counted{Conn: c, free: b.free}, nil
		default:
			_ = c.Close()
		}
	}
}

// sleep tells whether the listener is still open afterwards.
func (b *bounded) sleep(d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-b.done:
		return false
	}
}

func (b *bounded) Close() error {
	b.once.Do(func() { close(b.done) })
	return b.Listener.Close()
}

type counted struct {
	net.Conn
	free chan struct{}
	once sync.Once
}

func (c *counted) Close() error {
	c.once.Do(func() { <-c.free })
	return c.Conn.Close()
}
