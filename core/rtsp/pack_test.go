package rtsp

import (
	"bytes"
	"encoding/binary"
	"image"
	"image/jpeg"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph264"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtph265"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmjpeg"
	"github.com/bluenviron/gortsplib/v4/pkg/format/rtpmpeg4audio"
	"github.com/pion/rtcp"
	"github.com/pion/rtp"

	"media-server/core/media"
)

func bytesOf(first byte, n int) []byte {
	b := make([]byte, n)
	r := rand.New(rand.NewPCG(uint64(n), 1))
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	b[0] = first
	return b
}

func sample(nals ...[]byte) (b []byte) {
	for _, n := range nals {
		b = binary.BigEndian.AppendUint32(b, uint32(len(n)))
		b = append(b, n...)
	}
	return b
}

// packets packs a frame as it goes over TCP and takes the packets out again.
func packets(t testing.TB, track media.Track, f *media.Frame, ts uint32, prepare func(*sender)) (out []*rtp.Packet) {
	t.Helper()
	c, ok := codingOf(&track, 0)
	if !ok {
		t.Fatalf("%v cannot be sent", track)
	}
	var all []byte
	s := &sender{write: func(b []byte) error { all = append(all, b...); return nil }}
	m := &medium{track: track, c: c, tcp: true, ssrc: 7}
	f.Tracks, f.Track = []media.Track{track}, track.ID
	if prepare != nil {
		prepare(s)
	}
	c.pack(s, m, f, ts)
	s.flush()
	for len(all) > 0 {
		n := int(binary.BigEndian.Uint16(all[2:]))
		p := &rtp.Packet{}
		if err := p.Unmarshal(all[tcpHead : tcpHead+n]); err != nil || all[0] != '$' {
			t.Fatal(err)
		}
		if len(p.Payload) > mtu {
			t.Errorf("a packet of %d bytes", n)
		}
		p.Payload = bytes.Clone(p.Payload)
		out = append(out, p)
		all = all[tcpHead+n:]
	}
	return out
}

var (
	h264Track = media.Track{ID: 1, Codec: media.H264, Timescale: 90000, SPS: []byte{0x67, 0x64, 0, 0x1f, 1}, PPS: []byte{0x68, 1}}
	h265Track = media.Track{ID: 1, Codec: media.H265, Timescale: 90000, VPS: []byte{0x40, 1, 1}, SPS: []byte{0x42, 1, 2}, PPS: []byte{0x44, 1, 3}}
)

// TestPackNAL: what a decoder that nobody here wrote makes of the packets is what
// was put in, with the parameter sets before a key frame that has none.
func TestPackNAL(t *testing.T) {
	small, big := bytesOf(0x41, 900), bytesOf(0x65, 5000)
	exact, over := bytesOf(0x41, mtu), bytesOf(0x41, mtu+1)
	h264 := func(ps []*rtp.Packet) (got [][]byte) {
		d := &rtph264.Decoder{PacketizationMode: 1}
		if err := d.Init(); err != nil {
			t.Fatal(err)
		}
		for _, p := range ps {
			au, err := d.Decode(p)
			if err == nil {
				got = append(got, au...)
			}
		}
		return got
	}
	for _, c := range []struct {
		name string
		key  bool
		in   [][]byte
		want [][]byte
	}{
		{"small", false, [][]byte{small}, [][]byte{small}},
		{"fragments", true, [][]byte{h264Track.SPS, h264Track.PPS, big}, [][]byte{h264Track.SPS, h264Track.PPS, big}},
		{"parameters are put in", true, [][]byte{{9, 0xf0}, big}, [][]byte{h264Track.SPS, h264Track.PPS, big}},
		{"slices of all sizes", false, [][]byte{exact, over, small}, [][]byte{exact, over, small}},
	} {
		ps := packets(t, h264Track, &media.Frame{Key: c.key, Payload: sample(c.in...)}, 9, nil)
		if got := h264(ps); !equal(got, c.want) {
			t.Errorf("%s: %d units, want %d", c.name, len(got), len(c.want))
		}
		for i, p := range ps {
			if p.Marker != (i == len(ps)-1) || p.Timestamp != 9 || int(p.SequenceNumber) != i || p.SSRC != 7 {
				t.Errorf("%s: packet %d: %+v", c.name, i, p.Header)
			}
		}
	}
	big = bytesOf(0x26, 5000)
	d := &rtph265.Decoder{}
	if err := d.Init(); err != nil {
		t.Fatal(err)
	}
	var got [][]byte
	for _, p := range packets(t, h265Track, &media.Frame{Key: true, Payload: sample(big)}, 9, nil) {
		if au, err := d.Decode(p); err == nil {
			got = append(got, au...)
		}
	}
	if !equal(got, [][]byte{h265Track.VPS, h265Track.SPS, h265Track.PPS, big}) {
		t.Errorf("H.265: %d units", len(got))
	}
}

func equal(a, b [][]byte) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if !bytes.Equal(a[i], b[i]) {
			return false
		}
	}
	return true
}

func TestPackSound(t *testing.T) {
	aac := media.Track{ID: 1, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 2, Config: []byte{0x11, 0x90}}
	for _, n := range []int{1, 300} {
		d := &rtpmpeg4audio.Decoder{SizeLength: 13, IndexLength: 3, IndexDeltaLength: 3}
		if err := d.Init(); err != nil {
			t.Fatal(err)
		}
		in, got := bytesOf(1, n), [][]byte(nil)
		for _, p := range packets(t, aac, &media.Frame{Key: true, Payload: in}, 5, nil) {
			if aus, err := d.Decode(p); err == nil {
				got = append(got, aus...)
			}
		}
		if !equal(got, [][]byte{in}) {
			t.Errorf("AAC of %d bytes: %d units", n, len(got))
		}
	}
	// Fragments name the size of the whole unit (RFC 3640, 3.2.1.1), which the decoder
	// above does not take.
	var joined []byte
	in := bytesOf(1, 4000)
	for _, p := range packets(t, aac, &media.Frame{Key: true, Payload: in}, 5, nil) {
		if size := int(binary.BigEndian.Uint16(p.Payload[2:]) >> 3); size != len(in) {
			t.Errorf("a fragment of a unit of %d", size)
		}
		joined = append(joined, p.Payload[4:]...)
	}
	if !bytes.Equal(joined, in) {
		t.Error("fragments of AAC give another unit")
	}
	pcm := media.Track{ID: 1, Codec: media.PCMA, Timescale: 8000, SampleRate: 8000, Channels: 1}
	ps := packets(t, pcm, &media.Frame{Payload: bytesOf(1, 2*mtu+10)}, 100, nil)
	if len(ps) != 3 || ps[0].PayloadType != 8 || ps[1].Timestamp != 100+mtu || ps[2].Timestamp != 100+2*mtu || len(ps[2].Payload) != 10 {
		t.Errorf("G.711: %v", ps)
	}
	opus := media.Track{ID: 1, Codec: media.Opus, Timescale: 48000, SampleRate: 48000, Channels: 2}
	if ps := packets(t, opus, &media.Frame{Payload: bytesOf(1, 1275)}, 1, nil); len(ps) != 1 || len(ps[0].Payload) != 1275 {
		t.Errorf("Opus: %v", ps)
	}
	doc := media.Track{ID: 1, Codec: media.Metadata, Timescale: 90000}
	if ps := packets(t, doc, &media.Frame{Payload: bytesOf('<', 3000)}, 1, nil); len(ps) != 3 || !ps[2].Marker || ps[0].Marker {
		t.Errorf("metadata: %v", ps)
	}
}

func picture(t testing.TB, w, h int) []byte {
	t.Helper()
	img := image.NewYCbCr(image.Rect(0, 0, w, h), image.YCbCrSubsampleRatio420)
	for i := range img.Y {
		img.Y[i] = byte(i * 7)
	}
	var b bytes.Buffer
	if err := jpeg.Encode(&b, img, &jpeg.Options{Quality: 90}); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// TestPackJPEG: an image comes out of another decoder with the pixels it had.
func TestPackJPEG(t *testing.T) {
	in := picture(t, 320, 240)
	d := &rtpmjpeg.Decoder{}
	if err := d.Init(); err != nil {
		t.Fatal(err)
	}
	var out []byte
	for _, p := range packets(t, media.Track{ID: 1, Codec: media.MJPEG, Timescale: 90000}, &media.Frame{Key: true, Payload: in}, 1, nil) {
		if got, err := d.Decode(p); err == nil {
			out = got
		}
	}
	a, err := jpeg.Decode(bytes.NewReader(in))
	if err != nil {
		t.Fatal(err)
	}
	b, err := jpeg.Decode(bytes.NewReader(out))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(a.(*image.YCbCr).Y, b.(*image.YCbCr).Y) {
		t.Error("other pixels")
	}
	gray := &bytes.Buffer{}
	_ = jpeg.Encode(gray, &image.Gray{Pix: make([]byte, 64), Stride: 8, Rect: image.Rect(0, 0, 8, 8)}, nil)
	for name, bad := range map[string][]byte{"grey": gray.Bytes(), "too wide": picture(t, 2048, 8), "cut": in[:100], "nothing": nil, "no image": []byte("hello, this is not one")} {
		if ps := packets(t, media.Track{ID: 1, Codec: media.MJPEG, Timescale: 90000}, &media.Frame{Payload: bad}, 1, nil); len(ps) > 0 {
			t.Errorf("%s: %d packets", name, len(ps))
		}
	}
}

// FuzzPack: a frame that a camera has made up is sent somehow or not at all.
func FuzzPack(f *testing.F) {
	f.Add(uint8(0), sample(bytesOf(0x65, 3000)))
	f.Add(uint8(1), sample(bytesOf(0x26, 3000)))
	f.Add(uint8(2), picture(f, 64, 64))
	f.Fuzz(func(t *testing.T, kind uint8, payload []byte) {
		tracks := []media.Track{h264Track, h265Track, {ID: 1, Codec: media.MJPEG, Timescale: 90000},
			{ID: 1, Codec: media.AAC, Timescale: 48000, SampleRate: 48000, Channels: 1, Config: []byte{1}},
			{ID: 1, Codec: media.PCMU, Timescale: 8000, SampleRate: 8000, Channels: 2},
			{ID: 1, Codec: media.Opus, Timescale: 48000, SampleRate: 48000}, {ID: 1, Codec: media.Metadata, Timescale: 90000}}
		track := tracks[int(kind)%len(tracks)]
		for _, key := range []bool{false, true} {
			n := 0
			for _, p := range packetsOf(t, track, &media.Frame{Key: key, Payload: payload}) {
				n += len(p)
			}
			if n > 2*len(payload)+4096+len(payload)/mtu*64 {
				t.Errorf("%d bytes of %d", n, len(payload))
			}
		}
	})
}

func packetsOf(t testing.TB, track media.Track, f *media.Frame) (out [][]byte) {
	c, _ := codingOf(&track, 0)
	s := &sender{write: func(b []byte) error { out = append(out, bytes.Clone(b)); return nil }}
	m := &medium{track: track, c: c, tcp: true}
	f.Tracks, f.Track = []media.Track{track}, track.ID
	c.pack(s, m, f, 0)
	s.flush()
	return out
}

// TestExtension: the header extension of ONVIF replay, byte for byte, on the first
// packet of a frame (ONVIF Streaming Specification, 6.3).
func TestExtension(t *testing.T) {
	at := media.WallOf(noon.Add(250 * time.Millisecond))
	ps := packets(t, h264Track, &media.Frame{Key: true, Payload: sample(bytesOf(0x65, 3000))}, 1, func(s *sender) { s.onvif(at, true, false, true, false, 9) })
	if len(ps) < 3 || ps[1].Extension || !ps[0].Extension || ps[0].ExtensionProfile != 0xabac {
		t.Fatalf("%+v", ps[0].Header)
	}
	want := []byte{0xed, 0x4e, 0xa8, 0xc0, 0x40, 0, 0, 0, 0xa0, 9, 0, 0} // 1 March 2026, 12:00:00.25
	if got := ps[0].GetExtension(0); !bytes.Equal(got, want) {
		t.Errorf("% x, want % x", got, want)
	}
}

// TestReport: another reader of RTCP finds the time and the counts.
func TestReport(t *testing.T) {
	var all []byte
	s := &sender{write: func(b []byte) error { all = append(all, b...); return nil }}
	m := &medium{tcp: true, ssrc: 77, packets: 5, octets: 500, c: coding{clock: 90000}, offset: 1000, channels: [2]uint8{0, 1}}
	at := media.WallOf(noon.Add(123456789 * time.Nanosecond))
	s.report(m, at, m.clockTime(at), true)
	s.flush()
	ps, err := rtcp.Unmarshal(all[tcpHead:])
	if err != nil || len(ps) != 3 || all[1] != 1 {
		t.Fatalf("%v %v", ps, err)
	}
	sr := ps[0].(*rtcp.SenderReport)
	ns := int64(sr.NTPTime>>32-2208988800)*1e9 + int64((sr.NTPTime&0xffffffff)*1e9>>32)
	if d := ns - int64(at); d < -1 || d > 1 || sr.SSRC != 77 || sr.PacketCount != 5 || sr.OctetCount != 500 || sr.RTPTime != m.clockTime(at) {
		t.Errorf("%+v, off by %d ns", sr, d)
	}
	if sd := ps[1].(*rtcp.SourceDescription); len(sd.Chunks) != 1 || sd.Chunks[0].Source != 77 || sd.Chunks[0].Items[0].Text != cname {
		t.Errorf("%+v", sd)
	}
	if bye := ps[2].(*rtcp.Goodbye); len(bye.Sources) != 1 || bye.Sources[0] != 77 {
		t.Errorf("%+v", bye)
	}
}

func BenchmarkSend(b *testing.B) {
	c, _ := codingOf(&h264Track, 0)
	s := &sender{write: func([]byte) error { return nil }}
	m := &medium{track: h264Track, c: c, tcp: true}
	f := &media.Frame{Tracks: []media.Track{h264Track}, Track: 1, Payload: sample(bytesOf(0x41, 20000))}
	b.ReportAllocs()
	b.SetBytes(int64(len(f.Payload)))
	for b.Loop() {
		c.pack(s, m, f, 0)
		s.flush()
	}
}
