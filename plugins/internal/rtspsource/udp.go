package rtspsource

import (
	"errors"
	"math/rand/v2"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// udpBuffer is asked of the kernel for each RTP socket: a key frame of a large
// picture comes in one burst. Beyond net.core.rmem_max only root gets it.
const udpBuffer = 2 << 20

// ports is a pair of UDP sockets, RTP even and RTCP odd.
type ports struct {
	port      int
	rtp, rtcp *net.UDPConn
	peer      [2]netip.Addr // addresses packets may come from
	server    [2]int
}

// listenPair opens two neighbouring ports on the address the device knows us by.
func listenPair(control net.Conn) (*ports, error) {
	local := control.LocalAddr().(*net.TCPAddr)
	var last error
	for range 100 {
		n := 10000 + 2*rand.IntN(22500)
		rtp, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone, Port: n})
		if err != nil {
			last = err
			continue
		}
		rtcp, err := net.ListenUDP("udp", &net.UDPAddr{IP: local.IP, Zone: local.Zone, Port: n + 1})
		if err != nil {
			rtp.Close()
			last = err
			continue
		}
		enlarge(rtp)
		return &ports{port: n, rtp: rtp, rtcp: rtcp}, nil
	}
	return nil, last
}

func enlarge(c *net.UDPConn) {
	forced := errors.New("not tried")
	if raw, err := c.SyscallConn(); err == nil {
		raw.Control(func(fd uintptr) {
			forced = unix.SetsockoptInt(int(fd), unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, udpBuffer)
		})
	}
	if forced != nil {
		c.SetReadBuffer(udpBuffer)
	}
}

func (p *ports) close() {
	if p != nil {
		p.rtp.Close()
		p.rtcp.Close()
	}
}

// punch opens the way for packets through firewalls between us and the device.
func (p *ports) punch() {
	if p.server[0] <= 0 || p.server[0] > 65534 {
		return
	}
	rtp := []byte{0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}
	p.rtp.WriteToUDPAddrPort(rtp, netip.AddrPortFrom(p.peer[1], uint16(p.server[0])))
	p.send([]byte{0x80, 201, 0, 1, 0, 0, 0, 0})
}

// send sends an RTCP packet.
func (p *ports) send(b []byte) {
	if p.server[1] > 0 && p.server[1] < 65536 {
		p.rtcp.WriteToUDPAddrPort(b, netip.AddrPortFrom(p.peer[1], uint16(p.server[1])))
	}
}

// readUDP hands on what arrives at one socket of a track until it is closed.
// While packets wait for a missing one it wakes up to give that up in time.
func (s *session) readUDP(t *track, c *net.UDPConn, rtcp bool) {
	buf := make([]byte, 64<<10)
	timed := false
	for {
		n, from, err := c.ReadFromUDPAddrPort(buf)
		at := instant()
		if err != nil && !isTimeout(err) {
			if errors.Is(err, net.ErrClosed) {
				return
			}
			time.Sleep(10 * time.Millisecond) // an ICMP error of a device that restarts
			continue
		}
		if a := from.Addr().Unmap(); err == nil && a != t.ports.peer[0] && a != t.ports.peer[1] {
			continue // not from this device
		}
		s.mu.Lock()
		s.now = at
		switch {
		case err != nil:
			t.recv.tick(at.mono)
		case rtcp:
			t.control(buf[:n], at)
		default:
			t.packet(buf[:n], at)
		}
		s.extra.bytes += uint64(n)
		s.lastAny = at.mono
		waiting := len(t.recv.held) > 0
		s.account()
		s.mu.Unlock()
		switch {
		case rtcp:
		case waiting:
			_ = c.SetReadDeadline(time.Now().Add(patience / 2))
			timed = true
		case timed:
			_ = c.SetReadDeadline(time.Time{})
			timed = false
		}
	}
}
