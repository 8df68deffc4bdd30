package hls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// newDoor is a stream of H.264, AAC and G.711 in segments of two seconds: 25
// pictures a second, each shown two after it is decoded, sound in units of 64 ms.
func newDoor(segments int) *telephone {
	p := &telephone{}
	p.add(1, 0, segments, 2*time.Second)
	p.tracks = []media.Track{
		{ID: 1, Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96}, PPS: []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}},
		{ID: 2, Codec: media.AAC, Timescale: 16000, SampleRate: 16000, Channels: 1, Config: []byte{0x14, 0x08}},
		{ID: 3, Codec: media.PCMU, Timescale: 8000, SampleRate: 8000, Channels: 1},
	}
	lay := &archive.Layout{File: 1, Zero: begin}
	next := [4]int64{0, 900000, 160000, 80000} // ten seconds after zero
	fragment := func(segment, track, n int, ticks uint32, size func(i int) []byte, cto int32) {
		fr := archive.Fragment{Track: track, Segment: segment, MoofOffset: int64(len(p.file)), BaseTime: next[track]}
		var payload []byte
		for i := range n {
			b := size(i)
			payload = append(payload, b...)
			fr.Samples = append(fr.Samples, media.Sample{Size: uint32(len(b)), Duration: ticks, CTO: cto, Key: track > 1 || i == 0})
		}
		fr.Duration = int64(n) * int64(ticks)
		next[track] += fr.Duration
		p.file = mux.AppendFragmentHead(p.file, track, 7, fr.BaseTime, fr.Samples)
		fr.DataOffset, fr.DataSize = int64(len(p.file)), int64(len(payload))
		p.file = append(p.file, payload...)
		lay.Fragments = append(lay.Fragments, fr)
	}
	for i := range p.segs {
		p.segs[i].File = 1
		s := archive.SegmentLayout{Number: p.segs[i].Number, First: len(lay.Fragments), Complete: true}
		fragment(i, 1, 50, 3600, func(k int) []byte {
			nal := bytes.Repeat([]byte{0x41}, 500+k)
			if k == 0 {
				nal[0] = 0x65
			}
			return append(binary.BigEndian.AppendUint32(nil, uint32(len(nal))), nal...)
		}, 7200)
		fragment(i, 2, 31, 1024, func(k int) []byte { return make([]byte, 100+k) }, 0)
		fragment(i, 3, 100, 160, func(int) []byte { return make([]byte, 160) }, 0)
		s.Last = len(lay.Fragments)
		lay.Segments = append(lay.Segments, s)
	}
	p.layouts = map[archive.FileID]*archive.Layout{1: lay}
	return p
}

func TestTS(t *testing.T) {
	p := newDoor(4)
	for i := range p.segs[2:] { // a hole of twenty seconds, for which numbers are free
		p.segs[2+i].Span.From, p.segs[2+i].Span.To = p.segs[2+i].Span.From.Add(20*time.Second), p.segs[2+i].Span.To.Add(20*time.Second)
		p.segs[2+i].Number, p.segs[2+i].Discontinuity = p.segs[2+i].Number+2, p.segs[2+i].Discontinuity+1
		p.layouts[1].Segments[2+i].Number += 2
	}
	req := Request{UID: "cam", TS: true, Carry: "container=ts", Span: media.Span{From: begin, To: begin.Add(time.Hour)}}
	text, err := New(p).Multivariant(req, "media.m3u8?container=ts")
	if err != nil || !strings.Contains(string(text), `CODECS="avc1.64001e,mp4a.40.2"`) {
		t.Fatalf("%v\n%s", err, text)
	}
	list, err := New(p).Media(req)
	if err != nil || strings.Contains(string(list), "EXT-X-MAP") {
		t.Fatalf("%v\n%s", err, list)
	}
	var peak, avg int
	_, line, _ := strings.Cut(string(text), "#EXT-X-STREAM-INF:")
	if _, err := fmt.Sscanf(line, "BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d", &peak, &avg); err != nil {
		t.Fatal(err)
	}
	var all []byte
	for _, e := range read(t, list).entries {
		name, carry, _ := strings.Cut(e.uri, "?")
		b := p.read(t, name)
		if !strings.HasSuffix(name, ".ts") || carry != "container=ts" || len(b) == 0 || len(b)%188 != 0 || b[0] != 0x47 {
			t.Errorf("%s: %d bytes", e.uri, len(b))
		}
		if bits := len(b) * 8 / 2; !e.gap && (bits > peak || bits > avg || bits < peak*3/4) { // of two seconds each
			t.Errorf("%s: %d bits a second, %d are announced, %d on average", e.uri, bits, peak, avg)
		}
		if e.gap != bytes.Equal(b, mux.TSNull()) {
			t.Errorf("%s: gap %v, %d bytes", e.uri, e.gap, len(b))
		}
		all = append(all, b...)
	}
	if n := len(read(t, list).entries); n != 6 {
		t.Errorf("%d entries\n%s", n, list)
	}
	exe, err := exec.LookPath("ffprobe")
	if err != nil {
		t.Fatal("ffprobe is not there: install the Debian package ffmpeg")
	}
	path := filepath.Join(t.TempDir(), "all.ts")
	if err := os.WriteFile(path, all, 0o600); err != nil {
		t.Fatal(err)
	}
	// Each unit at the time that it has in MP4, to the tick, from 1970 on.
	for stream, want := range [][]int64{times(p.layouts[1], 1, 90000), times(p.layouts[1], 2, 16000)} {
		out, err := exec.Command(exe, "-v", "error", "-select_streams", strconv.Itoa(stream), "-show_entries", "packet=pts", "-of", "csv=p=0", path).Output()
		var got []int64
		for l := range strings.Lines(string(out)) {
			if n, err := strconv.ParseInt(strings.Trim(l, ", \n"), 10, 64); err == nil {
				got = append(got, n)
			}
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("stream %d: %v, %d units of %d, or at other times", stream, err, len(got), len(want))
		}
	}
}

func times(l *archive.Layout, track int, scale int64) (out []int64) {
	for _, fr := range l.Fragments {
		at := fr.BaseTime
		for _, s := range fr.Samples {
			if fr.Track == track {
				out = append(out, (media.TicksOf(l.Zero.Sub(0), mux.TSRate)+media.Rescale(at+int64(s.CTO), mux.TSRate, scale))&(1<<33-1))
			}
			at += int64(s.Duration)
		}
	}
	return out
}

// TestTSEarly: no unit is shown before it is decoded, whatever MP4 says.
func TestTSEarly(t *testing.T) {
	p := newDoor(1)
	lay := p.layouts[1]
	for i := range lay.Fragments[0].Samples {
		lay.Fragments[0].Samples[i].CTO = []int32{7200, 0, -3600, -1800}[i%4]
	}
	in := p.tracks[:2]
	frags, size := fragmentsOf(lay.Fragments, in)
	f, _ := p.Pin("cam", 1)
	units, err := tsUnits(f, frags, in, lay.Zero, size)
	if err != nil {
		t.Fatal(err)
	}
	var shown [2][]int64
	last := units[0].DTS
	for _, u := range units {
		if u.DTS > u.PTS || u.DTS < last || u.Track == 1 && u.DTS != u.PTS {
			t.Errorf("track %d: decoded at %d, shown at %d, behind %d", u.Track, u.DTS, u.PTS, last)
		}
		last = u.DTS
		shown[u.Track] = append(shown[u.Track], u.PTS&(1<<33-1))
	}
	if !slices.Equal(shown[0], times(lay, 1, 90000)) || !slices.Equal(shown[1], times(lay, 2, 16000)) {
		t.Error("shown at other times")
	}
	// What need not be earlier stays where it was, and the clock does not run back from
	// one segment to the next.
	if first := units[0]; first.Track != 0 || first.PTS-first.DTS != 7200 {
		t.Errorf("the first is decoded at %d, shown at %d", first.DTS, first.PTS)
	}
}

// panics is a source with a fault.
type panics struct{ *telephone }

func (panics) Pin(string, archive.FileID) (timeline.File, error) { panic("a fault") }

// TestTSRefused: what cannot be MPEG-TS says so, and memory is lent and given back.
func TestTSRefused(t *testing.T) {
	sound := newTelephone(1)
	if _, err := New(sound).Multivariant(Request{Live: true, TS: true}, "media.m3u8"); !errors.Is(err, ErrCodec) || !strings.Contains(err.Error(), "pcmu") {
		t.Errorf("only G.711: %v", err)
	}
	p := newDoor(1)
	name := strconv.FormatInt(begin.Milli(), 10) + "-100.ts"
	s := New(p)
	body, final, err := s.Segment("cam", name, media.Span{})
	if err != nil || !final || s.ts.n.Load() == 0 {
		t.Fatalf("%v, %v, %d bytes lent", final, err, s.ts.n.Load())
	}
	body.Release()
	if n := s.ts.n.Load(); n != 0 {
		t.Errorf("%d bytes are never given back", n)
	}
	s.ts.n.Store(mostTSAtOnce)
	if _, _, err := s.Segment("cam", name, media.Span{}); !errors.Is(err, ErrBusy) || s.ts.n.Load() != mostTSAtOnce {
		t.Errorf("too many: %v", err)
	}
	s.ts.n.Store(0)
	var l []loan // recordings leave half of it to others
	for {
		x, ok := s.ts.take(mostLent/4, true)
		if !ok {
			break
		}
		l = append(l, x)
	}
	if other, ok := s.ts.take(mostLent, false); !ok || len(l) != 4 {
		t.Errorf("%d recordings leave nothing to others", len(l))
	} else {
		other.Release()
	}
	for _, x := range l {
		x.Release()
	}
	if n, r := s.ts.n.Load(), s.ts.recorded.Load(); n != 0 || r != 0 {
		t.Errorf("%d bytes are never given back, %d of recordings", n, r)
	}
	bad := New(panics{p})
	func() {
		defer func() { _ = recover() }()
		_, _, _ = bad.Segment("cam", name, media.Span{})
		t.Error("no panic")
	}()
	if n := bad.ts.n.Load(); n != 0 {
		t.Errorf("a panic leaves %d bytes lent", n)
	}
	fr := &p.layouts[1].Fragments[0]
	fr.Samples[3].Size = 1 << 30
	if _, _, err := s.Segment("cam", name, media.Span{}); !errors.Is(err, archive.ErrDamaged) || s.ts.n.Load() != 0 {
		t.Errorf("a unit beyond its fragment: %v, %d bytes lent", err, s.ts.n.Load())
	}
	fr.DataSize = mostTS + 1
	if _, _, err := s.Segment("cam", name, media.Span{}); !errors.Is(err, ErrTooLarge) {
		t.Errorf("a large one: %v", err)
	}
	for _, bad := range []string{"init-1.ts", strings.TrimSuffix(name, ".ts") + "-k.ts", name + ".ts", ".ts"} {
		if _, _, err := s.Segment("cam", bad, media.Span{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", bad, err)
		}
	}
}

// BenchmarkSegmentTS makes a segment of two seconds.
func BenchmarkSegmentTS(b *testing.B) {
	p := newDoor(1)
	name := strconv.FormatInt(begin.Milli(), 10) + "-100.ts"
	b.ReportAllocs()
	s := New(p)
	for b.Loop() {
		body, _, err := s.Segment("cam", name, media.Span{})
		if err != nil {
			b.Fatal(err)
		}
		body.Release()
	}
}
