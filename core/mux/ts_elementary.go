package mux

import (
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"media-server/core/media"
)

// TSable tells whether MPEG-TS can carry a track: H.264, H.265, AAC as ADTS can
// say it, Opus. There is no G.711, MJPEG or ONVIF metadata in it that players know.
func TSable(t media.Track) bool {
	if t.ID <= 0 || !t.Ready() {
		return false
	}
	switch t.Codec {
	case media.H264, media.H265:
		return true
	case media.AAC:
		_, ok := adts(t.Config)
		return ok
	case media.Opus:
		FillParameters(&t)
		return t.Channels > 0 && t.Channels <= 8
	}
	return false
}

// TSTracks are the first tracks of a run that fit into one program map.
func TSTracks(tracks []media.Track) []media.Track { return tracks[:min(len(tracks), mostTSTracks)] }

// elementary is how a track stands in MPEG-TS.
type elementary struct {
	track       *media.Track
	video       bool
	streamType  byte // table 2-34
	streamID    byte // table 2-22
	descriptors []byte
	head        [4]byte  // AAC: the fixed part of the ADTS header
	sets        [][]byte // video: parameter sets
	delimiter   []byte
}

func newElementary(t *media.Track) elementary {
	e := elementary{track: t, video: t.Kind() == media.Video, streamID: 0xe0}
	switch t.Codec {
	case media.H264:
		e.streamType, e.delimiter = 0x1b, []byte{9, 0xf0}
		e.sets = [][]byte{t.SPS, t.PPS}
	case media.H265:
		e.streamType, e.delimiter = 0x24, []byte{35 << 1, 1, 0x50}
		e.descriptors = []byte{5, 4, 'H', 'E', 'V', 'C'}
		e.sets = [][]byte{t.VPS, t.SPS, t.PPS}
	case media.AAC:
		e.streamType, e.streamID = 0x0f, 0xc0
		e.head, _ = adts(t.Config)
	case media.Opus:
		sound := *t
		FillParameters(&sound)
		e.streamType, e.streamID = 6, 0xbd // private data
		e.descriptors = []byte{5, 4, 'O', 'p', 'u', 's', 0x7f, 2, 0x80, byte(sound.Channels)}
	}
	return e
}

var startCode = []byte{0, 0, 0, 1}

// pieces gives a unit's bytes in the elementary stream; none = it cannot be written.
func (e *elementary) pieces(u *TSUnit) [][]byte {
	n := len(u.Payload)
	switch {
	case n == 0:
	case e.video:
		return e.annexB(u)
	case e.track.Codec == media.AAC:
		size := n + 7
		if size >= 1<<13 {
			return nil
		}
		h := e.head
		return [][]byte{{h[0], h[1], h[2], h[3] | byte(size>>11), byte(size >> 3), byte(size<<5) | 0x1f, 0xfc}, u.Payload}
	case n < 1<<15: // ETSI TS 103 491 draft of Opus in MPEG-TS: control header, size in bytes of 255
		head := []byte{0x7f, 0xe0}
		for n >= 255 {
			head, n = append(head, 255), n-255
		}
		return [][]byte{append(head, byte(n)), u.Payload}
	}
	return nil
}

// annexB puts start codes before the NAL units of a unit, in front of them the
// delimiter that Apple's players ask for, and before a key frame the parameter
// sets, unless it has them (ITU-T H.264 annex B, 7.4.1.2.3).
func (e *elementary) annexB(u *TSUnit) [][]byte {
	var nals [6][]byte
	list, has := nals[:0], 0
	for p := u.Payload; len(p) > 0; {
		nal, rest, ok := nextNAL(p)
		if !ok {
			break // what is damaged ends the unit
		}
		p = rest
		kind := e.kind(nal)
		if kind == isDelimiter {
			continue // ours says the same
		}
		if kind >= 0 {
			has |= 1 << kind
		}
		list = append(list, nal)
	}
	if len(list) == 0 {
		return nil
	}
	out := make([][]byte, 0, 2+2*len(e.sets)+2*len(list))
	out = append(out, startCode, e.delimiter)
	if u.Key && has != 1<<len(e.sets)-1 {
		for _, s := range e.sets {
			out = append(out, startCode, s)
		}
	}
	for _, nal := range list {
		out = append(out, startCode, nal)
	}
	return out
}

const isDelimiter = 100

// kind tells which of the parameter sets a NAL unit is, -1 for none.
func (e *elementary) kind(nal []byte) int {
	if e.track.Codec == media.H264 {
		switch nal[0] & 0x1f {
		case avcSPS:
			return 0
		case avcPPS:
			return 1
		case 9:
			return isDelimiter
		}
		return -1
	}
	switch t := nal[0] >> 1 & 0x3f; {
	case t >= hevcVPS && t <= hevcPPS:
		return int(t - hevcVPS)
	case t == 35:
		return isDelimiter
	}
	return -1
}

// adts is the fixed part of the header of AAC with that configuration (ISO/IEC
// 14496-3 table 1.A.5): profile, rate and channels are all it can say.
func adts(config []byte) (h [4]byte, ok bool) {
	var c mpeg4audio.AudioSpecificConfig
	if c.Unmarshal(config) != nil || c.Type < 1 || c.Type > 4 {
		return h, false
	}
	rate := -1
	for i, r := range [...]int{96000, 88200, 64000, 48000, 44100, 32000, 24000, 22050, 16000, 12000, 11025, 8000, 7350} {
		if r == c.SampleRate {
			rate = i
		}
	}
	channels := c.ChannelCount
	switch channels {
	case 7: // no configuration says so
		return h, false
	case 8:
		channels = 7
	}
	if rate < 0 || channels < 1 || channels > 7 {
		return h, false
	}
	return [4]byte{0xff, 0xf1, byte(c.Type-1)<<6 | byte(rate)<<2 | byte(channels)>>2, byte(channels) << 6}, true
}
