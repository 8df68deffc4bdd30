package rtspsource

import (
	"encoding/binary"
)

// ueSmall reads the first Exp-Golomb numbers of a slice header from its first
// bytes; ok = false when they do not fit.
func ueSmall(b []byte, n int) (v uint32, ok bool) {
	var bits uint64
	have := 0
	zeros := 0
	for i := 0; i < len(b) && have <= 48; i++ {
		if zeros >= 2 && b[i] == 3 { // emulation prevention
			zeros = 0
			continue
		}
		if b[i] == 0 {
			zeros++
		} else {
			zeros = 0
		}
		bits = bits<<8 | uint64(b[i])
		have += 8
	}
	bits <<= 64 - have
	for ; n > 0; n-- {
		lead := 0
		for lead < 31 && lead < have && bits&(1<<63) == 0 {
			bits <<= 1
			lead++
		}
		if have -= 2*lead + 1; have < 0 {
			return 0, false
		}
		v = uint32(bits>>(63-lead)) - 1
		bits <<= lead + 1
	}
	return v, true
}

func codecH264() nalCodec {
	return nalCodec{
		header:  1,
		kind:    func(n []byte) uint8 { return n[0] & 0x1f },
		picture: func(k uint8) bool { return k >= 1 && k <= 5 },
		key:     func(k uint8) bool { return k == 5 },
		// 0 and 24…31 have no meaning in a file; 9 delimiter, 10 and 11 ends, 12 filler
		drop:  func(k uint8) bool { return k == 0 || k >= 9 && k <= 12 || k >= 24 },
		first: func(n []byte) bool { return len(n) < 2 || n[1]&0x80 != 0 }, // first_mb_in_slice = 0
		sps:   func(k uint8) bool { return k == 7 },
		depth: depthH264,
		intra: func(n []byte) bool { // slice_type 2, 4, 7, 9
			t, ok := ueSmall(n[1:], 2)
			return ok && (t == 2 || t == 4 || t == 7 || t == 9)
		},
		recover: recoveryPoint,
	}
}

// recoveryPoint finds a recovery point SEI message with recovery_frame_cnt 0:
// with I slices alone it is as good as an IDR for cameras that never send one.
func recoveryPoint(n []byte) bool {
	if n[0]&0x1f != 6 {
		return false
	}
	n = n[1:]
	for len(n) > 2 {
		typ, size := 0, 0
		for len(n) > 0 && n[0] == 0xff {
			typ += 255
			n = n[1:]
		}
		if len(n) < 2 {
			return false
		}
		typ += int(n[0])
		n = n[1:]
		for len(n) > 0 && n[0] == 0xff {
			size += 255
			n = n[1:]
		}
		if len(n) < 1 {
			return false
		}
		size += int(n[0])
		n = n[1:]
		if typ == 6 {
			return len(n) > 0 && n[0]&0x80 != 0
		}
		if size > len(n) {
			return false
		}
		n = n[size:]
	}
	return false
}

// h264Depack is RFC 6184: single NAL units, STAP-A and FU-A, which is all of
// packetisation modes 0 and 1.
type h264Depack struct{ pictures }

func newH264(out port, order *decodeOrder) *h264Depack {
	return &h264Depack{newPictures(out, codecH264(), order)}
}

func (d *h264Depack) push(p *packet, lost bool, at stamp) {
	b := p.payload
	if len(b) == 0 {
		return // sent by some to keep a firewall open
	}
	d.begin(p, lost, at)
	switch typ := b[0] & 0x1f; {
	case typ == 24:
		if !d.aggregate(b[1:]) {
			d.open, d.damaged = true, true
		}
	case typ == 28:
		d.fragment(b)
	case typ >= 25 && typ <= 29:
		d.open, d.damaged = true, true // interleaved mode, which nobody asked for
	default:
		d.whole(b)
	}
	d.end(p)
}

func (d *h264Depack) aggregate(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 {
			return allZero(b)
		}
		n := int(binary.BigEndian.Uint16(b))
		if n == 0 {
			return allZero(b) // padding
		}
		if n > len(b)-2 {
			return false
		}
		d.whole(b[2 : 2+n])
		b = b[2+n:]
	}
	return true
}

func (d *h264Depack) fragment(b []byte) {
	if len(b) < 2 {
		d.open, d.damaged = true, true
		return
	}
	start, end := b[1]&0x80 != 0, b[1]&0x40 != 0
	switch {
	case start:
		d.skip = false
		d.start([]byte{b[0]&0xe0 | b[1]&0x1f})
		d.more(b[2:])
	case d.nal >= 0:
		d.more(b[2:])
	default: // its start is lost
		if !d.skip {
			d.skip, d.open, d.damaged = true, true, true
		}
	}
	if end && d.nal >= 0 {
		d.complete()
	}
}

func allZero(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
