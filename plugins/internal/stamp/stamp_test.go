package stamp_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/mpeg4audio"

	"media-server/core/media"
	"media-server/plugins/internal/stamp"
	"media-server/plugins/sim/clip"
)

var token = stamp.Token{Camera: "gate-7", Track: 'v', Number: 18446744073709551615, Time: 1732099999123456789}

func TestTokenReads(t *testing.T) {
	text := string(token.Append(nil))
	if want := "MSL1:gate-7:v:18446744073709551615:1732099999123456789;"; text != want {
		t.Fatalf("%q", text)
	}
	for _, tc := range []struct {
		name, in string
		found    bool
		rest     string
	}{
		{"alone", text, true, ""},
		{"in the middle", "\x00\x01MSL" + text + "tail", true, "tail"},
		{"after half a token", "MSL1:gate-7:v:18" + text, true, ""},
		{"no end", text[:len(text)-1], false, ""},
		{"capital", strings.Replace(text, "gate", "Gate", 1), false, ""},
		{"track", strings.Replace(text, ":v:", ":x:", 1), false, ""},
		{"leading zero", "MSL1:a:v:01:5;", false, ""},
		{"sign", "MSL1:a:v:+1:5;", false, ""},
		{"no time", "MSL1:a:v:1:0;", false, ""},
		{"time beyond 63 bits", "MSL1:a:v:1:9223372036854775808;", false, ""},
		{"too many fields", "MSL1:a:v:1:2:3;", false, ""},
		{"empty", "", false, ""},
	} {
		got, rest, ok := stamp.Find([]byte(tc.in))
		if ok != tc.found || ok && (got != token || string(rest) != tc.rest) {
			t.Errorf("%s: %v %q %v", tc.name, got, rest, ok)
		}
	}
}

func FuzzFind(f *testing.F) {
	f.Add(token.Append(nil))
	f.Add([]byte("MSL1:MSL1:a:v:1:2;"))
	f.Add([]byte("MSL1:a:v:1:2"))
	f.Fuzz(func(t *testing.T, b []byte) {
		for {
			tok, rest, ok := stamp.Find(b)
			if !ok {
				return
			}
			if len(rest) >= len(b) || !bytes.Contains(b, tok.Append(nil)) {
				t.Fatalf("%v is not in %q", tok, b)
			}
			b = rest
		}
	})
}

func FuzzSplit(f *testing.F) {
	codecs := []media.Codec{media.H264, media.H265, media.AAC, media.Opus, media.PCMA, media.MJPEG, media.Metadata}
	for i := range codecs {
		f.Add(uint8(i), []byte{0, 0, 0, 2, 0x65, 0x88, 0, 0xff, 0xd9})
	}
	f.Fuzz(func(t *testing.T, c uint8, b []byte) {
		tpl, err := stamp.Split(codecs[int(c)%len(codecs)], b)
		if err != nil {
			return
		}
		if got, _, ok := stamp.Find(tpl.Append(nil, token, 0)); !ok || got != token {
			// A sample may hold the beginning of a token that swallows ours.
			if !bytes.Contains(b, []byte("MSL1:")) {
				t.Fatalf("%v %v", got, ok)
			}
		}
	})
}

func TestFill(t *testing.T) {
	for _, name := range []string{clip.H264, clip.H265} {
		c, err := clip.Load(name)
		if err != nil {
			t.Fatal(err)
		}
		tpl, err := stamp.Split(c.Track.Codec, c.Samples[1].Payload)
		if err != nil {
			t.Fatal(err)
		}
		for size := tpl.Size(); size < tpl.Size()+70000; size += 97 {
			b := tpl.Append(nil, token, size)
			if d := len(b) - size; d < -40 || d > 120 && size > tpl.Size()+300 {
				t.Fatalf("%s: asked for %d, got %d", name, size, len(b))
			}
			if again, err := stamp.Split(c.Track.Codec, b); err != nil || again.Size() != len(b) {
				t.Fatalf("%s: NAL lengths are wrong at %d: %v", name, size, err)
			}
		}
	}
}

// TestDecodes stamps every sample of every clip and lets ffmpeg decode both:
// the pictures and the sound must be the same (G.711 apart), without a word of
// complaint.
func TestDecodes(t *testing.T) {
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Fatal("needs the Debian package ffmpeg")
	}
	for _, name := range []string{clip.H264, clip.H264Small, clip.H265, clip.MJPEG, clip.AAC} {
		t.Run(name, func(t *testing.T) {
			c, err := clip.Load(name)
			if err != nil {
				t.Fatal(err)
			}
			var plain, stamped bytes.Buffer
			for i, s := range c.Samples {
				tpl, err := stamp.Split(c.Track.Codec, s.Payload)
				if err != nil {
					t.Fatal(err)
				}
				tok := stamp.Token{Camera: "c", Track: 'v', Number: uint64(i), Time: 1}
				b := tpl.Append(nil, tok, tpl.Size()+500*(i%3))
				if got, _, ok := stamp.Find(b); !ok || got != tok {
					t.Fatalf("sample %d: read %v", i, got)
				}
				elementary(t, &plain, c, s.Key, s.Payload)
				elementary(t, &stamped, c, s.Key, b)
			}
			want, got := decode(t, c, plain.Bytes()), decode(t, c, stamped.Bytes())
			if want != got {
				t.Errorf("decoded differently: %s, %s", want, got)
			}
		})
	}
}

// elementary writes a sample as ffmpeg reads it from a pipe.
func elementary(t *testing.T, w *bytes.Buffer, c *clip.Clip, key bool, b []byte) {
	t.Helper()
	nal := func(p []byte) { w.WriteString("\x00\x00\x00\x01"); w.Write(p) }
	switch c.Track.Codec {
	case media.AAC:
		var cfg mpeg4audio.AudioSpecificConfig
		if err := cfg.Unmarshal(c.Track.Config); err != nil {
			t.Fatal(err)
		}
		b, err := mpeg4audio.ADTSPackets{{Type: cfg.Type, SampleRate: cfg.SampleRate, ChannelCount: cfg.ChannelCount, AU: b}}.Marshal()
		if err != nil {
			t.Fatal(err)
		}
		w.Write(b)
	case media.MJPEG:
		w.Write(b)
	default:
		if key {
			for _, p := range [][]byte{c.Track.VPS, c.Track.SPS, c.Track.PPS} {
				if len(p) > 0 {
					nal(p)
				}
			}
		}
		for len(b) > 4 {
			n := int(b[0])<<24 | int(b[1])<<16 | int(b[2])<<8 | int(b[3])
			nal(b[4 : 4+n])
			b = b[4+n:]
		}
	}
}

func decode(t *testing.T, c *clip.Clip, b []byte) string {
	t.Helper()
	format := map[media.Codec]string{media.H264: "h264", media.H265: "hevc", media.MJPEG: "mjpeg", media.AAC: "aac"}[c.Track.Codec]
	in := filepath.Join(t.TempDir(), fmt.Sprintf("in.%s", format))
	if err := os.WriteFile(in, b, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("ffmpeg", "-v", "warning", "-f", format, "-i", in, "-f", "md5", "-")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	for _, l := range strings.Split(errs.String(), "\n") {
		if l != "" && !strings.Contains(l, "Estimating duration") && !strings.Contains(l, "deprecated pixel format") {
			t.Errorf("ffmpeg: %s", l)
		}
	}
	return string(out)
}

// TestOpus checks padding by the definition, since no container that ffmpeg
// reads here carries bare Opus packets.
func TestOpus(t *testing.T) {
	c, err := clip.Load(clip.Opus)
	if err != nil {
		t.Fatal(err)
	}
	for i, s := range c.Samples {
		tpl, err := stamp.Split(media.Opus, s.Payload)
		if err != nil {
			t.Fatalf("sample %d: %v", i, err)
		}
		b := tpl.Append(nil, token, 0)
		if b[0]&3 != 3 || b[0]&^3 != s.Payload[0]&^3 || b[1] != 0x41 {
			t.Fatalf("sample %d: head %x of %x", i, b[:3], s.Payload[0])
		}
		if frame := b[3 : len(b)-int(b[2])]; !bytes.Equal(frame, s.Payload[1:]) {
			t.Fatalf("sample %d: frame of %d, want %d", i, len(frame), len(s.Payload)-1)
		}
		if got, _, ok := stamp.Find(b); !ok || got != token {
			t.Fatalf("sample %d: %v", i, got)
		}
	}
}

func TestRefuses(t *testing.T) {
	for _, tc := range []struct {
		codec media.Codec
		in    []byte
	}{
		{media.H264, nil},
		{media.H264, []byte{0, 0, 0, 9, 0x65}},
		{media.H264, []byte{0, 0, 0, 1, 0x67}},
		{media.H264, []byte{0, 0, 0, 0, 0x65}},
		{media.H264, []byte{0xff, 0xff, 0xff, 0xff, 0x65}},
		{media.MJPEG, []byte{0xff, 0xd8, 0xff}},
		{media.Opus, []byte{3, 1}},
		{media.PCMA, make([]byte, 10)},
		{"vp9", make([]byte, 10)},
	} {
		if _, err := stamp.Split(tc.codec, tc.in); err == nil {
			t.Errorf("%s %x was taken", tc.codec, tc.in)
		}
	}
}
