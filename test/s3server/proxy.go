package s3server

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Proxy stands before a server. It begins as a good one.
type Proxy struct {
	Addr string

	to string
	l  net.Listener
	wg sync.WaitGroup

	mu    sync.Mutex
	hang  bool
	deny  bool
	cut   int64 // bytes to the server after which a connection is cut; 0 = never
	back  int64 // the same of bytes from the server
	delay time.Duration
	wake  chan struct{} // closed and made anew at each change
	conns map[net.Conn]struct{}
	done  bool
}

// NewProxy listens until the test ends.
func NewProxy(t testing.TB, to string) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), to: to, l: l, wake: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	p.wg.Go(p.accept)
	t.Cleanup(func() {
		p.change(func() { p.done, p.hang = true, false })
		l.Close()
		p.Reset()
		p.wg.Wait()
	})
	return p
}

func (p *Proxy) change(f func()) {
	p.mu.Lock()
	defer p.mu.Unlock()
	f()
	close(p.wake)
	p.wake = make(chan struct{})
}

// Hang keeps every byte back, also those of connections there are.
func (p *Proxy) Hang(on bool) { p.change(func() { p.hang = on }) }

// Refuse resets new connections.
func (p *Proxy) Refuse(on bool) { p.change(func() { p.deny = on }) }

// Delay holds every piece back for d.
func (p *Proxy) Delay(d time.Duration) { p.change(func() { p.delay = d }) }

// CutAfter ends each connection after n bytes to the server; 0 = never.
func (p *Proxy) CutAfter(n int64) { p.change(func() { p.cut = n }) }

// CutAnswers ends each connection after n bytes from the server, and closes it
// in good order, as a server that is shut down does; 0 = never.
func (p *Proxy) CutAnswers(n int64) { p.change(func() { p.back = n }) }

// Reset ends all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		c.Close()
	}
}

func (p *Proxy) accept() {
	for {
		c, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		deny := p.deny
		p.mu.Unlock()
		if deny {
			c.(*net.TCPConn).SetLinger(0)
			c.Close()
			continue
		}
		up, err := net.Dial("tcp", p.to)
		if err != nil {
			c.Close()
			continue
		}
		p.mu.Lock()
		p.conns[c], p.conns[up] = struct{}{}, struct{}{}
		if p.done {
			c.Close()
			up.Close()
		}
		p.mu.Unlock()
		p.wg.Go(func() { p.pipe(up, c, true) })
		p.wg.Go(func() { p.pipe(c, up, false) })
	}
}

// pipe copies until one side ends, then ends both.
func (p *Proxy) pipe(dst, src net.Conn, up bool) {
	defer func() {
		dst.Close()
		src.Close()
		p.mu.Lock()
		delete(p.conns, dst)
		delete(p.conns, src)
		p.mu.Unlock()
	}()
	b := make([]byte, 32<<10)
	var sent int64
	for {
		n, err := src.Read(b)
		cut, back, ok := p.pass()
		if !ok {
			return
		}
		if sent += int64(n); up && cut > 0 && sent > cut || !up && back > 0 && sent > back {
			return
		}
		if n > 0 {
			if _, err := dst.Write(b[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// pass waits as long as it is told to.
func (p *Proxy) pass() (cut, back int64, ok bool) {
	for {
		p.mu.Lock()
		hang, delay, done, wake := p.hang, p.delay, p.done, p.wake
		cut, back = p.cut, p.back
		p.mu.Unlock()
		switch {
		case done:
			return 0, 0, false
		case hang:
			<-wake
			continue
		case delay > 0:
			t := time.NewTimer(delay)
			select {
			case <-t.C:
			case <-wake:
			}
			t.Stop()
		}
		return cut, back, true
	}
}
