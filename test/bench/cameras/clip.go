package cameras

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// The clip: 10 s, so that both tracks come round together every 10 s of video.
const (
	Rate       = 25    // pictures a second
	GOP        = 50    // pictures
	SampleRate = 48000 // AAC
	AUSamples  = 1024
	pictures   = 10 * Rate
	mtu        = 1400 // bytes of RTP payload
)

// unit is an access unit as interleaved RTP packets.
type unit struct {
	wire    []byte
	packets []int // offsets of the '$' of each packet
	token   int   // offset of the token in wire
	key     bool
	payload int // bytes of media
}

// Clip is what every camera plays.
type Clip struct {
	video, audio []unit
	SPS, PPS     []byte
	Config       []byte   // AudioSpecificConfig
	Pictures     [][]byte // MP4 form, without token
	Frames       [][]byte // AAC, raw
}

// Load reads the clip from dir; the first time ffmpeg makes it there.
func Load(ctx context.Context, dir string) (*Clip, error) {
	v, a := filepath.Join(dir, "clip.h264"), filepath.Join(dir, "clip.aac")
	if _, err := os.Stat(a); err != nil {
		if err := encode(ctx, v, a); err != nil {
			return nil, err
		}
	}
	c := &Clip{}
	b, err := os.ReadFile(v)
	if err == nil {
		err = c.readVideo(b)
	}
	if err != nil {
		return nil, err
	}
	if b, err = os.ReadFile(a); err == nil {
		err = c.readAudio(b)
	}
	return c, err
}

// encode makes 720p25 of 2 Mbit/s with noise in it, since a still test picture
// would not fill the rate, and AAC of 96 kbit/s.
func encode(ctx context.Context, video, audio string) error {
	if err := os.MkdirAll(filepath.Dir(video), 0o755); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "ffmpeg", "-hide_banner", "-loglevel", "error", "-y",
		"-f", "lavfi", "-i", fmt.Sprintf("testsrc2=size=1280x720:rate=%d:duration=10,noise=alls=12:allf=t", Rate),
		"-f", "lavfi", "-i", fmt.Sprintf("anoisesrc=color=pink:sample_rate=%d:duration=10", SampleRate),
		"-map", "0:v", "-frames:v", fmt.Sprint(pictures), "-c:v", "libx264", "-preset", "veryfast", "-profile:v", "main", "-pix_fmt", "yuv420p",
		"-g", fmt.Sprint(GOP), "-bf", "0", "-b:v", "2M", "-maxrate", "2M", "-bufsize", "1M",
		"-x264-params", "aud=1:scenecut=0:slices=1:threads=1", "-f", "h264", video,
		"-map", "1:a", "-c:a", "aac", "-b:a", "96k", "-ac", "1", "-f", "adts", audio+".part")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("make the clip (Debian package ffmpeg): %w %s", err, out)
	}
	return os.Rename(audio+".part", audio)
}

func (c *Clip) readVideo(b []byte) error {
	var nals [][]byte
	flush := func() {
		if len(nals) > 0 {
			c.addPicture(nals)
		}
		nals = nil
	}
	for _, n := range split(b) {
		switch n[0] & 31 {
		case 9: // access unit delimiter
			flush()
		case 6: // what the encoder says of itself
		case 7:
			c.SPS = n
			nals = append(nals, n)
		case 8:
			c.PPS = n
			nals = append(nals, n)
		default:
			nals = append(nals, n)
		}
	}
	flush()
	if len(c.video) != pictures || !c.video[0].key || c.PPS == nil {
		return fmt.Errorf("clip: %d pictures instead of %d", len(c.video), pictures)
	}
	return nil
}

// split takes an Annex B stream apart.
func split(b []byte) (out [][]byte) {
	start := -1
	for i := 0; i+3 <= len(b); i++ {
		if b[i] != 0 || b[i+1] != 0 || b[i+2] != 1 {
			continue
		}
		if start >= 0 {
			out = append(out, bytes.TrimRight(b[start:i], "\x00"))
		}
		start = i + 3
		i += 2
	}
	if start >= 0 && start < len(b) {
		out = append(out, b[start:])
	}
	return out
}

func (c *Clip) addPicture(nals [][]byte) {
	u := unit{}
	var sample []byte
	sei := append([]byte{6, 5, byte(16 + tokenLen)}, "media-serverMSL1"...)
	at := len(sei)
	sei = append(append(sei, make([]byte, tokenLen)...), 0x80)
	copy(sei[at:], bytes.Repeat([]byte{'x'}, tokenLen))
	u.add(96, sei)
	u.token = len(u.wire) - len(sei) + at
	for _, n := range nals {
		sample = append(binary.BigEndian.AppendUint32(sample, uint32(len(n))), n...)
		u.key = u.key || n[0]&31 == 5
		if len(n) <= mtu {
			u.add(96, n)
			continue
		}
		head, rest := n[0], n[1:]
		for first := true; len(rest) > 0; first = false {
			k := min(len(rest), mtu-2)
			fu := []byte{head&0x60 | 28, head & 31}
			if first {
				fu[1] |= 0x80
			}
			if k == len(rest) {
				fu[1] |= 0x40
			}
			u.add(96, append(fu, rest[:k]...))
			rest = rest[k:]
		}
	}
	u.wire[u.packets[len(u.packets)-1]+5] |= 0x80 // marker
	u.payload = len(sample)
	c.video = append(c.video, u)
	c.Pictures = append(c.Pictures, sample)
}

// add appends an interleaved RTP packet; what differs by session stays zero.
func (u *unit) add(pt byte, payload []byte) {
	u.packets = append(u.packets, len(u.wire))
	u.wire = append(u.wire, '$', 0)
	u.wire = binary.BigEndian.AppendUint16(u.wire, uint16(12+len(payload)))
	u.wire = append(u.wire, 0x80, pt)
	u.wire = append(u.wire, make([]byte, 10)...)
	u.wire = append(u.wire, payload...)
}

func (c *Clip) readAudio(b []byte) error {
	for len(b) > 0 {
		if len(b) < 7 || b[0] != 0xff || b[1]&0xf6 != 0xf0 {
			return errors.New("clip: not ADTS")
		}
		n, head := int(b[3]&3)<<11|int(b[4])<<3|int(b[5])>>5, 7
		if b[1]&1 == 0 {
			head = 9
		}
		if n < head || n > len(b) {
			return errors.New("clip: ADTS cut short")
		}
		object, freq, channels := b[2]>>6+1, b[2]>>2&15, b[2]&1<<2|b[3]>>6
		c.Config = []byte{object<<3 | freq>>1, freq<<7 | channels<<3}
		frame := b[head:n]
		b = b[n:]
		// The token goes before the frame as a data_stream_element.
		raw := append([]byte{0x81, tokenLen}, bytes.Repeat([]byte{'x'}, tokenLen)...)
		raw = append(raw, frame...)
		u := unit{key: true, payload: len(raw)}
		u.add(97, append([]byte{0, 16, byte(len(raw) >> 5), byte(len(raw) << 3)}, raw...))
		u.wire[5] |= 0x80
		u.token = len(u.wire) - len(raw) + 2
		c.audio = append(c.audio, u)
		c.Frames = append(c.Frames, frame)
	}
	if len(c.audio) == 0 {
		return errors.New("clip: no audio")
	}
	return nil
}

// sdp describes a camera.
func (c *Clip) sdp() string {
	b64 := base64.StdEncoding.EncodeToString
	return strings.Join([]string{"v=0", "o=- 1 1 IN IP4 127.0.0.1", "s=bench", "c=IN IP4 0.0.0.0", "t=0 0", "a=control:*",
		"m=video 0 RTP/AVP 96", "a=rtpmap:96 H264/90000",
		fmt.Sprintf("a=fmtp:96 packetization-mode=1;profile-level-id=%X;sprop-parameter-sets=%s,%s", c.SPS[1:4], b64(c.SPS), b64(c.PPS)),
		"a=control:track1",
		"m=audio 0 RTP/AVP 97", fmt.Sprintf("a=rtpmap:97 mpeg4-generic/%d/1", SampleRate),
		fmt.Sprintf("a=fmtp:97 streamtype=5;profile-level-id=1;mode=AAC-hbr;sizelength=13;indexlength=3;indexdeltalength=3;config=%X", c.Config),
		"a=control:track2", ""}, "\r\n")
}

// Bitrate is what one camera sends, bits a second, RTP and framing included.
func (c *Clip) Bitrate() float64 {
	v, a := 0, 0
	for i := range c.video {
		v += len(c.video[i].wire)
	}
	for i := range c.audio {
		a += len(c.audio[i].wire)
	}
	return 8 * (float64(v)/float64(len(c.video))*Rate + float64(a)/float64(len(c.audio))*SampleRate/AUSamples)
}
