package hls

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

var avc = media.Track{ID: 1, Codec: media.H264, Timescale: 90000, Width: 640, Height: 360, SPS: []byte{0x67, 0x64, 0x00, 0x1e}, PPS: []byte{0x68, 0xee}}

// TestScrub: one picture for each segment with a key frame, each shown until the
// next; none across a hole, none of tracks that HLS does not carry.
func TestScrub(t *testing.T) {
	sec := time.Second
	for _, c := range []struct {
		name string
		f    *fake
		want string // durations in seconds; | = discontinuity
		err  error
	}{
		{"a run", (&fake{}).add(1, 0, 3, 2*sec), "2 2 2", nil},
		{"no key frame for a while", dependent((&fake{}).add(1, 0, 5, 2*sec), 2, 3), "2 6 2", nil},
		{"it begins without one", dependent((&fake{}).add(1, 0, 3, 2*sec), 0), "2 2", nil},
		{"a hole", (&fake{}).add(1, 0, 2, 2*sec).add(2, 20*sec, 2, 4*sec), "2 2 | 4 4", nil},
		{"a run without a key frame", dependent((&fake{}).add(1, 0, 1, 2*sec).add(2, time.Hour, 1, 2*sec).add(3, time.Hour, 2, 4*sec), 1), "2 | | 4 4", nil},
		{"the first run has none", dependent((&fake{}).add(1, 0, 1, 2*sec).add(2, time.Hour, 1, 2*sec), 0), "| 2", nil},
		{"the newest grows", (&fake{}).add(1, 0, 3, 2*sec).grows(), "2 2 2", nil},
		{"nothing", &fake{}, "", ErrNoFootage},
	} {
		c.f.tracks = []media.Track{avc, {ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}}
		b, err := New(c.f).Scrub(Request{UID: "gate", Carry: "token=x"})
		if !errors.Is(err, c.err) {
			t.Errorf("%s: %v", c.name, err)
		}
		if err != nil {
			continue
		}
		var got []string
		for _, line := range strings.Split(string(b), "\n") {
			if d, ok := strings.CutPrefix(line, "#EXTINF:"); ok {
				got = append(got, strings.TrimSuffix(d, ".000000,"))
			}
			if line == "#EXT-X-DISCONTINUITY" {
				got = append(got, "|")
			}
			if strings.HasSuffix(line, ".m4s") || strings.Contains(line, ".m4s") && !strings.HasSuffix(line, "-k.m4s?token=x") {
				t.Errorf("%s: %s", c.name, line)
			}
		}
		if g := strings.Join(got, " "); g != c.want || !bytes.Contains(b, []byte("#EXT-X-I-FRAMES-ONLY\n")) || !bytes.Contains(b, []byte("#EXT-X-DISCONTINUITY-SEQUENCE:7\n")) || !bytes.HasSuffix(b, []byte("#EXT-X-ENDLIST\n")) || !bytes.Contains(b, []byte("-v.mp4?token=x")) {
			t.Errorf("%s: %q, want %q\n%s", c.name, g, c.want, b)
		}
	}
	for codec, want := range map[media.Codec]string{media.MJPEG: "carry: the stream's pictures are mjpeg", media.AAC: "carry: the stream has no pictures"} {
		f := (&fake{}).add(1, 0, 3, 2*sec)
		f.tracks = []media.Track{{ID: 1, Codec: codec, Timescale: 90000}}
		if _, err := New(f).Scrub(Request{UID: "gate"}); !errors.Is(err, ErrCodec) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", codec, err)
		}
	}
}

// dependent makes segments that begin without a key frame.
func dependent(f *fake, at ...int) *fake {
	for _, i := range at {
		f.segs[i].Independent = false
	}
	return f
}

// TestKeyFrame: what a scrub playlist names is one sample, with its bytes and its
// time, and shown for the whole segment.
func TestKeyFrame(t *testing.T) {
	f := (&fake{}).add(1, 0, 2, 2*time.Second)
	f.tracks = []media.Track{avc, {ID: 2, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}}
	f.layouts = map[archive.FileID]*archive.Layout{1: {File: 1, Segments: []archive.SegmentLayout{{Number: 100, First: 0, Last: 2}, {Number: 101, First: 2, Last: 4}},
		Fragments: []archive.Fragment{
			{Track: 2, DataOffset: 50, DataSize: 10, Samples: []media.Sample{{Size: 10, Duration: 160, Key: true}}},
			{Track: 1, DataOffset: 100, DataSize: 90, BaseTime: 900_000, Samples: []media.Sample{{Size: 70, Duration: 3600, Key: true, CTO: 7200}, {Size: 20, Duration: 3600}}},
			{Track: 1, DataOffset: 300, DataSize: 30, BaseTime: 1_080_000, Samples: []media.Sample{{Size: 30, Duration: 3600}}},
			{Track: 2, DataOffset: 400, DataSize: 10, Samples: []media.Sample{{Size: 10, Duration: 160, Key: true}}},
		}}}
	s := New(f)
	body, final, err := s.Segment("gate", fmt.Sprintf("%d-100-k.m4s", begin.Milli()), media.Span{})
	if err != nil || !final {
		t.Fatal(final, err)
	}
	b := make([]byte, body.Size())
	if _, err := body.ReadAt(b, 0); err != nil {
		t.Fatal(err)
	}
	body.Release()
	n := int(binary.BigEndian.Uint32(b))
	mdat := b[n:]
	if string(b[4:8]) != "moof" || string(mdat[4:8]) != "mdat" || len(mdat) != 78 || int(binary.BigEndian.Uint32(mdat)) != 78 || !bytes.Equal(mdat[8:], bytes.Repeat([]byte{1}, 70)) {
		t.Errorf("% x", b)
	}
	for _, want := range [][]byte{binary.BigEndian.AppendUint64(nil, 900_000), binary.BigEndian.AppendUint32(nil, 180_000), binary.BigEndian.AppendUint32(nil, 7200)} {
		if !bytes.Contains(b[:n], want) {
			t.Errorf("% x is not in the moof % x", want, b[:n])
		}
	}
	for _, name := range []string{fmt.Sprintf("%d-101-k.m4s", begin.Add(2*time.Second).Milli()), fmt.Sprintf("%d-99-k.m4s", begin.Milli())} {
		if _, _, err := s.Segment("gate", name, media.Span{}); !errors.Is(err, ErrNotFound) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if f.pinned != 0 {
		t.Errorf("%d pins are left", f.pinned)
	}
}
