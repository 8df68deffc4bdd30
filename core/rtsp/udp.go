package rtsp

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"sync/atomic"
	"syscall"
)

// udpPair is the two ports of [rtsp] udp-ports at the address of the listener.
type udpPair struct {
	host   netip.Addr
	rtp    *net.UDPConn
	rtcp   *net.UDPConn
	closed atomic.Bool
}

func openPair(host netip.Addr, ports [2]int) (*udpPair, error) {
	p := &udpPair{host: host}
	for i, to := range []**net.UDPConn{&p.rtp, &p.rtcp} {
		address := net.JoinHostPort(host.String(), strconv.Itoa(ports[i]))
		a, err := net.ResolveUDPAddr("udp", address)
		if err == nil {
			*to, err = net.ListenUDP("udp", a)
		}
		if err != nil {
			p.close()
			return nil, fmt.Errorf("[rtsp] udp-ports: %w", err)
		}
		_ = (*to).SetWriteBuffer(1 << 20) // what the system allows
	}
	return p, nil
}

func (p *udpPair) close() {
	p.closed.Store(true)
	for _, u := range []*net.UDPConn{p.rtp, p.rtcp} {
		if u != nil {
			u.Close()
		}
	}
}

// conns are what a sender sends from: RTP, RTCP. A nil pair has none.
func (p *udpPair) conns() [2]*net.UDPConn {
	if p == nil {
		return [2]*net.UDPConn{}
	}
	return [2]*net.UDPConn{p.rtp, p.rtcp}
}

// ports are those that packets come from.
func (p *udpPair) ports() (rtp, rtcp int) {
	return p.rtp.LocalAddr().(*net.UDPAddr).Port, p.rtcp.LocalAddr().(*net.UDPAddr).Port
}

// host is the address that RTSP is listened on; false = none yet.
func (s *Server) host() (netip.Addr, bool) {
	for _, l := range s.listeners {
		if a, ok := l.Addr().(*net.TCPAddr); ok && !l.secure {
			return a.AddrPort().Addr().Unmap(), true
		}
	}
	return netip.Addr{}, false
}

// listenUDP opens the UDP ports with the listener. One whose address is not there yet
// gets them when it is (packets).
func (s *Server) listenUDP() (err error) {
	host, ok := s.host()
	if s.udpPorts, err = parsePorts(s.o.UDP); err != nil || s.udpPorts[0] == 0 || !ok {
		return err
	}
	if s.udp, err = openPair(host, s.udpPorts); errors.Is(err, syscall.EADDRNOTAVAIL) {
		return nil
	}
	return err
}

// packets gives the UDP ports for a new session; nil = TCP only. They follow the
// listener: where it is at another address now, they are opened there, and sessions that
// use those before end with them (sweep).
func (s *Server) packets() *udpPair {
	host, ok := s.host()
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.udpPorts[0] == 0 || !ok || s.over || s.udp != nil && s.udp.host == host {
		return s.udp
	}
	p, err := openPair(host, s.udpPorts)
	if err != nil {
		if s.udpErr == nil {
			s.o.Log.Warn("rtsp goes by TCP only", "err", err)
		}
		s.udpErr = err
		return nil // those before are where the listener is no more
	}
	if s.udp != nil {
		s.udp.close()
	}
	s.udp, s.udpErr = p, nil
	s.hearAll(p)
	return p
}

// UDPErr is why sessions cannot have UDP though it is wanted; nil = they can, or nobody
// has asked since the listener got its address. Safe for concurrent use.
func (s *Server) UDPErr() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.udpErr
}

func (s *Server) hearAll(p *udpPair) {
	if p == nil {
		return
	}
	s.runs(func() { s.hear(p.rtp, false) })
	s.runs(func() { s.hear(p.rtcp, true) })
}

// endUDP closes the ports when Run ends; none are opened any more.
func (s *Server) endUDP() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over = true; s.udp != nil {
		s.udp.close()
	}
}

// hear reads what clients send by UDP: reports, of which only that they come
// counts, and packets that open a way through a NAT.
func (s *Server) hear(u *net.UDPConn, reports bool) {
	buf := make([]byte, 2048)
	for {
		n, from, err := u.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil || !reports || n < 8 || buf[0]>>6 != 2 {
			continue
		}
		s.mu.Lock()
		c := s.peers[netip.AddrPortFrom(from.Addr().Unmap(), from.Port())]
		s.mu.Unlock()
		if c != nil {
			c.heard()
		}
	}
}
