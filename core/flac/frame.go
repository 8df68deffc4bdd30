package flac

import "encoding/binary"

// MaxBlock is the most samples of a channel in one frame: what the streamable
// subset (RFC 9639 7) allows at 48 kHz and below, half a second of telephone sound.
const MaxBlock = 4096

// MaxRate and MaxChannels are what StreamInfo can say.
const (
	MaxRate     = 1<<20 - 1
	MaxChannels = 8
)

// Encoder makes frames of one stream. Not safe for concurrent use; it keeps its
// buffers.
type Encoder struct {
	Rate     int // Hz, 1 to MaxRate
	Channels int // 1 to MaxChannels

	w        bitWriter
	block    []int32
	residual [5][]int32
}

// Append appends one frame of interleaved samples to dst: len(samples) is a
// multiple of Channels, between one and MaxBlock samples each. number is that of
// the first sample in the stream, of which 36 bits are kept.
func (e *Encoder) Append(dst []byte, samples []int32, number uint64) []byte {
	n := len(samples) / e.Channels
	at := len(dst)
	dst = e.header(dst, n, number)
	e.w = bitWriter{b: dst}
	for c := range e.Channels {
		block := samples
		if e.Channels > 1 {
			e.block = e.block[:0]
			for i := c; i < n*e.Channels; i += e.Channels {
				e.block = append(e.block, samples[i])
			}
			block = e.block
		}
		e.subframe(block[:n])
	}
	e.w.flush()
	dst = e.w.b
	return binary.BigEndian.AppendUint16(dst, crc16(dst[at:]))
}

// rates that a header names by four bits (RFC 9639 table 15).
var rates = map[int]byte{88200: 1, 176400: 2, 192000: 3, 8000: 4, 16000: 5, 22050: 6, 24000: 7, 32000: 8, 44100: 9, 48000: 10, 96000: 11}

// header is RFC 9639 9.1.
func (e *Encoder) header(b []byte, n int, number uint64) []byte {
	at := len(b)
	rate, named := rates[e.Rate]
	if hz := !named && e.Rate <= 0xffff; hz {
		rate = 13 // 16 bits of Hz follow
	}
	size := byte(7) // 16 bits of block size follow
	if n <= 256 {
		size = 6
	}
	b = append(b, 0xff, 0xf9, size<<4|rate, byte(e.Channels-1)<<4|4<<1) // variable block size; 16 bits a sample
	b = appendNumber(b, number&(1<<36-1))
	if n <= 256 {
		b = append(b, byte(n-1))
	} else {
		b = binary.BigEndian.AppendUint16(b, uint16(n-1))
	}
	if rate == 13 {
		b = binary.BigEndian.AppendUint16(b, uint16(e.Rate))
	}
	return append(b, crc8(b[at:]))
}

// appendNumber writes up to 36 bits as UTF-8 once wrote 31 (RFC 9639 9.1.5).
func appendNumber(b []byte, v uint64) []byte {
	if v < 0x80 {
		return append(b, byte(v))
	}
	more := 1
	for v >= 1<<(5*more+6) {
		more++
	}
	b = append(b, byte(0xff<<(7-more))|byte(v>>(6*more)))
	for i := more - 1; i >= 0; i-- {
		b = append(b, 0x80|byte(v>>(6*i))&0x3f)
	}
	return b
}

// StreamInfo is the metadata block of that type, without its header (RFC 9639
// 8.2): 34 bytes for the dfLa box. What is not known of a stream that goes on
// for ever (frame sizes, length, MD5) is 0, as the clause allows.
func StreamInfo(rate, channels int) []byte {
	b := binary.BigEndian.AppendUint16(nil, 16)
	b = binary.BigEndian.AppendUint16(b, MaxBlock)
	b = append(b, make([]byte, 6)...)
	b = binary.BigEndian.AppendUint64(b, uint64(rate&0xfffff)<<44|uint64(channels-1)<<41|15<<36)
	return append(b, make([]byte, 16)...)
}
