package mux

import (
	"fmt"
	"math/bits"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"media-server/core/media"
)

// FillParameters completes a track from its parameter sets or audio config:
// width and height, sample rate and channels. What cannot be read stays.
func FillParameters(t *media.Track) {
	switch t.Codec {
	case media.H264:
		var s h264.SPS
		if len(t.SPS) > 3 && s.Unmarshal(t.SPS) == nil {
			setSize(t, s.Width(), s.Height())
		}
	case media.H265:
		var s h265.SPS
		if len(t.SPS) > 15 && s.Unmarshal(t.SPS) == nil {
			setSize(t, s.Width(), s.Height())
		}
	case media.AAC:
		var c mpeg4audio.AudioSpecificConfig
		if c.Unmarshal(t.Config) == nil {
			t.SampleRate, t.Channels = c.SampleRate, c.ChannelCount
		}
	case media.Opus:
		t.SampleRate = 48000
		if t.Channels == 0 {
			t.Channels = 2
		}
	case media.PCMA, media.PCMU:
		if t.SampleRate == 0 {
			t.SampleRate = 8000
		}
		if t.Channels == 0 {
			t.Channels = 1
		}
	}
}

func setSize(t *media.Track, w, h int) {
	if w > 0 && h > 0 && w < 1<<16 && h < 1<<16 {
		t.Width, t.Height = w, h
	}
}

// reorderDepth returns how many units may precede one in decode order that
// follow it in presentation order, as the SPS promises; known = false when it
// promises nothing (H.264 E.2.1: then anything may come).
func reorderDepth(t *media.Track) (depth int, known bool) {
	switch t.Codec {
	case media.H264:
		var s h264.SPS
		if len(t.SPS) < 4 || s.Unmarshal(t.SPS) != nil {
			return 0, false
		}
		if s.PicOrderCntType == 2 || s.ProfileIdc == 66 { // no B pictures: 8.2.1.3; Baseline
			return 0, true
		}
		if s.VUI != nil && s.VUI.BitstreamRestriction != nil {
			return min(int(s.VUI.BitstreamRestriction.MaxNumReorderFrames), maxReorder), true
		}
	case media.H265:
		var s h265.SPS
		if len(t.SPS) > 15 && s.Unmarshal(t.SPS) == nil && len(s.MaxNumReorderPics) > 0 {
			return min(int(s.MaxNumReorderPics[len(s.MaxNumReorderPics)-1]), maxReorder), true
		}
	}
	return 0, t.Kind() != media.Video || t.Codec == media.MJPEG
}

// CodecString returns the RFC 6381 name of a track's coding for HLS and Media
// Source Extensions; false when they cannot carry it or parameters are missing.
func CodecString(t media.Track) (string, bool) {
	switch t.Codec {
	case media.H264:
		if len(t.SPS) < 4 {
			return "", false
		}
		return fmt.Sprintf("avc1.%02x%02x%02x", t.SPS[1], t.SPS[2], t.SPS[3]), true
	case media.H265:
		p, ok := profileTierLevel(t.SPS)
		if !ok {
			return "", false
		}
		return hevcString(p), true
	case media.AAC:
		if len(t.Config) == 0 {
			return "", false
		}
		object := t.Config[0] >> 3
		if object == 31 && len(t.Config) > 1 {
			object = 32 + t.Config[0]&7<<3 | t.Config[1]>>5
		}
		return fmt.Sprintf("mp4a.40.%d", object), true
	case media.Opus:
		return "opus", true
	}
	return "", false
}

// hevcString is ISO/IEC 14496-15 annex E.3.
func hevcString(p [12]byte) string {
	space := [...]string{"", "A", "B", "C"}[p[0]>>6]
	tier := [...]string{"L", "H"}[p[0]>>5&1]
	compat := bits.Reverse32(uint32(p[1])<<24 | uint32(p[2])<<16 | uint32(p[3])<<8 | uint32(p[4]))
	s := fmt.Sprintf("hvc1.%s%d.%x.%s%d", space, p[0]&0x1f, compat, tier, p[11])
	last := 10
	for last >= 5 && p[last] == 0 {
		last--
	}
	for _, c := range p[5 : last+1] {
		s += fmt.Sprintf(".%x", c)
	}
	return s
}

// profileTierLevel returns the 12 bytes that an H.265 SPS and hvcC share.
func profileTierLevel(sps []byte) (p [12]byte, ok bool) {
	if len(sps) < 15 {
		return p, false
	}
	raw := h264.EmulationPreventionRemove(sps[:min(len(sps), 32)])
	if len(raw) < 15 {
		return p, false
	}
	return [12]byte(raw[3:15]), true
}
