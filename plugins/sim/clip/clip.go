package clip

import (
	"bytes"
	"embed"
	"fmt"
	"io/fs"
	"sync"

	"github.com/bluenviron/mediacommon/v2/pkg/formats/fmp4"
	"github.com/bluenviron/mediacommon/v2/pkg/formats/mp4"

	"media-server/core/media"
)

//go:embed *.mp4 alaw.raw
var files embed.FS

// Files are the clips as they were made, for programs that read them otherwise.
func Files() fs.FS { return files }

// Clip is one elementary stream that can be repeated without a seam: every
// sample lasts Step ticks. For sample i shown at p = Samples[i].PTS (in steps):
// DTS = i - Behind <= PTS = p, and a camera cannot send it before i + Ahead,
// or it would send a reference picture before having seen it.
type Clip struct {
	Track   media.Track // ID 0
	Step    int64       // ticks a sample lasts
	Ahead   int64       // most samples by which a unit is decoded before it is shown (reference pictures)
	Behind  int64       // most samples by which it is shown before its place in decoding order (B-frames)
	Samples []Sample
}

// Sample is one access unit in MP4 form.
type Sample struct {
	PTS     int64 // place in the order of presentation, 0 to len-1; its index is the place in decoding order
	Key     bool
	Payload []byte
}

// Names of clips.
const (
	H264      = "h264"
	H264Small = "h264-small"
	H264Long  = "h264-long"
	H264Plain = "h264-plain" // without B-frames
	H265      = "h265"
	MJPEG     = "mjpeg"
	AAC       = "aac"
	Opus      = "opus"
	ALaw      = "alaw"
)

var loaded sync.Map // name → func() (*Clip, error)

// Load returns the named clip, reading it at the first call.
func Load(name string) (*Clip, error) {
	f, _ := loaded.LoadOrStore(name, sync.OnceValues(func() (*Clip, error) { return read(name) }))
	return f.(func() (*Clip, error))()
}

func read(name string) (*Clip, error) {
	if name == ALaw {
		return readALaw()
	}
	b, err := files.ReadFile(name + ".mp4")
	if err != nil {
		return nil, fmt.Errorf("clip %q: %w", name, err)
	}
	c, err := parse(b)
	if err != nil {
		return nil, fmt.Errorf("clip %q: %w", name, err)
	}
	return c, nil
}

// readALaw cuts frames of 20 ms.
func readALaw() (*Clip, error) {
	b, err := files.ReadFile("alaw.raw")
	if err != nil {
		return nil, err
	}
	c := &Clip{Track: media.Track{Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}, Step: 160}
	for ; len(b) >= 160; b = b[160:] {
		c.Samples = append(c.Samples, Sample{PTS: int64(len(c.Samples)), Key: true, Payload: b[:160:160]})
	}
	return c, nil
}

func parse(b []byte) (*Clip, error) {
	var init fmp4.Init
	if err := init.Unmarshal(bytes.NewReader(b)); err != nil {
		return nil, err
	}
	if len(init.Tracks) != 1 {
		return nil, fmt.Errorf("%d tracks", len(init.Tracks))
	}
	c := &Clip{Track: track(init.Tracks[0])}
	if c.Track.Codec == "" {
		return nil, fmt.Errorf("codec %T", init.Tracks[0].Codec)
	}
	if err := fragments(b, c.add); err != nil {
		return nil, err
	}
	if len(c.Samples) == 0 {
		return nil, fmt.Errorf("no samples")
	}
	return c, c.settle()
}

func (c *Clip) add(s sample) error {
	if c.Step == 0 {
		c.Step = s.duration
	}
	if c.Step == 0 || s.offset%c.Step != 0 {
		return fmt.Errorf("sample %d: duration %d, offset %d", len(c.Samples), s.duration, s.offset)
	}
	off := s.offset / c.Step
	n := int64(len(c.Samples))
	c.Samples = append(c.Samples, Sample{
		PTS:     n + off,
		Key:     s.sync || c.Track.Kind() != media.Video,
		Payload: s.payload,
	})
	return nil
}

// settle moves presentation times so that the first picture shown is 0.
func (c *Clip) settle() error {
	first := c.Samples[0].PTS
	for _, s := range c.Samples {
		first = min(first, s.PTS)
	}
	seen := make([]bool, len(c.Samples))
	for i := range c.Samples {
		p := c.Samples[i].PTS - first
		if p < 0 || p >= int64(len(seen)) || seen[p] {
			return fmt.Errorf("sample %d is shown at %d of %d", i, p, len(seen))
		}
		seen[p] = true
		c.Samples[i].PTS = p
		c.Ahead = max(c.Ahead, p-int64(i))
		c.Behind = max(c.Behind, int64(i)-p)
	}
	return nil
}

func track(t *fmp4.InitTrack) media.Track {
	m := media.Track{Timescale: t.TimeScale}
	switch k := t.Codec.(type) {
	case *mp4.CodecH264:
		m.Codec, m.SPS, m.PPS = media.H264, k.SPS, k.PPS
	case *mp4.CodecH265:
		m.Codec, m.VPS, m.SPS, m.PPS = media.H265, k.VPS, k.SPS, k.PPS
	case *mp4.CodecMJPEG:
		m.Codec, m.Width, m.Height = media.MJPEG, k.Width, k.Height
	case *mp4.CodecMPEG4Audio:
		m.Codec, m.SampleRate, m.Channels = media.AAC, k.Config.SampleRate, k.Config.ChannelCount
		m.Config, _ = k.Config.Marshal()
	case *mp4.CodecOpus:
		m.Codec, m.SampleRate, m.Channels = media.Opus, 48000, k.ChannelCount
	}
	return m
}
