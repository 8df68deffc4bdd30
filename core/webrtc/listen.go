package webrtc

import (
	"context"
	"errors"
	"net"
	"time"

	"github.com/pion/ice/v4"
	"golang.org/x/sys/unix"

	"media-server/core/ports"
)

// How long a port that is in use is asked for at once (the sockets of a process that
// was killed may be closed after its end is known), and how often later on.
const (
	busyFor   = 500 * time.Millisecond
	openAgain = 5 * time.Second
)

// Listen opens the port. Where that fails sessions are refused with the reason,
// and Err tells it, until Run has opened the port after all; nothing else of a server
// depends on it. It may take busyFor.
func (s *Server) Listen() error {
	if !s.opt.Config.Enable {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.why = errors.New("[webrtc] enable is off")
		return nil
	}
	s.asked = time.Now()
	return s.take(patiently(func() (net.PacketConn, net.Listener, error) { return open(s.opt.Config.Listen, s.asked) }))
}

// goOn opens the port that could not be had at first: its owner ends, an interface
// gets its address.
func (s *Server) goOn(ctx context.Context) {
	t := time.NewTicker(s.again)
	defer t.Stop()
	for s.Err() != nil {
		select {
		case <-ctx.Done():
			return
		case <-s.ctx.Done():
			return
		case <-t.C:
		}
		if s.take(open(s.opt.Config.Listen, s.asked)) == nil {
			s.opt.Log.Info("WebRTC is served: its port could be opened after all", "address", s.Addr())
		}
	}
}

// take serves with the sockets of the port, or keeps the reason why there are none.
func (s *Server) take(udp net.PacketConn, tcp net.Listener, err error) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil && s.closed {
		_, _ = udp.Close(), tcp.Close()
		return closing()
	}
	if err != nil {
		s.why = err
		return err
	}
	log := quiet.NewLogger("ice")
	s.udp, s.tcp, s.why = udp, tcp, nil
	s.udpMux = ice.NewUDPMuxDefault(ice.UDPMuxParams{Logger: log, UDPConn: udp, Net: s.network})
	s.tcpMux = ice.NewTCPMuxDefault(ice.TCPMuxParams{Listener: bound(tcp), Logger: log, ReadBufferSize: 16,
		WriteBufferSize: tcpQueue, FirstStunBindTimeout: 5 * time.Second, AliveDurationForConnFromStun: 5 * time.Second})
	return nil
}

// patiently tries again while the port is in use.
func patiently(open func() (net.PacketConn, net.Listener, error)) (udp net.PacketConn, tcp net.Listener, err error) {
	for end := time.Now().Add(busyFor); ; time.Sleep(20 * time.Millisecond) {
		if udp, tcp, err = open(); err == nil || !errors.Is(err, unix.EADDRINUSE) || time.Now().After(end) {
			return udp, tcp, err
		}
	}
}

// open takes one port for UDP and TCP; the name of a network interface may stand for
// the host, whose addresses of the link alone count when they have been asked for since
// long enough. With port 0 the system picks one, which may be free for one of the two
// alone.
func open(listen string, since time.Time) (net.PacketConn, net.Listener, error) {
	for try := 0; ; try++ {
		tcp, err := ports.Listen(listen, since)
		if err != nil {
			return nil, nil, err
		}
		udp, err := net.ListenPacket("udp", tcp.Addr().String())
		if err == nil {
			if u, ok := udp.(*net.UDPConn); ok {
				_ = u.SetWriteBuffer(2 << 20) // a key frame of many viewers at once
			}
			return udp, tcp, nil
		}
		_ = tcp.Close()
		if _, port, _ := net.SplitHostPort(listen); port != "0" || try == 20 {
			return nil, nil, err
		}
	}
}
