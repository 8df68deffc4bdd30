package webrtc

import (
	"bytes"
	"encoding/binary"
	"testing"

	"github.com/pion/rtp/codecs"

	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

func load(t testing.TB, name string) *clip.Clip {
	t.Helper()
	c, err := clip.Load(name)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// whole puts payloads together again with pion's depacketizer, as Annex B.
func whole(t *testing.T, parts [][]byte) []byte {
	t.Helper()
	var d codecs.H264Packet
	var b []byte
	for _, p := range parts {
		if len(p) > maxPayload {
			t.Fatalf("a payload of %d", len(p))
		}
		x, err := d.Unmarshal(p)
		if err != nil {
			t.Fatal(err)
		}
		b = append(b, x...)
	}
	return b
}

func annexB(nals ...[]byte) (b []byte) {
	for _, n := range nals {
		b = append(append(b, 0, 0, 0, 1), n...)
	}
	return b
}

func sample(nals ...[]byte) (b []byte) {
	for _, n := range nals {
		b = binary.BigEndian.AppendUint32(b, uint32(len(n)))
		b = append(b, n...)
	}
	return b
}

// TestCut: what is cut is what was there, with parameter sets in front of key frames.
func TestCut(t *testing.T) {
	c := load(t, clip.H264Plain)
	var k cutter
	for i, s := range c.Samples {
		var nals [][]byte
		if s.Key {
			nals = append(nals, c.Track.SPS, c.Track.PPS)
		}
		eachNAL(s.Payload, func(n []byte) { nals = append(nals, n) })
		if got, want := whole(t, k.h264(&c.Track, s.Payload, s.Key)), annexB(nals...); !bytes.Equal(got, want) {
			t.Fatalf("sample %d: %d bytes, want %d", i, len(got), len(want))
		}
	}
}

func TestCutCases(t *testing.T) {
	tr := &media.Track{Codec: media.H264, SPS: []byte{0x67, 1, 2, 3}, PPS: []byte{0x68, 4}}
	idr := append([]byte{0x65}, bytes.Repeat([]byte{7}, 3*maxPayload)...)
	own := []byte{0x67, 9, 9, 9}
	for _, c := range []struct {
		name string
		in   []byte
		key  bool
		want []byte
	}{
		{"key frame", sample(idr), true, annexB(tr.SPS, tr.PPS, idr)},
		{"other frame", sample([]byte{0x41, 1}), false, annexB([]byte{0x41, 1})},
		{"with sets of its own", sample(own, tr.PPS, idr), true, annexB(own, tr.PPS, idr)},
		{"delimiter and filler are left out", sample([]byte{9, 0xf0}, []byte{12, 0xff}, []byte{0x41, 1}), false, annexB([]byte{0x41, 1})},
		{"torn", append(sample([]byte{0x41, 1}), 0, 0, 0, 9, 1), false, annexB([]byte{0x41, 1})},
		{"empty", nil, false, nil},
		{"exactly one packet", sample(append([]byte{0x41}, bytes.Repeat([]byte{1}, maxPayload-1)...)), false, annexB(append([]byte{0x41}, bytes.Repeat([]byte{1}, maxPayload-1)...))},
		{"one more", sample(append([]byte{0x41}, bytes.Repeat([]byte{1}, maxPayload)...)), false, annexB(append([]byte{0x41}, bytes.Repeat([]byte{1}, maxPayload)...))},
	} {
		var k cutter
		if got := whole(t, k.h264(tr, c.in, c.key)); !bytes.Equal(got, c.want) {
			t.Errorf("%s: %.40x, want %.40x", c.name, got, c.want)
		}
	}
}

func FuzzCut(f *testing.F) {
	f.Add(sample([]byte{0x65, 0x88, 1}, bytes.Repeat([]byte{0x41}, 3000)), true)
	f.Add([]byte{0, 0, 0, 0, 1}, true)
	f.Add([]byte{0xff, 0xff, 0xff, 0xff, 1}, false)
	tr := &media.Track{Codec: media.H264, SPS: []byte{0x67, 1, 2, 3}, PPS: []byte{0x68, 4}}
	f.Fuzz(func(t *testing.T, b []byte, key bool) {
		var k cutter
		n := 0
		for _, p := range k.h264(tr, b, key) {
			if len(p) == 0 || len(p) > maxPayload {
				t.Fatalf("a payload of %d", len(p))
			}
			n += len(p)
		}
		if n > 2*len(b)+64 {
			t.Fatalf("%d bytes of %d", n, len(b))
		}
		hasB(b)
	})
}

func TestHasB(t *testing.T) {
	for name, want := range map[string]bool{clip.H264: true, clip.H264Small: true, clip.H264Plain: false} {
		any := false
		for i, s := range load(t, name).Samples {
			b := hasB(s.Payload)
			if b && s.Key {
				t.Errorf("%s: key frame %d is a B picture", name, i)
			}
			any = any || b
		}
		if any != want {
			t.Errorf("%s: B pictures %v", name, any)
		}
	}
}

func TestProfiles(t *testing.T) {
	for _, c := range []struct {
		offered, stream profile
		fit             int
	}{
		{profile{66, 0xe0}, profile{66, 0xc0}, fitSame},    // both Constrained Baseline
		{profile{66, 0xe0}, profile{77, 0x80}, fitSame},    // Main with constraint_set0 is it, too
		{profile{66, 0xe0}, profile{66, 0}, fitNot},        // Baseline with its slice groups is more
		{profile{66, 0}, profile{66, 0xe0}, fitIncluded},   //
		{profile{77, 0}, profile{66, 0xe0}, fitIncluded},   //
		{profile{77, 0}, profile{77, 0x40}, fitSame},       //
		{profile{77, 0}, profile{100, 0}, fitNot},          //
		{profile{100, 0}, profile{77, 0}, fitIncluded},     //
		{profile{100, 0}, profile{66, 0x40}, fitIncluded},  //
		{profile{100, 0x0c}, profile{100, 0x0c}, fitSame},  // Constrained High
		{profile{100, 0}, profile{100, 0x0c}, fitIncluded}, //
		{profile{100, 0x0c}, profile{100, 0}, fitNot},      //
		{profile{66, 0xe0}, profile{100, 0}, fitNot},       //
		{profile{244, 0}, profile{100, 0}, fitNot},         // High 4:4:4 Predictive: not known here
		{profile{110, 0}, profile{110, 0}, fitSame},        // nor High 10, but the same is the same
		{profile{88, 0xc0}, profile{66, 0x40}, fitSame},    // Extended with both flags
		{profile{88, 0}, profile{77, 0}, fitIncluded},      //
	} {
		if n := c.offered.fit(c.stream); n != c.fit {
			t.Errorf("%s (%x) for %s (%x): %d, want %d", c.offered.name(), c.offered, c.stream.name(), c.stream, n, c.fit)
		}
	}
}
