package rtsp

import (
	"encoding/binary"

	"media-server/core/media"
)

// mtu is the most that a packet carries behind its RTP header and extension.
const mtu = 1400

// NAL unit types that matter here.
const (
	h264SPS, h264PPS, h264AUD, h264Filler            = 7, 8, 9, 12
	h264FUA                                          = 28
	h265VPS, h265SPS, h265PPS, h265AUD, h265FD       = 32, 33, 34, 35, 38
	h265FU                                           = 49
	naluLength                                       = 4
	fuStart, fuEnd                             uint8 = 0x80, 0x40
)

// nextNAL cuts the first NAL unit off a sample in MP4 form; nil = there is none,
// or what is there is not whole.
func nextNAL(b []byte) (nal, rest []byte) {
	for len(b) > naluLength {
		n := int(binary.BigEndian.Uint32(b))
		if n > len(b)-naluLength {
			return nil, nil
		}
		nal, b = b[naluLength:naluLength+n], b[naluLength+n:]
		if n > 0 {
			return nal, b
		}
	}
	return nil, nil
}

// nalWriter sends the NAL units of one picture. It holds one back, because the
// last packet bears the marker.
type nalWriter struct {
	s    *sender
	m    *medium
	ts   uint32
	head int // bytes of a NAL unit's header
	held []byte
}

func (w *nalWriter) put(nal []byte) {
	if w.held != nil {
		w.send(w.held, false)
	}
	w.held = nal
}

func (w *nalWriter) end() {
	if w.held != nil {
		w.send(w.held, true)
		w.held = nil
	}
}

// send sends a NAL unit as it is, or in fragments (RFC 6184, 5.8; RFC 7798, 4.4.3).
func (w *nalWriter) send(nal []byte, last bool) {
	if len(nal) <= mtu {
		w.s.packet(w.m, last, w.ts, nil, nal)
		return
	}
	var fu [3]byte
	var typ uint8
	if w.head == 1 {
		fu[0] = nal[0]&0xe0 | h264FUA
		typ = nal[0] & 0x1f
	} else {
		fu[0] = nal[0]&0x81 | h265FU<<1
		fu[1] = nal[1]
		typ = nal[0] >> 1 & 0x3f
	}
	flag := fuStart
	for rest := nal[w.head:]; len(rest) > 0; flag = 0 {
		n := min(len(rest), mtu-w.head-1)
		if n == len(rest) {
			flag |= fuEnd
		}
		fu[w.head] = flag | typ
		w.s.packet(w.m, last && n == len(rest), w.ts, fu[:w.head+1], rest[:n])
		rest = rest[n:]
	}
}

func packH264(s *sender, m *medium, f *media.Frame, ts uint32) {
	w := nalWriter{s: s, m: m, ts: ts, head: 1}
	has := false
	for nal, rest := nextNAL(f.Payload); nal != nil; nal, rest = nextNAL(rest) {
		has = has || nal[0]&0x1f == h264SPS
	}
	if t := f.Of(); f.Key && !has && t != nil { // who comes in the middle finds them only here
		w.put(t.SPS)
		w.put(t.PPS)
	}
	for nal, rest := nextNAL(f.Payload); nal != nil; nal, rest = nextNAL(rest) {
		if typ := nal[0] & 0x1f; typ != h264AUD && typ != h264Filler {
			w.put(nal)
		}
	}
	w.end()
}

func packH265(s *sender, m *medium, f *media.Frame, ts uint32) {
	w := nalWriter{s: s, m: m, ts: ts, head: 2}
	has := false
	for nal, rest := nextNAL(f.Payload); nal != nil; nal, rest = nextNAL(rest) {
		has = has || nal[0]>>1&0x3f == h265SPS
	}
	if t := f.Of(); f.Key && !has && t != nil {
		w.put(t.VPS)
		w.put(t.SPS)
		w.put(t.PPS)
	}
	for nal, rest := nextNAL(f.Payload); nal != nil; nal, rest = nextNAL(rest) {
		if typ := nal[0] >> 1 & 0x3f; len(nal) >= 2 && typ != h265AUD && typ != h265FD {
			w.put(nal)
		}
	}
	w.end()
}

// packAAC sends one access unit: an AU header section of one header (RFC 3640,
// 3.2.1 and 3.3.6), repeated in each fragment.
func packAAC(s *sender, m *medium, f *media.Frame, ts uint32) {
	if len(f.Payload) >= 1<<13 { // its size does not fit in 13 bits
		return
	}
	head := [4]byte{0, 16, byte(len(f.Payload) >> 5), byte(len(f.Payload) << 3)}
	for b := f.Payload; len(b) > 0; {
		n := min(len(b), mtu-len(head))
		s.packet(m, n == len(b), ts, head[:], b[:n])
		b = b[n:]
	}
}

// packWhole sends a frame as one packet: Opus has no fragments, and no packet is
// longer than 1275 bytes a frame, of which there are few.
func packWhole(s *sender, m *medium, f *media.Frame, ts uint32) {
	if n := len(f.Payload); n > 0 && n <= maxPacket {
		s.packet(m, f.Break, ts, nil, f.Payload)
	}
}

// packSamples sends G.711: each byte is a sample of a channel, and a packet begins
// where the time of its first one is. The marker says that silence was before.
func packSamples(s *sender, m *medium, f *media.Frame, ts uint32) {
	step := mtu / max(m.track.Channels, 1) * max(m.track.Channels, 1)
	mark := f.Break
	for b := f.Payload; len(b) > 0; mark = false {
		n := min(len(b), step)
		s.packet(m, mark, ts, nil, b[:n])
		b = b[n:]
		ts += uint32(n / max(m.track.Channels, 1))
	}
}

// packDocument sends an XML document; the marker ends it.
func packDocument(s *sender, m *medium, f *media.Frame, ts uint32) {
	for b := f.Payload; len(b) > 0; {
		n := min(len(b), mtu)
		s.packet(m, n == len(b), ts, nil, b[:n])
		b = b[n:]
	}
}
