package flac

import (
	"errors"
	"fmt"
)

// decode reads one frame as RFC 9639 describes it, written from its text alone
// and knowing nothing of the encoder.
func decode(b []byte) (samples []int32, channels int, number uint64, rest []byte, err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("%v", r)
		}
	}()
	if b[0] != 0xff || b[1] != 0xf9 {
		return nil, 0, 0, nil, errors.New("no frame of variable block size")
	}
	r := &reader{b: b, at: 16}
	size, rate := r.get(4), r.get(4)
	channels = int(r.get(4)) + 1
	if r.get(3) != 4 || r.get(1) != 0 || channels > 8 {
		return nil, 0, 0, nil, errors.New("not 16 bits a sample, or joined channels")
	}
	first := r.get(8)
	more := 0
	for first<<more&0x80 != 0 {
		more++
	}
	number = uint64(first)
	if more > 0 {
		number &= 0x7f >> more
		for range more - 1 {
			number = number<<6 | uint64(r.get(8)&0x3f)
		}
	}
	var n int
	switch size {
	case 6:
		n = int(r.get(8)) + 1
	case 7:
		n = int(r.get(16)) + 1
	default:
		return nil, 0, 0, nil, fmt.Errorf("block size code %d", size)
	}
	if rate == 13 {
		r.get(16)
	}
	if at := r.at / 8; byte(r.get(8)) != slowCRC8(b[:at]) {
		return nil, 0, 0, nil, errors.New("header check sum")
	}
	samples = make([]int32, n*channels)
	for c := range channels {
		for i, v := range r.subframe(n) {
			samples[i*channels+c] = v
		}
	}
	r.at = (r.at + 7) / 8 * 8
	if at := r.at / 8; uint16(r.get(16)) != slowCRC16(b[:at]) {
		return nil, 0, 0, nil, errors.New("frame check sum")
	}
	return samples, channels, number, b[r.at/8:], nil
}

type reader struct {
	b  []byte
	at int
}

func (r *reader) get(n int) (v uint32) {
	for range n {
		v = v<<1 | uint32(r.b[r.at/8]>>(7-r.at%8)&1)
		r.at++
	}
	return v
}

func (r *reader) signed(n int) int32 { return int32(r.get(n)<<(32-n)) >> (32 - n) }

func (r *reader) subframe(n int) []int32 {
	if r.get(1) != 0 {
		panic("padding bit")
	}
	kind, wasted := r.get(6), 0
	if r.get(1) == 1 {
		wasted = 1
		for r.get(1) == 0 {
			wasted++
		}
	}
	out := make([]int32, 0, n)
	width := 16 - wasted
	switch {
	case kind == 0:
		v := r.signed(width)
		for range n {
			out = append(out, v)
		}
	case kind == 1:
		for range n {
			out = append(out, r.signed(width))
		}
	case kind >= 8 && kind <= 12:
		out = r.fixed(n, int(kind-8), width)
	default:
		panic(fmt.Sprintf("subframe type %d", kind))
	}
	for i := range out {
		out[i] <<= wasted
	}
	return out
}

func (r *reader) fixed(n, order, width int) (out []int32) {
	for range order {
		out = append(out, r.signed(width))
	}
	if r.get(2) != 0 {
		panic("coding method")
	}
	p := int(r.get(4))
	for i := range 1 << p {
		count := n >> p
		if i == 0 {
			count -= order
		}
		k := int(r.get(4))
		if k == 15 {
			panic("escape")
		}
		for range count {
			q := uint32(0)
			for r.get(1) == 0 {
				q++
			}
			z := q<<k | r.get(k)
			v := int32(z>>1) ^ -int32(z&1)
			x := func(i int) int32 { return out[len(out)-i] }
			switch order {
			case 1:
				v += x(1)
			case 2:
				v += 2*x(1) - x(2)
			case 3:
				v += 3*x(1) - 3*x(2) + x(3)
			case 4:
				v += 4*x(1) - 6*x(2) + 4*x(3) - x(4)
			}
			out = append(out, v)
		}
	}
	return out
}

func slowCRC8(b []byte) (c byte) {
	for _, x := range b {
		c ^= x
		for range 8 {
			if c&0x80 != 0 {
				c = c<<1 ^ 0x07
			} else {
				c <<= 1
			}
		}
	}
	return c
}

func slowCRC16(b []byte) (c uint16) {
	for _, x := range b {
		c ^= uint16(x) << 8
		for range 8 {
			if c&0x8000 != 0 {
				c = c<<1 ^ 0x8005
			} else {
				c <<= 1
			}
		}
	}
	return c
}
