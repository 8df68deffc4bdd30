package hls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/flac"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// telephone is a stream of one file with ten seconds of µ-law behind zero, in
// parts of half a second of units of 20 ms.
type telephone struct {
	fake
	file   []byte
	stored []byte // the sound alone
}

type memory struct{ io.ReaderAt }

func (memory) File() (*os.File, int64, bool) { return nil, 0, false }
func (memory) Release()                      {}

func (p *telephone) Pin(string, archive.FileID) (timeline.File, error) {
	return memory{bytes.NewReader(p.file)}, nil
}

func newTelephone(segments int) *telephone {
	p := &telephone{}
	p.add(1, 0, segments, 2*time.Second)
	p.tracks = []media.Track{{ID: 1, Codec: media.PCMU, Timescale: 8000, SampleRate: 8000, Channels: 1}}
	lay := &archive.Layout{File: 1, Zero: begin}
	sequence := uint32(40)
	base := int64(0)
	for i := range p.segs {
		p.segs[i].File = 1
		s := archive.SegmentLayout{Number: p.segs[i].Number, First: len(lay.Fragments), Complete: true}
		for range 4 {
			fr := archive.Fragment{Track: 1, Segment: i, MoofOffset: int64(len(p.file)), BaseTime: base, Duration: 4000}
			for range 25 {
				fr.Samples = append(fr.Samples, media.Sample{Size: 160, Duration: 160, Key: true})
			}
			sequence++
			p.file = mux.AppendFragmentHead(p.file, 1, sequence, base, fr.Samples)
			fr.DataOffset, fr.DataSize = int64(len(p.file)), 4000
			for k := range 4000 {
				x := math.Sin(float64(base+int64(k))*0.2)*90 + 128 // bytes, not sound: all 256 values come up
				p.file = append(p.file, byte(x))
			}
			p.stored = append(p.stored, p.file[fr.DataOffset:]...)
			lay.Fragments = append(lay.Fragments, fr)
			base += 4000
		}
		s.Last = len(lay.Fragments)
		lay.Segments = append(lay.Segments, s)
	}
	p.layouts = map[archive.FileID]*archive.Layout{1: lay}
	return p
}

// read gives the bytes of what a playlist names.
func (p *telephone) read(t testing.TB, name string) []byte {
	t.Helper()
	if strings.HasPrefix(name, "init-") {
		b, err := New(p).Init("cam", name)
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	body, final, err := New(p).Segment("cam", name, media.Span{})
	if err != nil || !final {
		t.Fatalf("%s: %v, %v", name, final, err)
	}
	defer body.Release()
	b := make([]byte, body.Size())
	if _, err := body.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	return b
}

// TestG711 reads a stream of G.711 as a player does, and decodes it: every
// sample is what G.711 says, at its time.
func TestG711(t *testing.T) {
	p := newTelephone(5)
	req := Request{UID: "cam", Span: media.Span{From: begin, To: begin.Add(time.Hour)}}
	if yes, err := New(p).Converts(req); !yes || err != nil {
		t.Fatalf("%v, %v", yes, err)
	}
	if _, err := New(p).Multivariant(req, "media.m3u8"); !errors.Is(err, ErrCodec) {
		t.Errorf("an old playlist: %v", err)
	}
	req.FLAC = true
	text, err := New(p).Multivariant(req, "media.m3u8")
	if err != nil || !strings.Contains(string(text), `CODECS="fLaC"`) {
		t.Fatalf("%v\n%s", err, text)
	}
	list, err := New(p).Media(req)
	if err != nil {
		t.Fatal(err)
	}
	var movie []byte
	for line := range strings.Lines(string(list)) {
		line = strings.TrimSpace(line)
		if uri, ok := strings.CutPrefix(line, `#EXT-X-MAP:URI="`); ok {
			line = strings.TrimSuffix(uri, `"`)
		}
		if strings.HasPrefix(line, "#") {
			continue
		}
		if !strings.Contains(line, "-f.m") {
			t.Fatalf("%s has no mark\n%s", line, list)
		}
		b := p.read(t, line)
		if again := p.read(t, line); !bytes.Equal(b, again) {
			t.Errorf("%s: other bytes the second time", line)
		}
		movie = append(movie, b...)
	}
	exe, err := exec.LookPath("ffmpeg")
	if err != nil {
		t.Fatal("ffmpeg is not there: install the Debian package ffmpeg")
	}
	path := filepath.Join(t.TempDir(), "sound.mp4")
	if err := os.WriteFile(path, movie, 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(exe, "-v", "error", "-xerror", "-i", path, "-f", "s16le", "-")
	var said bytes.Buffer
	cmd.Stderr = &said
	got, err := cmd.Output()
	var want []byte
	for _, v := range flac.ULaw.Expand(nil, p.stored) {
		want = binary.LittleEndian.AppendUint16(want, uint16(v))
	}
	if err != nil || said.Len() > 0 || !bytes.Equal(got, want) {
		t.Errorf("%v: %d bytes of %d, %s", err, len(got), len(want), said.String())
	}
}

// TestForms: a playlist over a change of codings names each in the form that it
// is served in, an old one goes on as it began, and where grooming took the sound
// there are pictures only.
func TestForms(t *testing.T) {
	p := new(fake).add(1, 0, 2, 2*time.Second).add(2, 0, 2, 2*time.Second)
	g711 := media.Track{ID: 1, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}
	opus := media.Track{ID: 1, Codec: media.Opus, Timescale: 48000, SampleRate: 48000, Channels: 2}
	p.inits = map[archive.InitID][]media.Track{1: {g711}, 2: {opus}}
	for flac, want := range map[bool][2]int{false: {0, 6}, true: {3, 3}} {
		text, err := New(p).Media(Request{UID: "cam", Span: media.Span{From: begin, To: begin.Add(time.Hour)}, FLAC: flac})
		marked, all := strings.Count(string(text), "-f.m"), strings.Count(string(text), ".m4s")+strings.Count(string(text), ".mp4")
		if err != nil || [2]int{marked, all - marked} != want {
			t.Errorf("FLAC %v: %v\n%s", flac, err, text)
		}
	}
}

// TestOddUnits: units that are too long for a frame, empty, or of half a sample
// keep their time, and a table that lies is refused.
func TestOddUnits(t *testing.T) {
	stereo := media.Track{ID: 1, Codec: media.PCMA, Timescale: 90000, SampleRate: 16000, Channels: 2}
	w := new(workshop)
	units := []media.Sample{{Size: 0, Duration: 90}, {Size: 20000, Duration: 56250}, {Size: 1, Duration: 10}, {Size: 321, Duration: 900}, {Size: 0, Duration: 7}}
	if err := w.convert(stereo, make([]byte, 20322), 1000, units); err != nil {
		t.Fatal(err)
	}
	var sum int64
	size := 0
	for _, s := range w.table {
		sum += int64(s.Duration)
		size += int(s.Size)
	}
	if w.base != 1090 || sum != 56250+10+900+7 || size != len(w.frames) || len(w.table) != 4 {
		t.Errorf("from %d, %d ticks, %d bytes of %d: %+v", w.base, sum, size, len(w.frames), w.table)
	}
	if err := w.convert(stereo, make([]byte, 20), 0, units); !errors.Is(err, archive.ErrDamaged) {
		t.Errorf("units beyond the end: %v", err)
	}
}

func FuzzConvert(f *testing.F) {
	f.Add([]byte("some bytes of G.711"), int64(1000), uint32(4), uint32(8), uint32(160), 1)
	f.Fuzz(func(t *testing.T, data []byte, base int64, a, b, d uint32, channels int) {
		tr := media.Track{ID: 1, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: channels}
		if !mux.FLACable(tr) {
			return
		}
		w := new(workshop)
		units := []media.Sample{{Size: a, Duration: d}, {Size: b, Duration: d}}
		if err := w.convert(tr, data, base, units); err != nil {
			return
		}
		var size, ticks uint64
		for _, s := range w.table {
			size, ticks = size+uint64(s.Size), ticks+uint64(s.Duration)
		}
		if size != uint64(len(w.frames)) || len(w.table) > 0 && ticks+uint64(w.base-base) < uint64(d)*2&(1<<32-1) && d < 1<<30 {
			t.Errorf("%d bytes of %d, %d ticks", size, len(w.frames), ticks)
		}
	})
}

// BenchmarkSegmentG711 plans a segment of two seconds with converted sound: twice
// what each viewer costs a second.
func BenchmarkSegmentG711(b *testing.B) {
	p := newTelephone(1)
	name := "1772366400000-100-f.m4s"
	b.ReportAllocs()
	for b.Loop() {
		body, _, err := New(p).Segment("cam", name, media.Span{})
		if err != nil {
			b.Fatal(err)
		}
		body.Release()
	}
}
