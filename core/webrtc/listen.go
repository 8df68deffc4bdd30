package webrtc

import (
	"errors"
	"net"
	"time"

	"github.com/pion/ice/v4"

	"media-server/core/ports"
)

// Listen opens the port. Where that fails sessions are refused with the reason,
// and Err tells it; nothing else of a server depends on it.
func (s *Server) Listen() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.opt.Config.Enable {
		s.why = errors.New("[webrtc] enable is off")
		return nil
	}
	udp, tcp, err := open(s.opt.Config.Listen)
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

// open takes one port for UDP and TCP; the name of a network interface may stand for
// the host. With port 0 the system picks one, which may be free for one of the two
// alone.
func open(listen string) (net.PacketConn, net.Listener, error) {
	for try := 0; ; try++ {
		tcp, err := ports.Listen(listen)
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
