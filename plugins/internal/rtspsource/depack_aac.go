package rtspsource

import (
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"
)

// aacDepack is RFC 3640 (mpeg4-generic) without interleaving: several whole
// frames a packet, or one frame over several.
type aacDepack struct {
	port
	size, index, delta int   // bits of the fields of an AU header; size 0 = no headers
	frame              int64 // ticks a frame

	buf  []byte // fragments of one frame
	want int    // size the headers gave it
	ts   uint32
	part bool // fragments are being gathered
	skip bool // until the marker: the beginning is lost
}

func (d *aacDepack) push(p *packet, lost bool, at stamp) {
	if lost || d.part && p.ts != d.ts {
		if d.part {
			d.discard()
		}
		d.part, d.skip = false, lost
	}
	sizes, data, ok := d.headers(p.payload)
	if !ok {
		d.part = false
		d.discard()
		return
	}
	if d.part || len(sizes) == 1 && (sizes[0] > len(data) || !p.marker) {
		d.fragment(p, sizes[0], data, at)
		return
	}
	d.skip = false
	for i, n := range sizes {
		if n > len(data) {
			d.discard()
			return
		}
		d.out(p.ts, int64(i)*d.frame, data[:n], at)
		data = data[n:]
	}
}

// fragment gathers one frame. The RFC writes the size of the whole frame in
// every fragment, some senders write that of the fragment.
func (d *aacDepack) fragment(p *packet, size int, data []byte, at stamp) {
	if !d.part {
		if d.skip { // a packet of a frame whose beginning may be missing
			if p.marker {
				d.skip = false
				d.discard()
			}
			return
		}
		d.part, d.ts, d.buf, d.want = true, p.ts, d.buf[:0], size
	}
	d.buf = append(d.buf, data...)
	if !p.marker && len(d.buf) < maxUnit {
		return
	}
	d.part = false
	if !p.marker || d.want > len(d.buf) {
		d.discard()
		return
	}
	d.out(p.ts, 0, d.buf, at)
}

// headers reads the AU header section.
func (d *aacDepack) headers(b []byte) (sizes []int, data []byte, ok bool) {
	if d.size == 0 {
		return []int{len(b)}, b, len(b) > 0
	}
	if len(b) < 2 {
		return nil, nil, false
	}
	bits := int(b[0])<<8 | int(b[1])
	b = b[2:]
	n := (bits + 7) / 8
	if bits == 0 || n > len(b) {
		return nil, nil, false
	}
	head := bitReader{b: b[:n]}
	for at := 0; bits-at >= d.size; {
		size := head.read(d.size)
		at += d.size
		skew := d.index
		if len(sizes) > 0 {
			skew = d.delta
		}
		if head.read(skew) != 0 { // interleaved: nobody does
			return nil, nil, false
		}
		at += skew
		sizes = append(sizes, size)
	}
	return sizes, b[n:], len(sizes) > 0
}

// out hands a frame over, without an ADTS header where a camera left one on.
func (d *aacDepack) out(ts uint32, offset int64, frame []byte, at stamp) {
	if len(frame) > 7 && frame[0] == 0xff && frame[1]&0xf6 == 0xf0 {
		n := int(frame[3]&3)<<11 | int(frame[4])<<3 | int(frame[5])>>5
		head := 7
		if frame[1]&1 == 0 {
			head = 9
		}
		if n == len(frame) && head < n {
			frame = frame[head:]
		}
	}
	if len(frame) > 0 {
		d.unit(piece{ts: ts, offset: offset, key: true, at: at, payload: clone(frame)})
	}
}

func (d *aacDepack) flush() { d.part = false }

type bitReader struct {
	b  []byte
	at int
}

func (r *bitReader) read(n int) (v int) {
	for ; n > 0; n-- {
		v <<= 1
		if i := r.at >> 3; i < len(r.b) {
			v |= int(r.b[i]>>(7-r.at&7)) & 1
		}
		r.at++
	}
	return v
}

// latmDepack is RFC 6416 (MP4A-LATM) with the configuration in the SDP.
type latmDepack struct {
	port
	config *mpeg4audio.StreamMuxConfig
	inBand bool // the configuration may also come with the frames
	frame  int64

	buf  []byte
	ts   uint32
	part bool
	skip bool
}

func (d *latmDepack) push(p *packet, lost bool, at stamp) {
	if lost || d.part && p.ts != d.ts {
		if d.part {
			d.discard()
		}
		d.part, d.skip = false, lost
	}
	if d.skip && !d.part {
		// The packet after a loss may be the rest of a frame. It is taken for
		// one only if it does not stand for itself.
		d.skip = false
		if !p.marker {
			d.skip = true
			return
		}
	}
	if !d.part {
		d.buf, d.ts, d.part = d.buf[:0], p.ts, true
	}
	d.buf = append(d.buf, p.payload...)
	if len(d.buf) > maxUnit {
		d.part = false
		d.discard()
		return
	}
	if !p.marker {
		return
	}
	d.part = false
	if !d.inBand {
		d.frames(p.ts, at)
		return
	}
	e := mpeg4audio.AudioMuxElement{MuxConfigPresent: d.inBand, StreamMuxConfig: d.config}
	if !decodes(func() error { return e.Unmarshal(d.buf) }) {
		d.discard()
		return
	}
	for i, sub := range e.Payloads {
		if len(sub) > 0 && len(sub[0]) > 0 && len(sub[0][0]) > 0 {
			d.unit(piece{ts: p.ts, offset: int64(i) * d.frame, key: true, at: at, payload: sub[0][0]})
		}
	}
}

// frames takes an AudioMuxElement without configuration apart: for each frame
// its length in bytes of 255 and a rest, and its bytes (ISO/IEC 14496-3 tables
// 1.41 and 1.44, for one program of one layer). What follows is other data.
func (d *latmDepack) frames(ts uint32, at stamp) {
	b := d.buf
	for i := range int64(d.config.NumSubFrames) + 1 {
		n, more := 0, true
		for more {
			if len(b) == 0 {
				d.discard()
				return
			}
			n += int(b[0])
			more = b[0] == 255
			b = b[1:]
		}
		if n > len(b) {
			d.discard()
			return
		}
		if n > 0 {
			d.unit(piece{ts: ts, offset: i * d.frame, key: true, at: at, payload: clone(b[:n])})
		}
		b = b[n:]
	}
}

func (d *latmDepack) flush() { d.part = false }
