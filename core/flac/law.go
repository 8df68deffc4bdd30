package flac

// Law is a companding law of G.711: the 16-bit sample of each byte.
type Law [256]int16

// The two laws. The 14 bits of µ-law and the 13 of A-law stand at the upper end
// of 16, as everybody has it.
var (
	ULaw = law(ulaw) // ITU-T G.711 table 2
	ALaw = law(alaw) // ITU-T G.711 table 1
)

func law(of func(byte) int16) *Law {
	var l Law
	for i := range l {
		l[i] = of(byte(i))
	}
	return &l
}

func ulaw(b byte) int16 {
	b = ^b
	v := (int16(b&0x0f)<<3+0x84)<<(b>>4&7) - 0x84
	if b&0x80 != 0 {
		return -v
	}
	return v
}

func alaw(b byte) int16 {
	b ^= 0x55
	v := int16(b&0x0f)<<4 + 8
	if e := b >> 4 & 7; e > 0 {
		v = (v + 0x100) << (e - 1)
	}
	if b&0x80 == 0 {
		return -v
	}
	return v
}

// Expand appends the samples of b to dst.
func (l *Law) Expand(dst []int32, b []byte) []int32 {
	for _, c := range b {
		dst = append(dst, int32(l[c]))
	}
	return dst
}
