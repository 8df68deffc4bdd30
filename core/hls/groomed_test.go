package hls

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
)

// TestGroomed: a playlist that reaches from groomed footage, which has lost its
// sound, into footage with sound carries the pictures of both and nothing else;
// one of either has what is there. A segment that has lost all of its frames is
// answered all the same.
func TestGroomed(t *testing.T) {
	src := new(fake).add(1, 0, 6, 2*time.Second)
	video := media.Track{ID: 1, Codec: media.H264, Timescale: 90000, Width: 640, Height: 360,
		SPS: []byte{0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00, 0x00, 0x03, 0x00, 0x32, 0x0f, 0x16, 0x2d, 0x96},
		PPS: []byte{0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0}}
	sound := media.Track{ID: 2, Codec: media.Opus, Timescale: 48000, SampleRate: 48000, Channels: 2}
	idOf := func(tracks ...media.Track) archive.InitID {
		b, err := mux.Init(tracks)
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		return archive.InitID(binary.BigEndian.Uint64(sum[:]))
	}
	whole, groomed := idOf(video, sound), idOf(video)
	src.inits = map[archive.InitID][]media.Track{whole: {video, sound}, groomed: {video}}
	for i := range src.segs {
		src.segs[i].Init = whole
		if i < 3 {
			src.segs[i].Init = groomed
		}
	}
	at := func(from, to int) Request {
		return Request{Span: media.Span{From: begin.Add(time.Duration(from) * time.Second), To: begin.Add(time.Duration(to) * time.Second)}}
	}
	for name, c := range map[string]struct {
		req    Request
		codecs string
		marked int // names that say pictures only
		maps   int
	}{
		"over the border":  {at(0, 60), `CODECS="avc1.64001E"`, 8, 2},
		"the groomed part": {at(0, 5), `CODECS="avc1.64001E"`, 0, 1},
		"the rest":         {at(7, 60), `CODECS="avc1.64001E,opus"`, 0, 1},
	} {
		text, err := New(src).Multivariant(c.req, "media.m3u8")
		if err != nil || !strings.Contains(strings.ToLower(string(text)), strings.ToLower(c.codecs)) {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
		text, err = New(src).Media(c.req)
		if err != nil || strings.Count(string(text), string(picturesOnly)+".") != c.marked || strings.Count(string(text), "#EXT-X-MAP") != c.maps || strings.Contains(string(text), "#EXT-X-DISCONTINUITY\n") {
			t.Errorf("%s: %v\n%s", name, err, text)
		}
	}
	both, err := New(src).Init("cam", fmt.Sprintf("init-%s.mp4", whole))
	pictures, err2 := New(src).Init("cam", fmt.Sprintf("init-%s-v.mp4", whole))
	if err != nil || err2 != nil || bytes.Count(both, []byte("trak")) != 2 || bytes.Count(pictures, []byte("trak")) != 1 {
		t.Errorf("inits: %v, %v", err, err2)
	}
	src.layouts = map[archive.FileID]*archive.Layout{1: {File: 1, Segments: []archive.SegmentLayout{{Number: src.segs[5].Number, First: 0, Last: 2}},
		Fragments: []archive.Fragment{{Track: 1, MoofOffset: 10, DataOffset: 20, DataSize: 30}, {Track: 2, MoofOffset: 60, DataOffset: 80, DataSize: 4}}}}
	for mark, size := range map[form]int64{plain: 40 + 24, picturesOnly: 40} {
		b, _, err := New(src).Segment("cam", fmt.Sprintf("%d-%d%s.m4s", src.segs[5].Span.From.Milli(), src.segs[5].Number, mark), media.Span{})
		if err != nil || b.Size() != size {
			t.Fatalf("segment%s: %v", mark, err)
		}
		b.Release()
	}

	src.layouts = map[archive.FileID]*archive.Layout{1: {File: 1, Segments: []archive.SegmentLayout{{Number: src.segs[0].Number}}}}
	b, final, err := New(src).Segment("cam", "1772366400000-100.m4s", media.Span{})
	if err != nil || !final || b.Size() != int64(len(emptySegment)) {
		t.Fatalf("a segment without frames: %v, %v", final, err)
	}
	b.Release()
}
