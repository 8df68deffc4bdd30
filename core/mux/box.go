package mux

import "encoding/binary"

// boxes is a buffer to which boxes are appended. open reserves a box's size,
// shut fills it in.
type boxes []byte

func (b *boxes) u8(v byte)       { *b = append(*b, v) }
func (b *boxes) u16(v uint16)    { *b = binary.BigEndian.AppendUint16(*b, v) }
func (b *boxes) u32(v uint32)    { *b = binary.BigEndian.AppendUint32(*b, v) }
func (b *boxes) u64(v uint64)    { *b = binary.BigEndian.AppendUint64(*b, v) }
func (b *boxes) bytes(v ...byte) { *b = append(*b, v...) }
func (b *boxes) str(s string)    { *b = append(*b, s...) }

func (b *boxes) zeros(n int) {
	for range n {
		*b = append(*b, 0)
	}
}

func (b *boxes) open(kind string) int {
	at := len(*b)
	b.u32(0)
	b.str(kind)
	return at
}

// full opens a box with version and flags.
func (b *boxes) full(kind string, version byte, flags uint32) int {
	at := b.open(kind)
	b.u32(uint32(version)<<24 | flags)
	return at
}

func (b *boxes) shut(at int) { binary.BigEndian.PutUint32((*b)[at:], uint32(len(*b)-at)) }

// matrix is the unity matrix of mvhd and tkhd.
func (b *boxes) matrix() {
	for _, v := range [...]uint32{0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000} {
		b.u32(v)
	}
}
