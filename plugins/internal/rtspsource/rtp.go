package rtspsource

import "encoding/binary"

// packet is an RTP packet as it lies in a read buffer; payload is only valid
// during the call it is passed to.
type packet struct {
	pt      uint8
	marker  bool
	seq     uint16
	ts      uint32
	ssrc    uint32
	payload []byte
}

// parseRTP reads an RTP packet (RFC 3550 section 5.1) without copying.
func parseRTP(b []byte) (p packet, ok bool) {
	if len(b) < 12 || b[0]>>6 != 2 {
		return p, false
	}
	p.marker = b[1]&0x80 != 0
	p.pt = b[1] & 0x7f
	p.seq = binary.BigEndian.Uint16(b[2:])
	p.ts = binary.BigEndian.Uint32(b[4:])
	p.ssrc = binary.BigEndian.Uint32(b[8:])
	at := 12 + 4*int(b[0]&0x0f)
	if b[0]&0x10 != 0 { // extension
		if len(b) < at+4 {
			return p, false
		}
		at += 4 + 4*int(binary.BigEndian.Uint16(b[at+2:]))
	}
	end := len(b)
	if b[0]&0x20 != 0 { // padding
		end -= int(b[len(b)-1])
		if b[len(b)-1] == 0 {
			return p, false
		}
	}
	if at > end {
		return p, false
	}
	p.payload = b[at:end]
	return p, true
}
