package rtspsource

import (
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h264"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/h265"
	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"media-server/core/media"
	"media-server/plugins/sdk"
)

// offer is a track of the source that can be captured.
type offer struct {
	track   media.Track
	control string
	pt      uint8
	single  bool // the only format of its media
	order   *decodeOrder
	unpack  func(port) depacketizer
}

// choose maps a description to what can be captured of the wanted kinds, at
// most one track a kind, and names what had to be left out. Nothing a source
// writes for one media can spoil another.
func choose(d sdp, wants func(media.Kind) bool) (offers []offer, left []sdk.LeftOut) {
	taken := map[media.Kind]bool{}
	for _, m := range d.sections {
		kind, ok := map[string]media.Kind{"video": media.Video, "audio": media.Audio, "application": media.Data}[m.media]
		if m.inactive || ok && !wants(kind) {
			continue
		}
		found, reason := false, "no known coding"
		for i, f := range m.formats {
			o, err := m.offer(f)
			if err != nil {
				if i == 0 {
					reason = err.Error()
				}
				continue
			}
			found = true
			if taken[kind] {
				reason = "a second " + kind.String() + " track; one of each kind is captured"
				found = false
				break
			}
			taken[kind] = true
			o.track.ID = len(offers) + 1
			o.control, o.single = m.control, len(m.formats) == 1
			offers = append(offers, o)
			break
		}
		if !found {
			left = append(left, sdk.LeftOut{Name: m.name(), Reason: reason})
		}
	}
	return offers, left
}

// name is what an operator knows a media by.
func (m *section) name() string {
	n := m.media
	if len(m.formats) > 0 {
		if r := m.rtpmap[m.formats[0]]; r != "" {
			n += " " + r
		} else {
			n += " payload type " + m.formats[0]
		}
	}
	return plain(n, 60)
}

func (m *section) offer(format string) (o offer, err error) {
	pt, err := strconv.ParseUint(format, 10, 7)
	if err != nil {
		return o, fmt.Errorf("payload type is no number")
	}
	o.pt = uint8(pt)
	name, clock, param := encoding(m.rtpmap[format])
	if name == "" {
		if pt >= 96 {
			return o, fmt.Errorf("its coding is not named")
		}
		name, clock, param = static(o.pt)
	}
	if clock < 0 || clock > 1<<20 {
		return o, fmt.Errorf("clock rate %d makes no sense", clock)
	}
	o.track.Timescale = uint32(clock)
	o.order = &decodeOrder{}
	fmtp := m.fmtp[format]
	switch m.media + " " + name {
	case "video h264":
		err = o.h264(fmtp)
	case "video h265", "video hevc":
		err = o.h265(fmtp)
	case "video jpeg":
		o.mjpeg(m.attrs["x-dimensions"])
	case "audio mpeg4-generic":
		err = o.aac(fmtp, param)
	case "audio mp4a-latm":
		err = o.latm(fmtp)
	case "audio opus":
		o.opus(fmtp)
	case "audio pcma":
		o.g711(media.PCMA, param)
	case "audio pcmu":
		o.g711(media.PCMU, param)
	case "application vnd.onvif.metadata":
		o.track.Codec = media.Metadata
		o.unpack = func(p port) depacketizer { return &documents{port: p, between: true} }
	case "application vnd.onvif.metadata.gzip", "application vnd.onvif.metadata.exi.onvif", "application vnd.onvif.metadata.exi.ext":
		err = fmt.Errorf("compressed metadata cannot be read; set the camera's metadata to plain XML")
	case "audio l16", "audio l8", "audio l24", "audio g722", "audio g723", "audio g729", "audio mpa", "audio ac3",
		"audio g726-16", "audio g726-24", "audio g726-32", "audio g726-40", "audio speex", "audio amr":
		err = fmt.Errorf("this audio coding cannot be stored; choose AAC, Opus or G.711 on the camera")
	default:
		err = fmt.Errorf("this coding cannot be stored; choose %s on the camera", map[string]string{
			"video": "H.264, H.265 or MJPEG", "audio": "AAC, Opus or G.711", "application": "ONVIF metadata"}[m.media])
		if m.media != "video" && m.media != "audio" {
			err = fmt.Errorf("only video, audio and ONVIF metadata can be stored")
		}
	}
	if o.track.Timescale == 0 {
		o.track.Timescale = 90000 // what every video and metadata payload uses
		if m.media == "audio" {
			o.track.Timescale = 8000
		}
	}
	return o, err
}

// static gives the encodings of RFC 3551 that need no rtpmap.
func static(pt uint8) (name string, clock, param int) {
	switch pt {
	case 0:
		return "pcmu", 8000, 1
	case 8:
		return "pcma", 8000, 1
	case 9:
		return "g722", 8000, 1
	case 10:
		return "l16", 44100, 2
	case 11:
		return "l16", 44100, 1
	case 14:
		return "mpa", 90000, 0
	case 26:
		return "jpeg", 90000, 0
	case 32:
		return "mpv", 90000, 0
	case 33:
		return "mp2t", 90000, 0
	}
	return "payload type " + strconv.Itoa(int(pt)), 0, 0
}

func (o *offer) h264(fmtp map[string]string) error {
	if mode := fmtp["packetization-mode"]; mode != "" && mode != "0" && mode != "1" {
		return fmt.Errorf("interleaved H.264 packets (mode %s) are not supported", plain(mode, 8))
	}
	t := &o.track
	t.Codec = media.H264
	for _, s := range parameterSets(fmtp["sprop-parameter-sets"]) {
		switch {
		case s[0]&0x1f == 7 && t.SPS == nil:
			t.SPS = s
		case s[0]&0x1f == 8 && t.PPS == nil:
			t.PPS = s
		}
	}
	o.order.setDepth(-1)
	if t.SPS != nil {
		var s h264.SPS
		if decodes(func() error {
			err := s.Unmarshal(t.SPS)
			if err == nil {
				t.Width, t.Height = s.Width(), s.Height()
			}
			return err
		}) {
			o.order.setDepth(depthH264(t.SPS))
		} else {
			t.SPS, t.PPS = nil, nil // broken in the description: found in band
		}
	}
	order := o.order
	o.unpack = func(p port) depacketizer { return newH264(p, order) }
	return nil
}

func (o *offer) h265(fmtp map[string]string) error {
	if v := fmtp["sprop-max-don-diff"]; v != "" && v != "0" {
		return fmt.Errorf("interleaved H.265 packets are not supported")
	}
	t := &o.track
	t.Codec = media.H265
	for _, key := range [...]string{"sprop-vps", "sprop-sps", "sprop-pps"} {
		for _, s := range parameterSets(fmtp[key]) {
			switch s[0] >> 1 & 0x3f {
			case 32:
				t.VPS = s
			case 33:
				t.SPS = s
			case 34:
				t.PPS = s
			}
		}
	}
	o.order.setDepth(-1)
	if t.SPS != nil {
		var s h265.SPS
		if decodes(func() error {
			err := s.Unmarshal(t.SPS)
			if err == nil {
				t.Width, t.Height = s.Width(), s.Height()
			}
			return err
		}) {
			o.order.setDepth(depthH265(t.SPS))
		} else {
			t.VPS, t.SPS, t.PPS = nil, nil, nil
		}
	}
	order := o.order
	o.unpack = func(p port) depacketizer { return newH265(p, order) }
	return nil
}

func (o *offer) mjpeg(dimensions string) {
	o.track.Codec = media.MJPEG
	w, h, _ := strings.Cut(dimensions, ",")
	width, _ := strconv.ParseUint(strings.TrimSpace(w), 10, 16)
	height, _ := strconv.ParseUint(strings.TrimSpace(h), 10, 16)
	o.track.Width, o.track.Height = int(width), int(height)
	o.unpack = func(p port) depacketizer {
		return &mjpegDepack{port: p, width: int(width), height: int(height)}
	}
}

// aacFrame is the length of an AAC frame in ticks of the RTP clock.
func aacFrame(c *mpeg4audio.AudioSpecificConfig, clock uint32) int64 {
	samples := int64(1024)
	if c.FrameLengthFlag {
		samples = 960
	}
	return media.Rescale(samples, int64(clock), int64(max(c.SampleRate, 1)))
}

func (o *offer) setAAC(c *mpeg4audio.AudioSpecificConfig, raw []byte) {
	t := &o.track
	t.Codec, t.Config = media.AAC, raw
	t.SampleRate, t.Channels = c.SampleRate, c.ChannelCount
	if t.Timescale == 0 {
		t.Timescale = uint32(c.SampleRate)
	}
}

func (o *offer) aac(fmtp map[string]string, channels int) error {
	if mode := strings.ToLower(fmtp["mode"]); mode != "" && !strings.HasPrefix(mode, "aac") {
		return fmt.Errorf("MPEG-4 audio in mode %s cannot be stored; choose AAC on the camera", plain(mode, 16))
	}
	raw, err := hex.DecodeString(fmtp["config"])
	var c mpeg4audio.AudioSpecificConfig
	if err != nil || !decodes(func() error { return c.Unmarshal(raw) }) || c.SampleRate <= 0 {
		if fmtp["config"] != "" {
			return fmt.Errorf("its AAC configuration cannot be read")
		}
		c = mpeg4audio.AudioSpecificConfig{
			Type: mpeg4audio.ObjectTypeAACLC, SampleRate: int(o.track.Timescale), ChannelCount: max(channels, 1),
		}
		if raw, err = c.Marshal(); err != nil {
			return fmt.Errorf("its AAC configuration is missing")
		}
	}
	o.setAAC(&c, raw)
	bits := func(key string) int {
		n, _ := strconv.ParseUint(fmtp[key], 10, 5)
		return int(n)
	}
	size, index, delta := bits("sizelength"), bits("indexlength"), bits("indexdeltalength")
	frame := aacFrame(&c, o.track.Timescale)
	o.unpack = func(p port) depacketizer {
		return &aacDepack{port: p, size: size, index: index, delta: delta, frame: frame}
	}
	return nil
}

func (o *offer) latm(fmtp map[string]string) error {
	raw, err := hex.DecodeString(fmtp["config"])
	if err != nil || len(raw) == 0 {
		return fmt.Errorf("LATM audio with its configuration in band only is not supported; choose plain AAC on the camera")
	}
	var mux mpeg4audio.StreamMuxConfig
	if !decodes(func() error { return mux.Unmarshal(raw) }) || len(mux.Programs) != 1 ||
		len(mux.Programs[0].Layers) != 1 || mux.Programs[0].Layers[0].AudioSpecificConfig == nil {
		return fmt.Errorf("its LATM configuration cannot be read")
	}
	c := mux.Programs[0].Layers[0].AudioSpecificConfig
	asc, err := c.Marshal()
	if err != nil || c.SampleRate <= 0 {
		return fmt.Errorf("its LATM configuration cannot be read")
	}
	o.setAAC(c, asc)
	frame := aacFrame(c, o.track.Timescale)
	inBand := fmtp["cpresent"] == "1"
	o.unpack = func(p port) depacketizer {
		return &latmDepack{port: p, config: &mux, inBand: inBand, frame: frame}
	}
	return nil
}

func (o *offer) opus(fmtp map[string]string) {
	o.track.Codec = media.Opus
	o.track.Timescale = 48000 // RFC 7587 section 4.1: always
	o.track.SampleRate = 48000
	// The rtpmap always says 2. A decoder plays mono as dual mono without loss,
	// but stereo as mono only with: without a word, two.
	o.track.Channels = 2
	if fmtp["sprop-stereo"] == "0" {
		o.track.Channels = 1
	}
	o.unpack = func(p port) depacketizer { return &simple{p} }
}

func (o *offer) g711(c media.Codec, channels int) {
	o.track.Codec = c
	if o.track.Timescale == 0 {
		o.track.Timescale = 8000
	}
	o.track.SampleRate, o.track.Channels = int(o.track.Timescale), min(max(channels, 1), 8)
	o.unpack = func(p port) depacketizer { return &simple{p} }
}

// plain makes text of a device fit for a log line: printable ASCII, short.
func plain(s string, most int) string {
	var b strings.Builder
	for _, r := range s {
		if b.Len() == most {
			break
		}
		if r < ' ' || r > '~' {
			r = '?'
		}
		b.WriteByte(byte(r))
	}
	return strings.TrimSpace(b.String())
}
