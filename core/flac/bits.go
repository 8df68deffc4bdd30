package flac

import "encoding/binary"

// bitWriter appends bits to bytes, the most significant first.
type bitWriter struct {
	b    []byte
	acc  uint64 // the low n bits are not written yet
	bits uint   // < 32
}

// put appends the low n bits of v, n ≤ 32; what v has above them is cut off.
func (w *bitWriter) put(v uint32, n uint) {
	w.acc = w.acc<<n | uint64(v)&(1<<n-1)
	if w.bits += n; w.bits >= 32 {
		w.bits -= 32
		w.b = binary.BigEndian.AppendUint32(w.b, uint32(w.acc>>w.bits))
	}
}

// unary appends n zeros and a one.
func (w *bitWriter) unary(n uint32) {
	for ; n >= 32; n -= 32 {
		w.put(0, 32)
	}
	w.put(1, uint(n)+1)
}

// flush fills the last byte with zeros.
func (w *bitWriter) flush() {
	if r := w.bits % 8; r > 0 {
		w.put(0, 8-r)
	}
	for ; w.bits > 0; w.bits -= 8 {
		w.b = append(w.b, byte(w.acc>>(w.bits-8)))
	}
}

// Check sums of header (x⁸+x²+x+1) and frame (x¹⁶+x¹⁵+x²+1), RFC 9639 9.1.8, 9.3.
var (
	table8  = crcTable(8, 0x07)
	table16 = crcTable(16, 0x8005)
)

func crcTable(width uint, poly uint16) (t [256]uint16) {
	for i := range t {
		c := uint16(i) << (width - 8)
		for range 8 {
			top := c >> (width - 1) & 1
			c = c<<1 ^ top*poly
		}
		t[i] = c & (1<<width - 1)
	}
	return t
}

func crc8(b []byte) (c byte) {
	for _, x := range b {
		c = byte(table8[c^x])
	}
	return c
}

func crc16(b []byte) (c uint16) {
	for _, x := range b {
		c = c<<8 ^ table16[byte(c>>8)^x]
	}
	return c
}
