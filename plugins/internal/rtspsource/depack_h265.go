package rtspsource

import (
	"encoding/binary"
)

func codecH265() nalCodec {
	return nalCodec{
		header:  2,
		kind:    func(n []byte) uint8 { return n[0] >> 1 & 0x3f },
		picture: func(k uint8) bool { return k < 32 },
		key:     func(k uint8) bool { return k >= 16 && k <= 21 }, // BLA, IDR, CRA
		// 35 delimiter, 36 and 37 ends, 38 filler; 48 and up belong to RTP
		drop:  func(k uint8) bool { return k >= 35 && k <= 38 || k >= 48 },
		first: func(n []byte) bool { return len(n) < 3 || n[2]&0x80 != 0 }, // first_slice_segment_in_pic_flag
		sps:   func(k uint8) bool { return k == 33 },
		depth: depthH265,
	}
}

// h265Depack is RFC 7798 without decoding order numbers: single NAL units,
// aggregation packets and fragmentation units.
type h265Depack struct{ pictures }

func newH265(out port, order *decodeOrder) *h265Depack {
	return &h265Depack{newPictures(out, codecH265(), order)}
}

func (d *h265Depack) push(p *packet, lost bool, at stamp) {
	b := p.payload
	if len(b) == 0 {
		return
	}
	d.begin(p, lost, at)
	switch typ := b[0] >> 1 & 0x3f; {
	case len(b) < 2:
		d.open, d.damaged = true, true
	case typ == 48:
		if !d.aggregate(b[2:]) {
			d.open, d.damaged = true, true
		}
	case typ == 49:
		d.fragment(b)
	case typ == 50:
		d.open, d.damaged = true, true // PACI: seen nowhere
	default:
		d.whole(b)
	}
	d.end(p)
}

func (d *h265Depack) aggregate(b []byte) bool {
	for len(b) > 0 {
		if len(b) < 2 {
			return allZero(b)
		}
		n := int(binary.BigEndian.Uint16(b))
		if n == 0 {
			return allZero(b)
		}
		if n > len(b)-2 {
			return false
		}
		d.whole(b[2 : 2+n])
		b = b[2+n:]
	}
	return true
}

func (d *h265Depack) fragment(b []byte) {
	if len(b) < 3 {
		d.open, d.damaged = true, true
		return
	}
	start, end := b[2]&0x80 != 0, b[2]&0x40 != 0
	switch {
	case start:
		d.skip = false
		d.start([]byte{b[0]&0x81 | b[2]&0x3f<<1, b[1]})
		d.more(b[3:])
	case d.nal >= 0:
		d.more(b[3:])
	default:
		if !d.skip {
			d.skip, d.open, d.damaged = true, true, true
		}
	}
	if end && d.nal >= 0 {
		d.complete()
	}
}
