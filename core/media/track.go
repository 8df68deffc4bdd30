package media

import (
	"bytes"
	"fmt"
	"strings"
)

// Kind is what a track carries. The values are those of the plugin protocol.
type Kind uint8

// Kinds of track.
const (
	KindUnknown Kind = iota
	Video
	Audio
	Data // "application" in SDP: ONVIF metadata
)

func (k Kind) String() string {
	switch k {
	case Video:
		return "video"
	case Audio:
		return "audio"
	case Data:
		return "data"
	}
	return "unknown"
}

// Codec names a coding as the plugin protocol, the API and the logs spell it.
type Codec string

// Codecs that can be stored. A driver leaves every other one out and says so.
const (
	H264     Codec = "h264"     // ISO/IEC 14496-10, stored as avc1 with 4-byte NAL lengths, no AUD
	H265     Codec = "h265"     // ISO/IEC 23008-2, stored as hvc1, 4-byte NAL lengths, no AUD
	MJPEG    Codec = "mjpeg"    // one whole JFIF image a unit, stored as mp4v with object type 0x6C
	AAC      Codec = "aac"      // ISO/IEC 14496-3 raw_data_block, stored as mp4a
	Opus     Codec = "opus"     // RFC 6716 packet, stored as Opus with dOps
	PCMA     Codec = "pcma"     // G.711 A-law, stored as alaw
	PCMU     Codec = "pcmu"     // G.711 mu-law, stored as ulaw
	Metadata Codec = "metadata" // ONVIF XML documents, stored as metx
)

// KindOf returns the kind of track that the codec belongs to.
func KindOf(c Codec) Kind {
	switch c {
	case H264, H265, MJPEG:
		return Video
	case AAC, Opus, PCMA, PCMU:
		return Audio
	case Metadata:
		return Data
	}
	return KindUnknown
}

// Track describes one elementary stream of a run. It is a value that is never
// changed once a run has been opened with it; its byte slices are shared and
// read-only.
type Track struct {
	ID        int    // 1 and up, unique in the run; the track_ID in files
	Codec     Codec  //
	Timescale uint32 // ticks a second of PTS, DTS and durations; > 0

	// Parameter sets, H.264 and H.265 only, without start codes.
	VPS, SPS, PPS []byte

	// Config is AudioSpecificConfig for AAC; empty for all others.
	Config []byte

	SampleRate int // audio: Hz (Opus: always 48000)
	Channels   int // audio
	Width      int // video: pixels, 0 when not known
	Height     int // video
}

// Kind is KindOf(t.Codec).
func (t Track) Kind() Kind { return KindOf(t.Codec) }

// Ready tells whether everything an init segment needs is known. H.264 and
// H.265 tracks may lack parameter sets at first and find them in band.
func (t Track) Ready() bool {
	switch t.Codec {
	case H264:
		return len(t.SPS) > 0 && len(t.PPS) > 0
	case H265:
		return len(t.VPS) > 0 && len(t.SPS) > 0 && len(t.PPS) > 0
	case AAC:
		return len(t.Config) > 0
	case MJPEG, Opus, PCMA, PCMU, Metadata:
		return true
	}
	return false
}

// Equal tells whether both describe the same coding, so that samples of one
// can follow samples of the other under one init segment.
func (t Track) Equal(o Track) bool {
	return t.ID == o.ID && t.Codec == o.Codec && t.Timescale == o.Timescale &&
		t.SampleRate == o.SampleRate && t.Channels == o.Channels &&
		t.Width == o.Width && t.Height == o.Height &&
		bytes.Equal(t.VPS, o.VPS) && bytes.Equal(t.SPS, o.SPS) &&
		bytes.Equal(t.PPS, o.PPS) && bytes.Equal(t.Config, o.Config)
}

func (t Track) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d:%s", t.ID, t.Codec)
	switch t.Kind() {
	case Video:
		if t.Width > 0 {
			fmt.Fprintf(&b, " %dx%d", t.Width, t.Height)
		}
	case Audio:
		fmt.Fprintf(&b, " %d Hz %d ch", t.SampleRate, t.Channels)
	}
	return b.String()
}
