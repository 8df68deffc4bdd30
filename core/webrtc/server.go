package webrtc

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/netip"
	"sync"
	"time"

	"github.com/pion/ice/v4"
	"github.com/pion/logging"
	"github.com/pion/transport/v5"
	"github.com/pion/webrtc/v4"
)

// Options are the parts a Server is made of.
type Options struct {
	Config Config
	Source Source
	Gate   Gate
	Served func(uid string, bytes int64) // bytes sent; may be nil
	Log    *slog.Logger                  // nil = nothing is logged
}

// Server holds the sessions. Safe for concurrent use.
type Server struct {
	opt     Options
	cert    webrtc.Certificate
	network transport.Net // of the UDP candidates
	again   time.Duration // from one try to open the port to the next
	asked   time.Time     // since when the port is to be opened; of Listen, before Run

	mu       sync.Mutex
	udp      net.PacketConn // nil = it does not listen
	tcp      net.Listener
	udpMux   ice.UDPMux
	tcpMux   ice.TCPMux
	why      error // it does not listen
	sessions map[string]*session
	places   places
	closed   bool
	wg       sync.WaitGroup // sessions
	ctx      context.Context
	cancel   context.CancelFunc
}

// New makes a server that does not listen yet.
func New(opt Options) (*Server, error) {
	cert, err := certificate()
	if err != nil {
		return nil, err
	}
	if opt.Log == nil {
		opt.Log = slog.New(slog.DiscardHandler)
	}
	s := &Server{opt: opt, cert: cert, network: &anew{}, again: openAgain, sessions: map[string]*session{}, places: places{from: map[netip.Prefix]int{}}, why: errors.New("it has not begun to listen")}
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s, nil
}

// certificate is that of DTLS: known by its fingerprint in the answer alone.
func certificate() (webrtc.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return webrtc.Certificate{}, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return webrtc.Certificate{}, err
	}
	// pion refuses to begin with one that has expired; a process does not live so long.
	now := time.Now()
	c, err := webrtc.NewCertificate(key, x509.Certificate{
		SerialNumber: serial, Subject: pkix.Name{CommonName: "webrtc"}, Issuer: pkix.Name{CommonName: "webrtc"}, Version: 2,
		NotBefore: now.AddDate(0, 0, -1), NotAfter: now.AddDate(10, 0, 0),
	})
	if err != nil {
		return webrtc.Certificate{}, err
	}
	return *c, nil
}

// quiet keeps pion's words, which strangers can cause in any number, out of the log.
var quiet = &logging.DefaultLoggerFactory{Writer: io.Discard, DefaultLogLevel: logging.LogLevelDisabled, ScopeLevels: map[string]logging.LogLevel{}}

// Addr is the address of the media; invalid where it does not listen.
func (s *Server) Addr() netip.AddrPort {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.addrLocked()
}

func (s *Server) addrLocked() netip.AddrPort {
	if s.udp == nil {
		return netip.AddrPort{}
	}
	a, ok := s.udp.LocalAddr().(*net.UDPAddr)
	if !ok {
		return netip.AddrPort{}
	}
	return a.AddrPort()
}

// Err is why the port is not open, nil where it is or is not wanted.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opt.Config.Enable {
		return nil
	}
	return s.why
}

// Run serves until ctx ends, then ends every session and closes the port. A port that
// Listen could not open it tries to open again and again.
func (s *Server) Run(ctx context.Context) error {
	s.goOn(ctx)
	<-ctx.Done()
	s.Close()
	return nil
}

// Close ends every session, waits for them and closes the port.
func (s *Server) Close() {
	s.mu.Lock()
	s.closed = true
	s.cancel()
	s.mu.Unlock()
	s.wg.Wait()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.udp == nil {
		return
	}
	_ = s.udpMux.Close()
	_ = s.tcpMux.Close()
	_ = s.udp.Close()
	_ = s.tcp.Close()
	s.udp, s.why = nil, errors.New("it has been closed")
}

// Sessions counts those that are open.
func (s *Server) Sessions() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.sessions)
}

// find is a session of a stream by its name, which nobody can guess.
func (s *Server) find(uid, id string) (*session, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if ses := s.sessions[id]; ses != nil && ses.uid == uid {
		return ses, nil
	}
	return nil, &Refusal{404, "no_such_session", "there is no such session; it may have ended", "begin one with POST /live/UID/whep"}
}

// End ends a session.
func (s *Server) End(uid, id string) error {
	ses, err := s.find(uid, id)
	if err == nil {
		ses.end()
	}
	return err
}
