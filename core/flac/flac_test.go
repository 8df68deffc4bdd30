package flac

import (
	"bytes"
	"encoding/binary"
	"math"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"github.com/bluenviron/mediacommon/v2/pkg/codecs/g711"
)

// TestLaws compares the laws with those of a library that others use.
func TestLaws(t *testing.T) {
	for i := range 256 {
		b := []byte{byte(i)}
		var u g711.Mulaw
		var a g711.Alaw
		u.Unmarshal(b)
		a.Unmarshal(b)
		if got, want := ULaw[i], int16(binary.BigEndian.Uint16(u)); got != want {
			t.Errorf("µ-law %02x: %d, not %d", i, got, want)
		}
		if got, want := ALaw[i], int16(binary.BigEndian.Uint16(a)); got != want {
			t.Errorf("A-law %02x: %d, not %d", i, got, want)
		}
	}
}

// sounds are units of G.711 as cameras send them, and as they should not.
func sounds() map[string][]byte {
	rnd := rand.New(rand.NewPCG(1, 2))
	noise := make([]byte, 4096)
	for i := range noise {
		noise[i] = byte(rnd.Uint32())
	}
	speech := make([]byte, 4000)
	for i := range speech { // three tones under a slow envelope and a little noise
		x := 0.0
		for _, f := range []float64{210, 430, 1130} {
			x += math.Sin(float64(i) * f * 2 * math.Pi / 8000)
		}
		x = x*2500*(1+math.Sin(float64(i)/900)) + rnd.Float64()*60
		speech[i] = nearest(ULaw, x)
	}
	return map[string][]byte{
		"silence": bytes.Repeat([]byte{0xff}, 160), "one sample": {0x12}, "two": {0, 0x80}, "five": {1, 2, 3, 4, 5}, "loudest": bytes.Repeat([]byte{0, 0x80}, 80),
		"noise": noise, "noise of 20 ms": noise[:160], "speech": speech, "speech of 20 ms": speech[1600:1760], "speech of 32 ms": speech[:256],
		"of 257": speech[:257], "quiet": bytes.Repeat([]byte{0xff, 0xfe, 0x7f, 0x7e, 0xfd}, 64),
	}
}

func nearest(l *Law, x float64) byte {
	best := 0
	for i := range l {
		if math.Abs(float64(l[i])-x) < math.Abs(float64(l[best])-x) {
			best = i
		}
	}
	return byte(best)
}

func check(t *testing.T, l *Law, unit []byte, rate, channels int, number uint64) []byte {
	t.Helper()
	e := Encoder{Rate: rate, Channels: channels}
	pcm := l.Expand(nil, unit)
	b := e.Append([]byte("before"), pcm, number)
	if !bytes.HasPrefix(b, []byte("before")) {
		t.Fatal("what stood before is lost")
	}
	b = b[6:]
	got, ch, n, rest, err := decode(b)
	if err != nil || ch != channels || n != number&(1<<36-1) || len(rest) > 0 || !slices.Equal(got, pcm) {
		t.Fatalf("%d samples: %v, %d channels, number %d of %d, %d bytes over, equal %v", len(pcm), err, ch, n, number, len(rest), slices.Equal(got, pcm))
	}
	if most := 16 + 2*len(pcm) + 2*channels + 2; len(b) > most {
		t.Errorf("%d samples took %d bytes", len(pcm), len(b))
	}
	again := (&Encoder{Rate: rate, Channels: channels}).Append(nil, pcm, number)
	if !bytes.Equal(again, b) {
		t.Error("other bytes the second time")
	}
	return b
}

func TestFrames(t *testing.T) {
	for name, unit := range sounds() {
		for _, l := range []*Law{ULaw, ALaw} {
			for _, number := range []uint64{0, 0x7f, 0x80, 0x7ff, 0x800, 1<<16 - 1, 1 << 16, 1 << 21, 1 << 26, 1 << 31, 1<<36 - 1, 1<<36 + 5} {
				check(t, l, unit, 8000, 1, number)
			}
			check(t, l, unit, 11025, 1, 9)
			if len(unit) > 1 {
				check(t, l, unit[:len(unit)&^1], 16000, 2, 3)
			}
		}
		t.Logf("%s: %d samples, %d bytes", name, len(unit), len(check(t, ULaw, unit, 8000, 1, 1)))
	}
}

// TestForeignDecoder: ffmpeg gives back every sample of a stream of such frames.
func TestForeignDecoder(t *testing.T) {
	exe, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is not there: install the Debian package ffmpeg")
	}
	all := sounds()
	file := append([]byte("fLaC\x80\x00\x00\x22"), StreamInfo(8000, 1)...)
	e := Encoder{Rate: 8000, Channels: 1}
	var want []byte
	number := 0
	for _, name := range []string{"speech", "noise of 20 ms", "silence", "of 257", "noise", "quiet", "loudest", "speech of 32 ms"} {
		pcm := ULaw.Expand(nil, all[name])
		file = e.Append(file, pcm, uint64(number))
		number += len(pcm)
		for _, v := range pcm {
			want = binary.LittleEndian.AppendUint16(want, uint16(v))
		}
	}
	path := filepath.Join(t.TempDir(), "a.flac")
	if err := os.WriteFile(path, file, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-v", "error", "-xerror", "-i", path, "-f", "s16le", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	got, err := cmd.Output()
	if err != nil || said.Len() > 0 || !bytes.Equal(got, want) {
		t.Errorf("%v: %d bytes of %d, %s", err, len(got), len(want), said.String())
	}
}

func FuzzFrame(f *testing.F) {
	for _, unit := range sounds() {
		f.Add(unit, uint64(1234), false)
	}
	f.Fuzz(func(t *testing.T, unit []byte, number uint64, a bool) {
		unit = unit[:min(len(unit), MaxBlock)]
		if len(unit) == 0 {
			return
		}
		l := ULaw
		if a {
			l = ALaw
		}
		check(t, l, unit, 8000, 1, number)
	})
}

// BenchmarkSecond makes a second of sound, in units of 20 ms: what a viewer of a
// stream with G.711 costs each second.
func BenchmarkSecond(b *testing.B) {
	speech := sounds()["speech"]
	speech = append(slices.Clone(speech), speech...)
	e := Encoder{Rate: 8000, Channels: 1}
	var pcm []int32
	var out []byte
	b.ReportAllocs()
	for b.Loop() {
		out = out[:0]
		for at := 0; at < len(speech); at += 160 {
			pcm = ULaw.Expand(pcm[:0], speech[at:at+160])
			out = e.Append(out, pcm, uint64(at))
		}
	}
	b.ReportMetric(float64(len(out)), "bytes")
}
