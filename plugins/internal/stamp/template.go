package stamp

import (
	"bytes"
	"encoding/binary"
	"fmt"

	"media-server/core/media"
)

// UUID marks our user_data_unregistered SEI; FillUUID that which only makes a
// unit longer. Neither holds a zero byte (see the package's invariants).
var (
	UUID     = [16]byte{'m', 'e', 'd', 'i', 'a', '-', 's', 'e', 'r', 'v', 'e', 'r', 'M', 'S', 'L', '1'}
	FillUUID = [16]byte{'m', 'e', 'd', 'i', 'a', '-', 's', 'e', 'r', 'v', 'e', 'r', 'F', 'I', 'L', 'L'}
)

// opusPad is the fixed length of the padding that carries a token.
const opusPad = 120

// Template is a sample prepared for stamping: made once, used for every
// repetition. It refers to the sample's bytes, which must not change.
type Template struct {
	codec      media.Codec
	head, tail []byte
}

// Split prepares a sample in MP4 form (see media.AccessUnit).
func Split(codec media.Codec, sample []byte) (Template, error) {
	t := Template{codec: codec, tail: sample}
	switch codec {
	case media.H264, media.H265:
		n, err := firstSlice(codec, sample)
		if err != nil {
			return t, err
		}
		t.head, t.tail = sample[:n:n], sample[n:]
	case media.AAC, media.Metadata:
	case media.Opus:
		return splitOpus(sample)
	case media.PCMA, media.PCMU:
		if len(sample) < MaxLen {
			return t, fmt.Errorf("stamp: %d samples hold no token of up to %d", len(sample), MaxLen)
		}
	case media.MJPEG:
		n := len(sample) - 2
		if n < 2 || !bytes.Equal(sample[n:], []byte{0xff, 0xd9}) {
			return t, fmt.Errorf("stamp: JPEG does not end in EOI")
		}
		t.head, t.tail = sample[:n:n], sample[n:]
	default:
		return t, fmt.Errorf("stamp: no place for a token in %q", codec)
	}
	return t, nil
}

// Size is the length of the sample without token, for estimates.
func (t Template) Size() int { return len(t.head) + len(t.tail) }

// Append writes the stamped sample behind dst. For H.264 and H.265 it is
// lengthened by a second SEI to about size bytes (within 32), if it is shorter.
func (t Template) Append(dst []byte, tok Token, size int) []byte {
	start := len(dst)
	switch t.codec {
	case media.H264, media.H265:
		dst = append(dst, t.head...)
		dst = appendSEI(dst, t.codec, tok)
		if fill := size - (len(dst) - start) - len(t.tail); fill > 32 {
			dst = appendFill(dst, t.codec, fill)
		}
		return append(dst, t.tail...)
	case media.AAC:
		// data_stream_element (ISO/IEC 14496-3 4.4.2.7): id 100b, instance
		// 0000b, data_byte_align_flag 1b, count. Two bytes, so that what
		// follows stays byte-aligned and need not be shifted.
		dst = append(dst, 0x81, 0)
		n := len(dst)
		dst = tok.Append(dst)
		dst[n-1] = byte(len(dst) - n)
		return append(dst, t.tail...)
	case media.Opus:
		dst = append(dst, t.head...)
		n := len(dst)
		dst = tok.Append(dst)
		for len(dst) < n+opusPad {
			dst = append(dst, 0)
		}
		return dst
	case media.PCMA, media.PCMU:
		dst = tok.Append(dst)
		return append(dst, t.tail[len(dst)-start:]...)
	case media.Metadata:
		dst = append(dst, t.tail...)
		dst = append(dst, "<!--"...)
		dst = tok.Append(dst)
		return append(dst, "-->"...)
	}
	dst = append(dst, t.head...)
	dst = tok.Append(dst)
	return append(dst, t.tail...)
}

// firstSlice returns the offset of the first VCL NAL unit.
func firstSlice(codec media.Codec, s []byte) (int, error) {
	for at := 0; ; {
		if len(s)-at < 5 {
			return 0, fmt.Errorf("stamp: no slice in %s sample of %d bytes", codec, len(s))
		}
		n := int(binary.BigEndian.Uint32(s[at:]))
		if n < 1 || n > len(s)-at-4 {
			return 0, fmt.Errorf("stamp: NAL unit of %d bytes at %d of %d", n, at, len(s))
		}
		h := s[at+4]
		if codec == media.H264 && h&31 >= 1 && h&31 <= 5 || codec == media.H265 && h>>1&63 < 32 {
			return at, nil
		}
		at += 4 + n
	}
}

func appendSEI(dst []byte, codec media.Codec, tok Token) []byte {
	at := len(dst)
	dst = appendSEIHead(dst, codec)
	dst = append(dst, 5, 0) // user_data_unregistered, size below: < 255
	size := len(dst)
	dst = append(dst, UUID[:]...)
	dst = tok.Append(dst)
	dst[size-1] = byte(len(dst) - size)
	dst = append(dst, 0x80)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

// appendFill adds a SEI of about n bytes in all. Filler data NAL units would
// be the codec's own way, but ISO/IEC 14496-15 keeps them out of files.
func appendFill(dst []byte, codec media.Codec, n int) []byte {
	at := len(dst)
	dst = appendSEIHead(dst, codec)
	dst = append(dst, 5)
	size := n - (len(dst) - at) - 2 - n/255
	for rest := size; ; rest -= 255 {
		if rest < 255 {
			dst = append(dst, byte(rest))
			break
		}
		dst = append(dst, 255)
	}
	dst = append(dst, FillUUID[:]...)
	for left := size - len(FillUUID); left > 0; {
		k := min(left, len(filler))
		dst = append(dst, filler[:k]...)
		left -= k
	}
	dst = append(dst, 0x80)
	binary.BigEndian.PutUint32(dst[at:], uint32(len(dst)-at-4))
	return dst
}

var filler = bytes.Repeat([]byte{0xaa}, 4096)

func appendSEIHead(dst []byte, codec media.Codec) []byte {
	if codec == media.H264 {
		return append(dst, 0, 0, 0, 0, 0x06)
	}
	return append(dst, 0, 0, 0, 0, 39<<1, 1) // prefix SEI, layer 0, temporal id 0
}

// splitOpus turns a packet of one frame (code 0) into one of code 3 with room
// for a token in its padding.
func splitOpus(s []byte) (Template, error) {
	if len(s) < 2 || s[0]&3 != 0 {
		return Template{}, fmt.Errorf("stamp: Opus packet is not of code 0")
	}
	head := make([]byte, 0, len(s)+2)
	head = append(head, s[0]|3, 0x41, opusPad) // padding, one frame, CBR
	head = append(head, s[1:]...)
	return Template{codec: media.Opus, head: head}, nil
}
