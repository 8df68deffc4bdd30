package hls

import (
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// TestGroomed: where old footage has lost its sound a playlist says so, at the
// very segment, and its codecs are those of the whole range; a segment that has
// lost all of its frames is answered all the same.
func TestGroomed(t *testing.T) {
	src := new(fake).add(1, 0, 6, 2*time.Second)
	video := media.Track{ID: 1, Codec: media.H264, Timescale: 90000, Width: 640, Height: 360,
		SPS: []byte{0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96},
		PPS: []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}}
	sound := media.Track{ID: 2, Codec: media.Opus, Timescale: 48000, SampleRate: 48000, Channels: 2}
	src.inits = map[archive.InitID][]media.Track{1: {video, sound}, 2: {video}}
	for i := range 3 {
		src.segs[i].Init = 2 // groomed
	}
	whole := Request{Span: media.Span{From: begin, To: begin.Add(time.Minute)}}
	text, err := New(src).Media(whole)
	if err != nil {
		t.Fatal(err)
	}
	l := strings.Split(string(text), "#EXTINF")
	if len(l) != 7 || strings.Count(string(text), "#EXT-X-DISCONTINUITY\n") != 1 || strings.Count(string(text), "#EXT-X-MAP") != 2 || !strings.Contains(l[3], "#EXT-X-DISCONTINUITY\n#EXT-X-MAP:URI=\"init-0000000000000001.mp4\"") {
		t.Errorf("the border is not where it should be:\n%s", text)
	}
	for name, c := range map[string]struct {
		req  Request
		want string
	}{
		"the groomed part": {Request{Span: media.Span{From: begin, To: begin.Add(5 * time.Second)}}, `CODECS="avc1.64001E"`},
		"all of it":        {whole, `CODECS="avc1.64001E,opus"`},
	} {
		text, err := New(src).Multivariant(c.req, "media.m3u8")
		if err != nil || !strings.Contains(strings.ToLower(string(text)), strings.ToLower(c.want)) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	// What was recorded before and locked has sound, the end of the range has none.
	for i := range src.segs {
		src.segs[i].Init = archive.InitID(1 + i/3)
	}
	text, err = New(src).Multivariant(whole, "media.m3u8")
	if err != nil || !strings.Contains(string(text), "opus") {
		t.Errorf("locked before groomed: %v\n%s", err, text)
	}

	src.layouts = map[archive.FileID]*archive.Layout{1: {File: 1, Segments: []archive.SegmentLayout{{Number: src.segs[0].Number}}}}
	b, final, err := New(src).Segment("cam", "1772366400000-100.m4s")
	if err != nil || !final || b.Size() != int64(len(emptySegment)) {
		t.Fatalf("a segment without frames: %v, %v", final, err)
	}
	b.Release()
}
