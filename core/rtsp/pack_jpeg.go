package rtsp

import (
	"encoding/binary"

	"media-server/core/media"
)

// jpegImage is what RFC 2435 sends of a baseline JPEG.
type jpegImage struct {
	kind          uint8 // 0 = 4:2:2, 1 = 4:2:0
	width, height int   // pixels
	restart       int   // interval; 0 = none
	tables        [4][]byte
	used          [2]uint8 // tables of brightness and of colour
	scan          []byte   // entropy-coded, EOI included
}

// parseJPEG reads the headers of an image; false: RTP has no form of it (not
// baseline, other sampling than 4:2:2 and 4:2:0, wider or higher than 2040).
// Huffman tables other than those of the standard cannot be sent; that they are
// those is not checked, as cameras use no others.
func parseJPEG(b []byte) (j jpegImage, ok bool) {
	if len(b) < 4 || b[0] != 0xff || b[1] != 0xd8 {
		return j, false
	}
	for b = b[2:]; ; {
		for len(b) > 1 && b[0] == 0xff && b[1] == 0xff { // fill bytes
			b = b[1:]
		}
		if len(b) < 4 || b[0] != 0xff {
			return j, false
		}
		marker, n := b[1], int(binary.BigEndian.Uint16(b[2:]))
		if n < 2 || n+2 > len(b) {
			return j, false
		}
		seg := b[4 : n+2]
		b = b[n+2:]
		switch marker {
		case 0xdb:
			if !j.quantization(seg) {
				return j, false
			}
		case 0xc0, 0xc1:
			if !j.frame(seg) {
				return j, false
			}
		case 0xc2, 0xc3, 0xc5, 0xc6, 0xc7, 0xc9, 0xca, 0xcb, 0xcd, 0xce, 0xcf: // progressive, lossless, arithmetic
			return j, false
		case 0xdd:
			if len(seg) != 2 {
				return j, false
			}
			j.restart = int(binary.BigEndian.Uint16(seg))
		case 0xda:
			j.scan = b
			return j, j.width > 0 && len(b) > 0 && len(b) < 1<<24 && j.tables[j.used[0]] != nil && j.tables[j.used[1]] != nil
		}
	}
}

// quantization takes tables of 8 bits.
func (j *jpegImage) quantization(seg []byte) bool {
	for len(seg) > 0 {
		id := seg[0]
		if id > 3 || len(seg) < 65 {
			return false
		}
		j.tables[id] = seg[1:65]
		seg = seg[65:]
	}
	return true
}

// frame reads a start of frame: three components, of which only the first may be
// sampled more often.
func (j *jpegImage) frame(seg []byte) bool {
	if len(seg) != 15 || seg[0] != 8 || seg[5] != 3 {
		return false
	}
	j.height, j.width = int(binary.BigEndian.Uint16(seg[1:])), int(binary.BigEndian.Uint16(seg[3:]))
	switch seg[7] {
	case 0x21:
		j.kind = 0
	case 0x22:
		j.kind = 1
	default:
		return false
	}
	j.used = [2]uint8{seg[8] & 3, seg[11] & 3}
	return seg[10] == 0x11 && seg[13] == 0x11 && seg[11] == seg[14] && j.width > 0 && j.height > 0 && j.width <= 2040 && j.height <= 2040
}

// packJPEG sends an image (RFC 2435, 3.1), its tables in the first packet.
func packJPEG(s *sender, m *medium, f *media.Frame, ts uint32) {
	j, ok := parseJPEG(f.Payload)
	if !ok {
		m.left++
		return
	}
	var head [8 + 4 + 4 + 2*64]byte
	head[4], head[5] = j.kind, 255
	head[6], head[7] = uint8((j.width+7)/8), uint8((j.height+7)/8)
	fixed := 8
	if j.restart > 0 {
		head[4] |= 64
		binary.BigEndian.PutUint16(head[8:], uint16(j.restart))
		binary.BigEndian.PutUint16(head[10:], 0xffff) // F, L and count: fragments do not follow the intervals
		fixed = 12
	}
	n := fixed + 4
	for _, t := range j.used { // both, even if they are one: readers expect two
		n += copy(head[n:], j.tables[t])
	}
	binary.BigEndian.PutUint16(head[fixed+2:], uint16(n-fixed-4))
	for at := 0; at < len(j.scan); n = fixed {
		head[1], head[2], head[3] = byte(at>>16), byte(at>>8), byte(at)
		size := min(len(j.scan)-at, mtu-n)
		s.packet(m, at+size == len(j.scan), ts, head[:n], j.scan[at:at+size])
		at += size
	}
}
