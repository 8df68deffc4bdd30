package webrtc

import (
	"encoding/binary"

	"media-server/core/media"
)

// NAL unit types (ITU-T H.264 table 7-1; RFC 6184 table 1 from 24 on).
const (
	nalSlice, nalIDR, nalSPS, nalPPS, nalAUD, nalFiller = 1, 5, 7, 8, 9, 12
	nalSTAPA, nalFUA                                    = 24, 28
)

// maxPayload is the most an RTP packet carries: with 12 bytes of header, 16 of
// SRTP and 48 of UDP and IPv6 it fits into 1280, which every IPv6 link passes.
const maxPayload = 1188

// eachNAL calls f for the NAL units of a sample in MP4 form, and tells whether
// the sample was well-formed.
func eachNAL(p []byte, f func(nal []byte)) bool {
	for len(p) > 0 {
		if len(p) < 5 {
			return false
		}
		n := binary.BigEndian.Uint32(p)
		if n == 0 || uint64(n) > uint64(len(p)-4) {
			return false
		}
		f(p[4 : 4+n])
		p = p[4+n:]
	}
	return true
}

// cutter makes RTP payloads of access units. What it returns is valid until the
// next call; payloads that are whole NAL units alias the access unit.
type cutter struct {
	out [][]byte
	buf []byte
}

// h264 cuts an access unit. In front of a key frame stand the track's parameter
// sets, unless it brings its own: a player that joins has no others.
func (c *cutter) h264(t *media.Track, payload []byte, key bool) [][]byte {
	c.out = c.out[:0]
	// Headers of fragments are two bytes for each maxPayload-2 of data; the
	// buffer must not move while payloads point into it.
	need := len(payload) + len(t.SPS) + len(t.PPS) + 2*(len(payload)/(maxPayload-2)+64) + 16
	if cap(c.buf) < need {
		c.buf = make([]byte, 0, need+need/4)
	}
	c.buf = c.buf[:0]
	own := false
	if key {
		eachNAL(payload, func(n []byte) { own = own || n[0]&31 == nalSPS })
		if !own {
			c.sets(t.SPS, t.PPS)
		}
	}
	eachNAL(payload, func(n []byte) {
		if typ := n[0] & 31; typ != nalAUD && typ != nalFiller {
			c.nal(n)
		}
	})
	return c.out
}

// sets adds both parameter sets as one packet (RFC 6184 5.7.1).
func (c *cutter) sets(sps, pps []byte) {
	if len(sps) == 0 || len(pps) == 0 {
		return
	}
	if len(sps)+len(pps)+5 > maxPayload {
		c.nal(sps)
		c.nal(pps)
		return
	}
	at := len(c.buf)
	c.buf = append(c.buf, sps[0]&0x60|nalSTAPA)
	for _, n := range [][]byte{sps, pps} {
		c.buf = binary.BigEndian.AppendUint16(c.buf, uint16(len(n)))
		c.buf = append(c.buf, n...)
	}
	c.out = append(c.out, c.buf[at:])
}

// nal adds a NAL unit, in fragments where it must be (RFC 6184 5.8).
func (c *cutter) nal(n []byte) {
	if len(n) <= maxPayload {
		c.out = append(c.out, n)
		return
	}
	head, rest := n[0], n[1:]
	for first := true; len(rest) > 0; first = false {
		k := min(len(rest), maxPayload-2)
		fu := head & 31
		if first {
			fu |= 0x80
		}
		if k == len(rest) {
			fu |= 0x40
		}
		at := len(c.buf)
		c.buf = append(c.buf, head&0xe0|nalFUA, fu)
		c.buf = append(c.buf, rest[:k]...)
		c.out = append(c.out, c.buf[at:])
		rest = rest[k:]
	}
}

// hasB tells whether an access unit is a B picture, which players of WebRTC do
// not put into order: slice_type of its first slice (H.264 7.3.3, table 7-6).
func hasB(payload []byte) (b bool) {
	done := false
	eachNAL(payload, func(n []byte) {
		if typ := n[0] & 31; done || typ != nalSlice && typ != nalIDR {
			return
		}
		done = true
		r := bits{data: n[1:min(len(n), 16)]}
		r.ue() // first_mb_in_slice
		b = r.ue()%5 == 1
	})
	return b
}

// bits reads Exp-Golomb codes (H.264 9.1). The first bytes of a slice header
// hold no emulation prevention that matters: first_mb_in_slice of a first slice is 0.
type bits struct {
	data []byte
	at   int
}

func (r *bits) bit() uint32 {
	if r.at >= 8*len(r.data) {
		return 1
	}
	b := r.data[r.at/8] >> (7 - r.at%8) & 1
	r.at++
	return uint32(b)
}

func (r *bits) ue() uint32 {
	zeros := 0
	for r.bit() == 0 && zeros < 31 {
		zeros++
	}
	v := uint32(1)
	for range zeros {
		v = v<<1 | r.bit()
	}
	return v - 1
}
