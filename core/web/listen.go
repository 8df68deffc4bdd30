package web

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// writeStall is how long a client may take no bytes at all before its
// connection is cut. Every write moves the deadline; fasthttp's WriteTimeout
// covers a whole response and would cut long downloads.
const writeStall = 30 * time.Second

// limitedListener bounds the connections of a listener, in total and from one
// address, and gives each a rolling write deadline. A connection over the
// bound is closed at once and counted: recording never waits for viewers, and
// one address cannot take the place of all others.
type limitedListener struct {
	net.Listener
	max, maxPerIP int
	refused       atomic.Uint64

	mu    sync.Mutex
	total int
	byIP  map[string]int
}

func newLimitedListener(l net.Listener, max, maxPerIP int) *limitedListener {
	return &limitedListener{Listener: l, max: max, maxPerIP: maxPerIP, byIP: map[string]int{}}
}

func (l *limitedListener) Accept() (net.Conn, error) {
	for {
		c, err := l.Listener.Accept()
		if scarce(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		ip, _, _ := net.SplitHostPort(c.RemoteAddr().String())
		if !l.admit(ip) {
			l.refused.Add(1)
			c.Close()
			continue
		}
		return &rollingConn{Conn: c, leave: func() { l.leave(ip) }}, nil
	}
}

// scarce tells of an error that passes when others have closed something, and
// waits a little: it must not end the service.
func scarce(err error) bool {
	for _, no := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM} {
		if errors.Is(err, no) {
			time.Sleep(50 * time.Millisecond)
			return true
		}
	}
	return false
}

func (l *limitedListener) admit(ip string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.max > 0 && l.total >= l.max || l.maxPerIP > 0 && l.byIP[ip] >= l.maxPerIP {
		return false
	}
	l.total++
	l.byIP[ip]++
	return true
}

func (l *limitedListener) leave(ip string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.total--
	if l.byIP[ip]--; l.byIP[ip] <= 0 {
		delete(l.byIP, ip)
	}
}

// rollingConn moves the write deadline with each write.
type rollingConn struct {
	net.Conn
	leave func()
	once  sync.Once
}

// NetConn gives the connection below, for sendfile.
func (c *rollingConn) NetConn() net.Conn { return c.Conn }

func (c *rollingConn) Write(p []byte) (int, error) {
	done := 0
	for done < len(p) {
		if err := c.Conn.SetWriteDeadline(time.Now().Add(writeStall)); err != nil {
			return done, err
		}
		n, err := c.Conn.Write(p[done:min(len(p), done+sendStep)])
		done += n
		if err != nil {
			return done, err
		}
	}
	return done, nil
}

func (c *rollingConn) Close() error {
	c.once.Do(c.leave)
	return c.Conn.Close()
}
