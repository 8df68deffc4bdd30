package hls

import (
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// inParts gives the segments of f a layout each: n parts of pictures and sound, of d.
func (f *fake) inParts(n int, d time.Duration) *fake {
	f.tracks = []media.Track{
		{ID: 1, Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 0x42, 0xc0, 0x1e, 0xd9, 0x01, 0xe0, 0x89, 0xf9, 0x70, 0x11, 0, 0, 3, 0, 1, 0, 0, 3, 0, 0x32, 0x8f, 0x16, 0x2e, 0x48}, PPS: []byte{0x68, 0xcb, 0x83, 0xcb, 0x20}},
		{ID: 2, Codec: media.AAC, Timescale: 48000, Config: []byte{0x11, 0x90}, SampleRate: 48000, Channels: 2},
	}
	f.layouts = map[archive.FileID]*archive.Layout{}
	off := int64(1000)
	for i := range f.segs {
		g := &f.segs[i]
		l := f.layouts[g.File]
		if l == nil {
			l = &archive.Layout{File: g.File}
			f.layouts[g.File] = l
		}
		sl := archive.SegmentLayout{Number: g.Number, Span: g.Span, Independent: true, Complete: g.Complete, First: len(l.Fragments)}
		for p := range n {
			for track, scale := range map[int]uint32{1: 90000, 2: 48000} {
				ticks := media.TicksOf(d, scale)
				l.Fragments = append(l.Fragments, archive.Fragment{Track: track, Part: p, MoofOffset: off, MoofSize: 92, DataOffset: off + 100, DataSize: 400,
					Duration: ticks, Samples: []media.Sample{{Size: 400, Duration: uint32(ticks), Key: p == 0}}})
				off += 500
			}
		}
		sl.Last = len(l.Fragments)
		l.Segments = append(l.Segments, sl)
		g.Index = len(l.Segments) - 1
	}
	return f
}

// TestParts: a live playlist lists its newest segments by parts, the one that grows too,
// and names the next; what cannot have parts has none.
func TestParts(t *testing.T) {
	live := func(f *fake, req Request) string {
		t.Helper()
		req.UID = "cam"
		b, err := New(f).Media(req)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	f := new(fake).add(1, 0, 20, 2*time.Second).grows().inParts(4, 500*time.Millisecond)
	text := live(f, Request{Live: true, Parts: true, Carry: "token=x"})
	for _, want := range []string{
		"#EXT-X-VERSION:9\n", "#EXT-X-SERVER-CONTROL:CAN-BLOCK-RELOAD=YES,PART-HOLD-BACK=1.500,CAN-SKIP-UNTIL=60.0\n", "#EXT-X-PART-INF:PART-TARGET=0.500\n",
		fmt.Sprintf("#EXT-X-PART:DURATION=0.500000,URI=\"%d-118.0.m4s?token=x\",INDEPENDENT=YES\n#EXT-X-PART:DURATION=0.500000,URI=\"%d-118.1.m4s?token=x\"\n", f.segs[18].Span.From.Milli(), f.segs[18].Span.From.Milli()),
		fmt.Sprintf("-119.3.m4s?token=x\"\n#EXT-X-PRELOAD-HINT:TYPE=PART,URI=\"%d-119.4.m4s?token=x\"\n", f.segs[19].Span.From.Milli()),
	} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q in\n%s", want, text)
		}
	}
	if n := strings.Count(text, "#EXT-X-PART:"); n != 4*(partSegments+1) {
		t.Errorf("%d parts", n)
	}
	if l := read(t, []byte(text)); l.entries[len(l.entries)-1].sequence != 118 {
		t.Errorf("the segment that grows is an entry")
	}
	if text := live(f, Request{Live: true}); strings.Contains(text, "PART") || strings.Contains(text, "BLOCK") {
		t.Errorf("parts for one who takes none: %s", text)
	}
	if text := live(f, Request{Span: media.Span{From: begin, To: begin.Add(time.Hour)}, Parts: true}); strings.Contains(text, "PART") {
		t.Errorf("parts in a closed range: %s", text)
	}
	slow := new(fake).add(1, 0, 20, 2*time.Second).grows().inParts(2, time.Second)
	if text := live(slow, Request{Live: true, Parts: true}); strings.Contains(text, "PART") {
		t.Errorf("parts of a second each: %s", text)
	}
	five := new(fake).add(1, 0, 20, 2*time.Second).grows().inParts(5, 399_871*time.Microsecond)
	if text := live(five, Request{Live: true, Parts: true}); !strings.Contains(text, "PART-TARGET=0.400\n") {
		t.Errorf("parts of 0.4 s: %s", text)
	}
	// What a player has it is not told again, but for a minute.
	long := new(fake).add(1, 0, 200, 2*time.Second).grows().inParts(4, 500*time.Millisecond)
	whole := live(long, Request{Span: media.Span{From: begin}, Parts: true})
	text = live(long, Request{Span: media.Span{From: begin}, Parts: true, Skip: true})
	a, b := read(t, []byte(whole)), read(t, []byte(text))
	if want := fmt.Sprintf("#EXT-X-SKIP:SKIPPED-SEGMENTS=%d\n", len(a.entries)-len(b.entries)); len(b.entries) != 30 || !strings.Contains(text, want) || b.sequence != a.sequence {
		t.Errorf("%d entries of %d: %.600s", len(b.entries), len(a.entries), text)
	}
}

// TestReady: who waits for a part or a segment is answered when it is there.
func TestReady(t *testing.T) {
	f := new(fake).add(1, 0, 20, 2*time.Second).grows().inParts(4, 500*time.Millisecond) // 119 grows and has parts 0 to 3
	for _, c := range []struct {
		msn   uint64
		part  int
		ready bool
		err   error
	}{
		{118, -1, true, nil}, {118, 99, true, nil}, {119, 3, true, nil}, {119, 0, true, nil}, {1, 0, true, nil},
		{119, 4, false, nil}, {119, -1, false, nil}, {120, 0, false, nil}, {500, 0, false, ErrAhead},
	} {
		if got, err := New(f).Ready("cam", c.msn, c.part); got != c.ready || !errors.Is(err, c.err) {
			t.Errorf("%d.%d: %v %v", c.msn, c.part, got, err)
		}
	}
	if _, err := New(new(fake)).Ready("cam", 1, 0); !errors.Is(err, ErrNoFootage) {
		t.Errorf("nothing there: %v", err)
	}
}

// TestPartBytes: the parts of a segment together are the segment.
func TestPartBytes(t *testing.T) {
	f := new(fake).add(1, 0, 20, 2*time.Second).grows().inParts(4, 500*time.Millisecond)
	at := f.segs[19].Span.From.Milli()
	size := func(name string) (int64, error) {
		body, final, err := New(f).Segment("cam", name, media.Span{})
		if err != nil {
			return 0, err
		}
		if strings.Contains(name, ".1") && !final {
			t.Errorf("%s may change", name)
		}
		body.Release()
		return body.Size(), nil
	}
	for p := range 4 {
		if n, err := size(fmt.Sprintf("%d-119.%d.m4s", at, p)); n != 1000 || err != nil {
			t.Errorf("part %d: %d bytes, %v", p, n, err)
		}
	}
	if n, err := size(fmt.Sprintf("%d-119.4.m4s", at)); !errors.Is(err, ErrNotYet) {
		t.Errorf("the next part: %d %v", n, err)
	}
	if n, err := size(fmt.Sprintf("%d-118.4.m4s", f.segs[18].Span.From.Milli())); !errors.Is(err, ErrNotFound) {
		t.Errorf("a part behind the last: %d %v", n, err)
	}
	// Sound whose pictures come in the next part is served with that; at the end of a
	// segment it stands for itself.
	lay := f.layouts[f.segs[19].File]
	sl := &lay.Segments[len(lay.Segments)-1]
	only := []archive.Fragment{}
	for _, fr := range lay.Fragments[sl.First:sl.Last] {
		if fr.Track == 2 || fr.Part == 0 || fr.Part == 2 {
			only = append(only, fr)
		}
	}
	lay.Fragments = append(lay.Fragments[:sl.First:sl.First], only...)
	sl.Last = len(lay.Fragments)
	for whole, want := range map[bool]string{false: "0-0 1-2", true: "0-0 1-2 3-3"} {
		var got []string
		ps := partsIn(only, &f.tracks[0], whole)
		for _, p := range ps {
			got = append(got, fmt.Sprintf("%d-%d", p.from, p.index))
		}
		if strings.Join(got, " ") != want {
			t.Errorf("parts %v, want %s", got, want)
		}
	}
	if n, err := size(fmt.Sprintf("%d-119.2.m4s", at)); n != 1500 || err != nil {
		t.Errorf("a part with the sound before: %d bytes, %v", n, err)
	}
}
