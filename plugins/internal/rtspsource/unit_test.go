package rtspsource

import (
	"bytes"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"media-server/core/media"
)

// collect is a port that keeps what comes out.
type collect struct {
	units []piece
	lost  int
}

func (c *collect) port() port {
	return port{unit: func(p piece) { c.units = append(c.units, p) }, discard: func() { c.lost++ }}
}

// fu cuts a NAL unit into FU-A payloads of size bytes.
func fu(nal []byte, size int) (out [][]byte) {
	head, body := nal[0], nal[1:]
	for i := 0; len(body) > 0; i++ {
		n := min(size, len(body))
		h := head & 0x1f
		if i == 0 {
			h |= 0x80
		}
		if n == len(body) {
			h |= 0x40
		}
		out = append(out, append([]byte{head&0xe0 | 28, h}, body[:n]...))
		body = body[n:]
	}
	return out
}

// TestDamage takes one packet after another out of three pictures: only the
// picture it belongs to may change, and it must be flagged or counted.
func TestDamage(t *testing.T) {
	picture := func(fill byte) [][]byte {
		sei := []byte{6, 5, 1, fill, 0x80}
		one := append([]byte{0x41, 0x9a}, bytes.Repeat([]byte{fill}, 300)...) // first_mb 0
		two := append([]byte{0x41, 0x4a}, bytes.Repeat([]byte{fill}, 200)...) // first_mb > 0
		return append(append([][]byte{sei}, fu(one, 100)...), fu(two, 100)...)
	}
	type sent struct {
		picture int
		p       packet
	}
	var all []sent
	for i := range 3 {
		parts := picture(byte(i + 1))
		for j, b := range parts {
			all = append(all, sent{i, packet{pt: 96, marker: j == len(parts)-1, seq: uint16(len(all)), ts: uint32(i), payload: b}})
		}
	}
	run := func(skip int) *collect {
		c := &collect{}
		d := newH264(c.port(), &decodeOrder{})
		for i, s := range all {
			if i != skip {
				d.push(&s.p, i > 0 && i == skip+1, stamp{})
			}
		}
		d.push(&packet{ts: 9, payload: slice}, skip == len(all)-1, stamp{})
		return c
	}
	whole := run(-1)
	if len(whole.units) != 3 || whole.lost != 0 {
		t.Fatalf("%d units, %d lost of an undamaged stream", len(whole.units), whole.lost)
	}
	for skip, s := range all {
		c := run(skip)
		if len(c.units)+c.lost != 3 {
			t.Errorf("without packet %d: %d units, %d lost", skip, len(c.units), c.lost)
		}
		for _, u := range c.units {
			same := bytes.Equal(u.payload, whole.units[u.ts].payload) && !u.damaged
			first := skip > 0 && all[skip-1].picture != s.picture
			switch {
			case int(u.ts) != s.picture && !same:
				t.Errorf("without packet %d of picture %d, picture %d changed", skip, s.picture, u.ts)
			case int(u.ts) == s.picture && !u.damaged && !first && skip != 0:
				t.Errorf("without packet %d of picture %d: not flagged", skip, s.picture)
			}
			if err := sampleForm(u.payload); err != nil {
				t.Errorf("without packet %d: %v", skip, err)
			}
		}
	}
}

// TestFirmware is a corpus of what cameras do to access units.
func TestFirmware(t *testing.T) {
	sps, pps, aud, idr, p2 := []byte{0x67, 1}, []byte{0x68, 2}, []byte{9, 0x10}, []byte{0x65, 0x88, 1}, []byte{0x65, 0x48, 2}
	join := func(nals ...[]byte) (b []byte) {
		for _, n := range nals {
			b = append(append(b, 0, 0, 0, byte(len(n))), n...)
		}
		return b
	}
	type in struct {
		ts     uint32
		marker bool
		b      []byte
	}
	for _, c := range []struct {
		name string
		in   []in
		want [][]byte
	}{
		{"plain, with delimiter", []in{{1, false, aud}, {1, false, sps}, {1, false, pps}, {1, true, idr}}, [][]byte{join(sps, pps, idr)}},
		{"marker on parameter sets", []in{{1, true, sps}, {1, true, pps}, {1, true, idr}}, [][]byte{join(sps, pps, idr)}},
		{"parameter sets with a time of their own", []in{{1, true, sps}, {2, true, pps}, {3, true, idr}}, [][]byte{join(sps, pps, idr)}},
		{"no markers", []in{{1, false, idr}, {2, false, idr}, {3, false, sps}}, [][]byte{join(idr), join(idr)}},
		{"marker on every slice", []in{{1, true, idr}, {1, true, p2}, {2, true, idr}, {2, true, p2}, {3, false, idr}},
			[][]byte{join(idr), join(p2), join(idr, p2)}},
		{"STAP-A", []in{{1, true, append(append([]byte{24}, 0, 2, 0x67, 1, 0, 2, 0x68, 2), append([]byte{0, 3}, idr...)...)}}, [][]byte{join(sps, pps, idr)}},
		{"Annex B inside", []in{{1, true, append([]byte{0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x68, 2, 0, 0, 0, 1}, idr...)}}, [][]byte{join(sps, pps, idr)}},
		{"fragments in one packet", []in{{1, true, append([]byte{0x7c, 0xc5}, idr[1:]...)}}, [][]byte{join(idr)}},
		{"empty packets", []in{{1, false, nil}, {1, true, idr}}, [][]byte{join(idr)}},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := &collect{}
			d := newH264(got.port(), &decodeOrder{})
			for i, p := range c.in {
				d.push(&packet{seq: uint16(i), ts: p.ts, marker: p.marker, payload: p.b}, false, stamp{})
			}
			var have [][]byte
			for _, u := range got.units {
				have = append(have, u.payload)
				if !u.key {
					t.Error("not a key frame")
				}
			}
			if !reflect.DeepEqual(have, c.want) {
				t.Errorf("got %x\nwant %x", have, c.want)
			}
		})
	}
}

func TestDecodeOrder(t *testing.T) {
	// Decoding order of I P B B with pictures of 10 ticks: depth 1, then 2 with
	// a B pyramid.
	for _, c := range []struct {
		name  string
		depth int
		pts   []int64
		want  []int64 // -9 = none
	}{
		{"no B-frames", 0, []int64{0, 10, 20, 30}, []int64{0, 10, 20, 30}},
		{"B-frames", 1, []int64{0, 30, 10, 20, 60, 40, 50}, []int64{-2 + 1, 0, 10, 20, 30, 40, 50}},
		{"pyramid", 2, []int64{0, 40, 20, 10, 30, 80, 60}, []int64{-2, -1, 0, 10, 20, 30, 40}},
		{"learned", -1, []int64{0, 10, 40, 20, 30, 70, 50, 60}, []int64{0, 10, 40, -9, -9, 41, 50, 60}},
		{"a lost picture", 1, []int64{0, 30, 20, 60, 40, 50}, []int64{-1, 0, 20, 30, 40, 50}},
		{"constant PTS", 0, []int64{5, 5, 6}, []int64{5, -9, 6}},
	} {
		var d decodeOrder
		d.setDepth(c.depth)
		var got []int64
		for _, p := range c.pts {
			v, ok := d.next(p)
			if !ok {
				v = -9
			}
			got = append(got, v)
		}
		if !reflect.DeepEqual(got, c.want) {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestNTP(t *testing.T) {
	at := time.Date(2025, 3, 4, 5, 6, 7, 750_000_000, time.UTC)
	now := media.WallOf(at)
	sec := uint64(at.Unix())
	half := uint64(3) << 30 // 0.75
	for _, c := range []struct {
		name string
		v    uint64
	}{
		{"since 1900", (sec+ntpToUnix)<<32 | half},
		{"without the 70 years", sec<<32 | half},
	} {
		if got := ntpWall(c.v, ntpShift(c.v, now)); got != now {
			t.Errorf("%s: %v, want %v", c.name, got.Time(), at)
		}
	}
	late := media.WallOf(time.Date(2040, 1, 1, 0, 0, 0, 0, time.UTC))
	v := (uint64(late/1e9) + ntpToUnix - 1<<32) << 32
	if got := ntpWall(v, ntpShift(v, late)); got != late {
		t.Errorf("after 2036: %v", got.Time())
	}
	for _, nano := range []int64{0, 1, 499_999_999, 999_999_999} {
		b := srBytes(1, time.Unix(sec2025, nano), 0)
		readRTCP(b, func(r senderReport) {
			if d := int64(ntpWall(r.ntp, ntpToUnix)) - sec2025*1e9 - nano; d < -1 || d > 0 {
				t.Errorf("fraction of %d ns is off by %d", nano, d)
			}
		}, nil)
	}
}

const sec2025 = 1_750_000_000

func TestTimeline(t *testing.T) {
	tl := timeline{rate: 90000}
	mono := int64(1e9)
	step := func(ts uint32, passed time.Duration) int64 {
		mono += int64(passed)
		v, _ := tl.extend(ts, mono)
		return v
	}
	base := step(1<<32-3600, 0)
	if got := step(0, 40*time.Millisecond) - base; got != 3600 {
		t.Errorf("wrap: %d", got)
	}
	if got := step(1<<32-1800, 0) - base; got != 1800 {
		t.Errorf("a B-frame over the wrap: %d", got)
	}
	if got := step(9*90000, time.Millisecond) - base; got != 9*90000+3600 {
		t.Errorf("a burst after a stall: %d", got)
	}
	tl.setReport(senderReport{ntp: (sec2025 + ntpToUnix) << 32, rtp: 9 * 90000}, 0, stamp{wall: sec2025 * 1e9, mono: mono})
	if got := tl.ntp(9*90000 + 45000); got != sec2025*1e9+5e8 {
		t.Errorf("NTP %d", got)
	}
	if tl.setReport(senderReport{ntp: 1 << 60, rtp: 1e9}, 0, stamp{mono: mono}) {
		t.Error("took a report of another time line")
	}
	before := step(9*90000+3600, 40*time.Millisecond)
	if got := step(5e8, time.Second) - before; got != 90000 || tl.ntp(5e8) != 0 {
		t.Errorf("jump: %d, NTP %d", got, tl.ntp(5e8))
	}
}

func TestAddress(t *testing.T) {
	for _, c := range []struct{ in, host, user, pass, request string }{
		{"rtsp://user:p#ss@10.0.0.7/main", "10.0.0.7:554", "user", "p#ss", "rtsp://10.0.0.7/main"},
		{"rtsp://u:a@b:c?d@10.0.0.7:8554/a?b=c", "10.0.0.7:8554", "u", "a@b:c?d", "rtsp://10.0.0.7:8554/a?b=c"},
		{"rtsp://u:%40%2f@h/", "h:554", "u", "@/", "rtsp://h/"},
		{"rtsp://u:100%@h/x", "h:554", "u", "100%", "rtsp://h/x"},
		{"RTSPS://h", "h:322", "", "", "rtsps://h"},
		{"rtsp://[fe80::1]:8554/x", "[fe80::1]:8554", "", "", "rtsp://[fe80::1]:8554/x"},
		{"rtsp://h/user=a_password=b_channel=1.sdp?real#1", "h:554", "", "", "rtsp://h/user=a_password=b_channel=1.sdp?real%231"},
		{"rtsp://h/a b%zz", "h:554", "", "", "rtsp://h/a%20b%25zz"},
	} {
		a, err := parseAddress(c.in)
		if err != nil || a.host != c.host || a.user != c.user || a.pass != c.pass || a.request.String() != c.request {
			t.Errorf("%s: %+v %v %v", c.in, a, a.request, err)
		}
	}
	for _, in := range []string{"", "x", "http://h/", "rtsp://", "rtsp://u:geheim/x@h/y z", "rtsp://u:geheim@/x", "rtsp://u:gehe\x00im@h\x01/"} {
		if _, err := parseAddress(in); err == nil || strings.Contains(err.Error(), "gehe") {
			t.Errorf("%q: %v", in, err)
		}
	}
}

func TestDocuments(t *testing.T) {
	c := &collect{}
	d := &documents{port: c.port(), between: true}
	send := func(ts uint32, marker, lost bool, text string) {
		d.push(&packet{ts: ts, marker: marker, payload: []byte(text)}, lost, stamp{})
	}
	send(1, false, false, "<a>")
	send(1, true, false, "</a>")
	send(2, false, false, "<b>")
	send(2, true, true, "</b>") // a hole
	send(3, false, true, "rest of something")
	send(3, true, false, "</c>")
	send(4, true, false, "<d/>")
	send(5, false, false, "<e/>") // no marker
	send(6, true, false, "<f/>")
	var got []string
	for _, u := range c.units {
		got = append(got, string(u.payload))
	}
	if want := []string{"<a></a>", "<d/>", "<e/>", "<f/>"}; !reflect.DeepEqual(got, want) || c.lost != 1 {
		t.Errorf("%q, lost %d", got, c.lost)
	}
}

func TestAAC(t *testing.T) {
	c := &collect{}
	d := &aacDepack{port: c.port(), size: 13, index: 3, delta: 3, frame: 1024}
	head := func(sizes ...int) []byte {
		b := []byte{byte(len(sizes) * 16 >> 8), byte(len(sizes) * 16)}
		for _, s := range sizes {
			b = append(b, byte(s>>5), byte(s<<3))
		}
		return b
	}
	push := func(ts uint32, marker, lost bool, b []byte) {
		d.push(&packet{ts: ts, marker: marker, payload: b}, lost, stamp{})
	}
	push(0, true, false, append(head(2, 3), "aabbb"...))
	push(2048, false, false, append(head(6), "abc"...)) // the whole size, as the RFC says
	push(2048, true, false, append(head(6), "def"...))
	push(3072, false, false, append(head(3), "abc"...)) // the fragment's size
	push(3072, true, false, append(head(2), "de"...))
	push(4096, false, false, append(head(6), "abc"...))
	push(4096, true, true, append(head(6), "def"...)) // a hole
	push(5120, true, false, []byte{0xff, 0xff})
	adts := []byte{0xff, 0xf1, 0x4c, 0x80, 9 >> 3, 9&7<<5 | 0x1f, 0xfc, 'x', 'y'}
	push(6144, true, false, append(head(len(adts)), adts...))
	var got []string
	for _, u := range c.units {
		got = append(got, fmt.Sprintf("%d %s", int64(u.ts)+u.offset, u.payload))
	}
	want := []string{"0 aa", "1024 bbb", "2048 abcdef", "3072 abcde", "6144 xy"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

// TestReceiverGivesUp: one missing packet holds others back for no longer than
// patience, also when nothing more comes.
func TestReceiverGivesUp(t *testing.T) {
	var got []string
	r := &receiver{reorder: true, restarted: func() {}}
	r.deliver = func(p *packet, lost bool, _ stamp) { got = append(got, fmt.Sprint(p.seq, lost)) }
	at := func(ms int64) stamp { return stamp{mono: ms * 1e6} }
	r.take(&packet{seq: 1}, at(0))
	r.take(&packet{seq: 3}, at(10))
	r.take(&packet{seq: 4}, at(20))
	r.tick(100 * 1e6)
	if len(got) != 1 {
		t.Errorf("too early: %v", got)
	}
	r.tick(161 * 1e6)
	r.take(&packet{seq: 2}, at(170))    // too late
	r.take(&packet{seq: 1005}, at(180)) // a long hole
	if want := []string{"1 false", "3 true", "4 false", "1005 true"}; !reflect.DeepEqual(got, want) {
		t.Errorf("%v", got)
	}
	if r.lost != 1+1000 {
		t.Errorf("lost %d", r.lost)
	}
}
