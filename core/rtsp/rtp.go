package rtsp

import (
	"encoding/binary"
	"net"
	"net/netip"
	"time"

	"media-server/core/media"
)

// maxPacket bounds an RTP packet that cannot be cut.
const maxPacket = 8 << 10

// medium is one track as a session sends it.
type medium struct {
	track   media.Track
	control int // trackID
	c       coding
	ssrc    uint32
	seq     uint16
	offset  uint32 // added to each RTP time

	tcp      bool
	channels [2]uint8
	to       [2]netip.AddrPort // RTP and RTCP of the client

	packets, octets uint32    // of sender reports
	reported        time.Time // when the last report went out
	left            uint64    // frames that have no form in RTP
	broken          bool      // its next frame does not follow the one before
}

// clockTime is an instant of the server's clock in RTP time.
func (m *medium) clockTime(w media.Wall) uint32 {
	return uint32(media.Rescale(int64(w), int64(m.c.clock), int64(time.Second))) + m.offset
}

// sender makes packets. Those over TCP gather in buf until flush; those over UDP
// go at once. One goroutine uses it.
type sender struct {
	buf   []byte
	udp   [2]*net.UDPConn
	write func([]byte) error // TCP
	err   error              // of write

	ext   [extSize]byte
	extOn bool // the next packet bears ext
	sent  int  // bytes since the last pause, UDP
	total int64
}

const (
	rtpHead  = 12
	extSize  = 16 // of the ONVIF extension with its header
	gather   = 64 << 10
	udpBurst = 48 << 10 // bytes of a big picture that go without a pause
	udpPause = time.Millisecond
	tcpHead  = 4
)

// packet adds a packet of head and body.
func (s *sender) packet(m *medium, marker bool, ts uint32, head, body []byte) {
	n := rtpHead + len(head) + len(body)
	if s.extOn {
		n += extSize
	}
	b := s.open(m, m.channels[0], n)
	first := byte(0x80)
	if s.extOn {
		first |= 0x10
	}
	pt := m.c.pt
	if marker {
		pt |= 0x80
	}
	b = append(b, first, pt)
	b = binary.BigEndian.AppendUint16(b, m.seq)
	b = binary.BigEndian.AppendUint32(b, ts)
	b = binary.BigEndian.AppendUint32(b, m.ssrc)
	if s.extOn {
		b = append(b, s.ext[:]...)
		s.extOn = false
	}
	b = append(b, head...)
	b = append(b, body...)
	m.seq++
	m.packets++
	m.octets += uint32(len(head) + len(body))
	s.close(m, b, 0)
}

// open begins a packet of n bytes.
func (s *sender) open(m *medium, channel uint8, n int) []byte {
	if !m.tcp {
		return s.buf[:0]
	}
	if len(s.buf) > 0 && len(s.buf)+tcpHead+n > gather {
		s.flush()
	}
	return append(s.buf, '$', channel, byte(n>>8), byte(n))
}

// close ends a packet; part is 0 for RTP, 1 for RTCP.
func (s *sender) close(m *medium, b []byte, part int) {
	if m.tcp {
		s.buf = b
		return
	}
	s.total += int64(len(b))
	// A datagram that cannot be sent is lost like one on the way.
	_, _ = s.udp[part].WriteToUDPAddrPort(b, m.to[part])
	s.buf = b[:0]
	if s.sent += len(b); s.sent >= udpBurst { // or it overflows the client's socket
		s.sent = 0
		time.Sleep(udpPause)
	}
}

// flush sends what has gathered.
func (s *sender) flush() {
	if len(s.buf) == 0 || s.err != nil {
		s.buf = s.buf[:0]
		return
	}
	s.err = s.write(s.buf)
	s.total += int64(len(s.buf))
	s.buf = s.buf[:0]
}

// onvif prepares the header extension of the next packet (ONVIF Streaming
// Specification, 6.3).
func (s *sender) onvif(at media.Wall, clean, end, discontinuity, terminal bool, cseq uint8) {
	e := s.ext[:0]
	e = binary.BigEndian.AppendUint16(e, 0xabac)
	e = binary.BigEndian.AppendUint16(e, 3)
	e = binary.BigEndian.AppendUint64(e, ntpTime(at))
	var flags byte
	for i, on := range [...]bool{clean, end, discontinuity, terminal} {
		if on {
			flags |= 0x80 >> i
		}
	}
	_ = append(e, flags, cseq, 0, 0)
	s.extOn = true
}

// ntpTime is a time since 1900 in 32.32 bits (RFC 3550, 4), rounded to nearest.
func ntpTime(w media.Wall) uint64 {
	const since1900 = 2208988800
	sec, ns := int64(w)/int64(time.Second), int64(w)%int64(time.Second)
	return uint64(sec+since1900)<<32 + (uint64(ns)<<32+uint64(time.Second)/2)/uint64(time.Second)
}

// RTCP packet types (RFC 3550, 12.1).
const (
	rtcpSR   = 200
	rtcpSDES = 202
	rtcpBYE  = 203
)

const cname = "media-server"

// report sends a sender report: instant at of the server's clock is RTP time ts.
// With bye the source says that it ends.
func (s *sender) report(m *medium, at media.Wall, ts uint32, bye bool) {
	const sdes = 4 + 4 + 2 + len(cname) + 2 // CNAME, an end, padded to words
	const words = sdes/4 - 1
	n := 28 + sdes
	if bye {
		n += 8
	}
	b := s.open(m, m.channels[1], n)
	b = append(b, 0x80, rtcpSR, 0, 6)
	b = binary.BigEndian.AppendUint32(b, m.ssrc)
	b = binary.BigEndian.AppendUint64(b, ntpTime(at))
	b = binary.BigEndian.AppendUint32(b, ts)
	b = binary.BigEndian.AppendUint32(b, m.packets)
	b = binary.BigEndian.AppendUint32(b, m.octets)
	b = append(b, 0x81, rtcpSDES, 0, byte(words))
	b = binary.BigEndian.AppendUint32(b, m.ssrc)
	b = append(b, 1, byte(len(cname)))
	b = append(b, cname...)
	b = append(b, 0, 0)
	if bye {
		b = append(b, 0x81, rtcpBYE, 0, 1)
		b = binary.BigEndian.AppendUint32(b, m.ssrc)
	}
	s.close(m, b, 1)
	m.reported = time.Now()
}
