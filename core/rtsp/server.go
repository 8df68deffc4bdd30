package rtsp

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/netip"
	"runtime/debug"
	"sync"
	"syscall"
	"time"
)

// Options configure a Server.
type Options struct {
	Listen string // address; empty = off
	Secure string // address of RTSPS; empty = off
	UDP    string // ports, as [rtsp] udp-ports; empty = TCP only
	// Open opens the TCP listeners, which may get an address, and another, in time: where
	// it is no *net.TCPAddr there is none yet; nil = net.Listen.
	Open   func(address string) (net.Listener, error)
	Cert   func(*tls.ClientHelloInfo) (*tls.Certificate, error)
	MinTLS uint16

	MaxConns         int // 0 = no limit
	MaxConnsPerPlace int // of one address; 0 = no limit

	Source   Source
	Gate     Gate
	Accounts Accounts // nil = no Digest
	Zone     func() *time.Location
	Now      func() time.Time // nil = time.Now

	Served func(uid string, bytes int64)              // may be nil
	First  func(protocol string, after time.Duration) // first packet after PLAY; may be nil
	Log    *slog.Logger
}

// Server answers RTSP. Make it with New, then Listen, then Run.
type Server struct {
	o         Options
	listeners []listener
	made      time.Time

	udpPorts [2]int // of the settings; 0 = TCP only

	wg   sync.WaitGroup
	stop context.CancelFunc

	mu      sync.Mutex
	conns   map[*conn]bool
	byPlace map[netip.Addr]int
	peers   map[netip.AddrPort]*conn // who sends RTCP by UDP
	udp     *udpPair                 // nil = TCP only, or there is no address yet
	udpErr  error                    // why there is none
	over    bool                     // Run ends
	turned  uint64                   // connections beyond the limits
	told    int                      // refusals logged in this second
	untold  int                      // and those that were not
}

type listener struct {
	net.Listener
	secure bool
}

// New makes a server; nothing listens yet.
func New(o Options) *Server {
	if o.Open == nil {
		o.Open = func(address string) (net.Listener, error) { return net.Listen("tcp", address) }
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	return &Server{o: o, made: time.Now(), conns: map[*conn]bool{}, byPlace: map[netip.Addr]int{}, peers: map[netip.AddrPort]*conn{}}
}

func (s *Server) now() time.Time {
	if s.o.Now != nil {
		return s.o.Now()
	}
	return time.Now()
}

func (s *Server) zone() *time.Location {
	if s.o.Zone != nil {
		return s.o.Zone()
	}
	return time.Local
}

func (s *Server) served(uid string, n int64) {
	if s.o.Served != nil && n > 0 {
		s.o.Served(uid, n)
	}
}

func (s *Server) first(d time.Duration) {
	if s.o.First != nil {
		s.o.First("rtsp", d)
	}
}

// Listen opens everything. An error names the address; what was opened is closed
// again.
func (s *Server) Listen() (err error) {
	defer func() {
		if err != nil {
			s.Close()
		}
	}()
	for _, l := range []struct {
		address string
		secure  bool
	}{{s.o.Listen, false}, {s.o.Secure, true}} {
		if l.address == "" {
			continue
		}
		nl, err := s.o.Open(l.address)
		if err != nil {
			return err
		}
		s.listeners = append(s.listeners, listener{nl, l.secure})
	}
	if s.o.Listen == "" {
		return nil
	}
	return s.listenUDP()
}

// Addrs are the addresses of the TCP listeners, RTSP first.
func (s *Server) Addrs() (out []net.Addr) {
	for _, l := range s.listeners {
		out = append(out, l.Addr())
	}
	return out
}

// Close closes what Listen has opened, of a server that was never run.
func (s *Server) Close() {
	for _, l := range s.listeners {
		l.Close()
	}
	if s.udp != nil {
		s.udp.close()
	}
	s.listeners, s.udp = nil, nil
}

// Run serves until ctx ends, and returns when no goroutine is left.
func (s *Server) Run(ctx context.Context) error {
	ctx, s.stop = context.WithCancel(ctx)
	failed := make(chan error, len(s.listeners)+2)
	for _, l := range s.listeners {
		s.runs(func() { failed <- s.accept(ctx, l) })
	}
	s.hearAll(s.udp)
	s.runs(func() { s.sweep(ctx) })
	var err error
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	s.stop()
	for _, l := range s.listeners {
		l.Close()
	}
	s.endUDP()
	s.wg.Wait()
	return err
}

// runs starts a goroutine that Run waits for. A mistake of ours in it ends what it
// was doing and nothing else.
func (s *Server) runs(f func()) {
	s.wg.Go(func() {
		defer func() {
			if r := recover(); r != nil {
				s.o.Log.Error("panic in the RTSP server", "err", r, "stack", string(debug.Stack()))
			}
		}()
		f()
	})
}

func (s *Server) accept(ctx context.Context, l listener) error {
	for {
		nc, err := l.Accept()
		switch {
		case ctx.Err() != nil:
			if err == nil {
				nc.Close()
			}
			return nil
		case scarce(err):
			time.Sleep(50 * time.Millisecond)
			continue
		case err != nil:
			return err
		}
		s.take(ctx, nc, l.secure)
	}
}

// scarce tells of an error that passes when others have closed something.
func scarce(err error) bool {
	for _, no := range []error{syscall.EMFILE, syscall.ENFILE, syscall.ENOBUFS, syscall.ENOMEM, syscall.ECONNABORTED} {
		if errors.Is(err, no) {
			return true
		}
	}
	return false
}

// take serves a connection, or closes one beyond the limits.
func (s *Server) take(ctx context.Context, nc net.Conn, secure bool) {
	ap, err := netip.ParseAddrPort(nc.RemoteAddr().String())
	place := ap.Addr().Unmap()
	s.mu.Lock()
	if err != nil || s.o.MaxConns > 0 && len(s.conns) >= s.o.MaxConns || s.o.MaxConnsPerPlace > 0 && s.byPlace[place] >= s.o.MaxConnsPerPlace {
		s.turned++
		s.mu.Unlock()
		nc.Close()
		return
	}
	c := &conn{s: s, nc: nc, from: place, secure: secure, id: fmt.Sprintf("%08x%08x", random32(), random32())}
	if secure {
		c.nc = tls.Server(nc, &tls.Config{MinVersion: max(s.o.MinTLS, tls.VersionTLS12), GetCertificate: s.o.Cert})
	}
	c.ctx, c.stop = context.WithCancel(ctx)
	c.heard()
	s.conns[c] = true
	s.byPlace[place]++
	s.mu.Unlock()
	s.runs(func() {
		defer s.leave(c)
		c.serve()
	})
}

func (s *Server) leave(c *conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.conns, c)
	if s.byPlace[c.from]--; s.byPlace[c.from] <= 0 {
		delete(s.byPlace, c.from)
	}
}

// Sessions counts open connections.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

// mostTold bounds the refusals that are logged in a second.
const mostTold = 10

// mayTell tells whether another refusal may be logged: a client that comes again
// and again must not fill the log.
func (s *Server) mayTell() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.told++; s.told > mostTold {
		s.untold++
		return false
	}
	return true
}

// sweep ends, once a second, what is over.
func (s *Server) sweep(ctx context.Context) {
	t := time.NewTicker(time.Second)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		}
		s.mu.Lock()
		all := make([]*conn, 0, len(s.conns))
		for c := range s.conns {
			all = append(all, c)
		}
		untold, turned := s.untold, s.turned
		s.told, s.untold, s.turned = 0, 0, 0
		s.mu.Unlock()
		if untold > 0 {
			s.o.Log.Warn("more rtsp requests refused", "count", untold)
		}
		if turned > 0 {
			s.o.Log.Warn("rtsp connections beyond [limits] connections closed", "count", turned)
		}
		for _, c := range all {
			switch {
			case c.revoked():
				c.stop()
			case c.stranded():
				s.o.Log.Info("rtsp playback by UDP ended: the server has another address now", "client", c.from)
				c.stop()
			case c.idle(time.Now()):
				c.stop()
			}
		}
	}
}

// expect takes RTCP of a medium's client as a sign that it lives.
func (s *Server) expect(c *conn, m *medium) {
	if m.tcp {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.peers[m.to[1]] = c
}

func (s *Server) forget(ms []*medium) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, m := range ms {
		delete(s.peers, m.to[1])
	}
}
