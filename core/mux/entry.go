package mux

import (
	"fmt"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"

	"media-server/core/media"
)

// sampleEntry appends the stsd entry of a track (ISO/IEC 14496-12 8.5.2).
func (b *boxes) sampleEntry(t *media.Track) error {
	if !t.Ready() || t.Timescale == 0 {
		return fmt.Errorf("track %d (%s): parameters are missing", t.ID, t.Codec)
	}
	switch t.Codec {
	case media.H264:
		if len(t.SPS) < 4 {
			return fmt.Errorf("track %d: H.264 sequence parameter set of %d bytes is too short", t.ID, len(t.SPS))
		}
		at := b.visual("avc1", t)
		b.avcC(t)
		b.shut(at)
	case media.H265:
		at := b.visual("hvc1", t)
		if err := b.hvcC(t); err != nil {
			return err
		}
		b.shut(at)
	case media.MJPEG:
		at := b.visual("mp4v", t)
		b.esds(0x6c, 0x11, nil) // ISO/IEC 10918-1, visual stream
		b.shut(at)
	case media.AAC:
		at := b.audio("mp4a", t)
		b.esds(0x40, 0x15, t.Config)
		b.shut(at)
	case media.Opus:
		at := b.audio("Opus", t)
		b.dOps(t)
		b.shut(at)
	case media.PCMA:
		b.shut(b.audio("alaw", t))
	case media.PCMU:
		b.shut(b.audio("ulaw", t))
	case media.Metadata:
		at := b.open("metx")
		b.zeros(6)
		b.u16(1)
		b.str("\x00http://www.onvif.org/ver10/schema\x00\x00") // encoding, namespace, schema location
		b.shut(at)
	default:
		return fmt.Errorf("track %d: codec %q cannot be stored", t.ID, t.Codec)
	}
	return nil
}

func (b *boxes) visual(kind string, t *media.Track) int {
	at := b.open(kind)
	b.zeros(6)
	b.u16(1)
	b.zeros(16)
	b.u16(uint16(t.Width))
	b.u16(uint16(t.Height))
	b.u32(72 << 16)
	b.u32(72 << 16)
	b.u32(0)
	b.u16(1)
	b.zeros(32)
	b.u16(24)
	b.u16(0xffff)
	return at
}

func (b *boxes) audio(kind string, t *media.Track) int {
	at := b.open(kind)
	b.zeros(6)
	b.u16(1)
	b.zeros(8)
	b.u16(uint16(max(t.Channels, 1)))
	b.u16(16)
	b.u32(0)
	rate := t.SampleRate
	if rate <= 0 || rate > 0xffff { // 16.16 cannot say more than 65535; decoders read the config
		rate = 0
	}
	b.u32(uint32(rate) << 16)
	return at
}

// avcC is ISO/IEC 14496-15 5.3.3.1.
func (b *boxes) avcC(t *media.Track) {
	at := b.open("avcC")
	b.bytes(1, t.SPS[1], t.SPS[2], t.SPS[3], 0xff, 0xe1)
	b.u16(uint16(len(t.SPS)))
	b.bytes(t.SPS...)
	b.u8(1)
	b.u16(uint16(len(t.PPS)))
	b.bytes(t.PPS...)
	switch t.SPS[1] {
	case 100, 110, 122, 144, 244:
		s := h264.SPS{ChromaFormatIdc: 1}
		_ = s.Unmarshal(t.SPS) // 4:2:0, 8 bit where it cannot be read
		b.bytes(0xfc|byte(s.ChromaFormatIdc)&3, 0xf8|byte(s.BitDepthLumaMinus8)&7, 0xf8|byte(s.BitDepthChromaMinus8)&7, 0)
	}
	b.shut(at)
}

// hvcC is ISO/IEC 14496-15 8.3.3.1.
func (b *boxes) hvcC(t *media.Track) error {
	p, ok := profileTierLevel(t.SPS)
	if !ok {
		return fmt.Errorf("track %d: H.265 sequence parameter set of %d bytes is too short", t.ID, len(t.SPS))
	}
	s := h265.SPS{ChromaFormatIdc: 1, TemporalIDNestingFlag: true}
	_ = s.Unmarshal(t.SPS)
	at := b.open("hvcC")
	b.u8(1)
	b.bytes(p[:]...)
	b.u16(0xf000)
	b.bytes(0xfc, 0xfc|byte(s.ChromaFormatIdc)&3, 0xf8|byte(s.BitDepthLumaMinus8)&7, 0xf8|byte(s.BitDepthChromaMinus8)&7)
	b.u16(0)
	nested := byte(0)
	if s.TemporalIDNestingFlag {
		nested = 4
	}
	b.bytes((s.MaxSubLayersMinus1+1)&7<<3|nested|3, 3)
	for i, set := range [...][]byte{t.VPS, t.SPS, t.PPS} {
		b.bytes(0x80|hevcVPS+byte(i), 0, 1)
		b.u16(uint16(len(set)))
		b.bytes(set...)
	}
	b.shut(at)
	return nil
}

// esds is ISO/IEC 14496-14 5.6.1 with the descriptors of 14496-1 7.2.6.
func (b *boxes) esds(object, stream byte, config []byte) {
	at := b.full("esds", 0, 0)
	specific := 0
	if len(config) > 0 {
		specific = 5 + len(config)
	}
	b.descriptor(3, 3+5+13+specific+5+1)
	b.bytes(0, 1, 0)
	b.descriptor(4, 13+specific)
	b.bytes(object, stream, 0, 0, 0)
	b.u64(0)
	if specific > 0 {
		b.descriptor(5, len(config))
		b.bytes(config...)
	}
	b.descriptor(6, 1)
	b.u8(2)
	b.shut(at)
}

func (b *boxes) descriptor(tag byte, n int) {
	b.bytes(tag, 0x80|byte(n>>21), 0x80|byte(n>>14), 0x80|byte(n>>7), byte(n)&0x7f)
}

// dOps is the Opus-in-ISOBMFF encapsulation 4.3.2. Pre-skip 0: a camera's
// stream does not begin where the file does.
func (b *boxes) dOps(t *media.Track) {
	at := b.open("dOps")
	channels := byte(max(t.Channels, 1))
	b.bytes(0, channels)
	b.u16(0)
	b.u32(48000)
	b.u16(0)
	if channels <= 2 {
		b.u8(0)
	} else { // mapping family 1, Vorbis order, one coupled pair at the front
		b.bytes(1, channels-1, 1)
		for i := range channels {
			b.u8(i)
		}
	}
	b.shut(at)
}
