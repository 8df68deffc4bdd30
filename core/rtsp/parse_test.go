package rtsp

import (
	"bufio"
	"errors"
	"strings"
	"testing"
	"time"

	"media-server/core/media"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestReadRequest(t *testing.T) {
	for _, c := range []struct {
		name, text string
		method     string
		body       string
		bad        bool
	}{
		{"plain", "OPTIONS * RTSP/1.0\r\nCSeq: 1\r\n\r\n", "OPTIONS", "", false},
		{"line feeds alone", "PLAY rtsp://h/live/a RTSP/1.0\nCSeq:1\n\n", "PLAY", "", false},
		{"with a body", "SET_PARAMETER rtsp://h/ RTSP/1.0\r\ncontent-length: 3\r\n\r\nabc", "SET_PARAMETER", "abc", false},
		{"HTTP", "GET / HTTP/1.1\r\n\r\n", "", "", true},
		{"no URL", "PLAY RTSP/1.0\r\n\r\n", "", "", true},
		{"a method in small letters", "play rtsp://h/ RTSP/1.0\r\n\r\n", "", "", true},
		{"a header without a colon", "PLAY rtsp://h/ RTSP/1.0\r\nCSeq 1\r\n\r\n", "", "", true},
		{"a body too long", "PLAY rtsp://h/ RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n", "", "", true},
		{"a length below 0", "PLAY rtsp://h/ RTSP/1.0\r\nContent-Length: -1\r\n\r\n", "", "", true},
		{"a line without end", "PLAY " + strings.Repeat("x", 20000), "", "", true},
		{"headers without end", "PLAY rtsp://h/ RTSP/1.0\r\n" + strings.Repeat("A: b\r\n", 5000), "", "", true},
		{"binary", "\x00\xff\x17\n", "", "", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			r, err := readRequest(bufio.NewReader(strings.NewReader(c.text)))
			switch {
			case c.bad:
				if !errors.Is(err, errRubbish) {
					t.Errorf("%+v %v", r, err)
				}
			case err != nil || r.method != c.method || string(r.body) != c.body:
				t.Errorf("%+v %v", r, err)
			}
		})
	}
}

func FuzzRequest(f *testing.F) {
	f.Add("DESCRIBE rtsp://h:8554/dvr/gate?from=-1h RTSP/1.0\r\nCSeq: 2\r\nAccept: application/sdp\r\nRange: clock=20260301T080000Z-\r\nTransport: RTP/AVP;unicast;client_port=5000-5001\r\n\r\n")
	f.Add("PLAY rtsp://h/live/a/trackID=1 RTSP/1.0\nScale: -4\nFrames: intra/100\nRange: npt=now-\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		r, err := readRequest(bufio.NewReader(strings.NewReader(text)))
		if err != nil {
			return
		}
		_, _ = parseTarget(r.uri, noon, time.UTC)
		_, _ = parseTransport(r.header["transport"], func() bool { return true })
		d := &description{t: target{uid: "a", from: 1e18, to: 2e18}, origin: 1e18}
		for _, live := range []bool{false, true} {
			d.t.live = live
			if p, res := planOf(r, asked{d: d, tcp: true, now: media.WallOf(noon)}); res == nil {
				if from, to := p.ends(); !p.read.Live && to != 0 && from >= to {
					t.Errorf("from %d to %d", from, to)
				}
				if p.rate() <= 0 {
					t.Error("no rate")
				}
				_ = p.rangeText(d, 1e18)
			}
		}
		if lines := string(refuse(400, "%s", plain(r.uri)).append(nil, plain(r.get("cseq")))); strings.Count(lines, "\r\n\r\n") != 1 {
			t.Errorf("%q", lines)
		}
	})
}

func TestParseTarget(t *testing.T) {
	at := func(d time.Duration) media.Wall { return media.WallOf(noon.Add(d)) }
	for _, c := range []struct {
		uri    string
		want   target
		status int
	}{
		{"rtsp://h:8554/live/gate", target{uid: "gate", live: true}, 0},
		{"rtsps://h/live/gate/?token=x%20y", target{uid: "gate", live: true, token: "x y"}, 0},
		{"rtsp://h/live/gate/trackID=2", target{uid: "gate", live: true, track: 2}, 0},
		{"rtsp://h/dvr/gate", target{uid: "gate"}, 0},
		{"rtsp://h/dvr/gate?from=-1h", target{uid: "gate", from: at(-time.Hour)}, 0},
		{"rtsp://h/dvr/gate?from=2026-03-01T10:00:00Z&to=now&token=t", target{uid: "gate", from: at(-2 * time.Hour), to: at(0), token: "t"}, 0},
		{"rtsp://h/dvr/gate?from=2026-03-01T11:00:00+01:00&duration=30s", target{uid: "gate", from: at(-2 * time.Hour), to: at(-2*time.Hour + 30*time.Second)}, 0},
		{"rtsp://h/dvr/gate?from=-1h&to=-30m/trackID=1", target{uid: "gate", from: at(-time.Hour), to: at(-30 * time.Minute), track: 1}, 0},
		{"rtsp://h/dvr/gate/trackID=1?from=-1h&to=-30m", target{uid: "gate", from: at(-time.Hour), to: at(-30 * time.Minute), track: 1}, 0},
		{"rtsp://h/dvr/gate?from=-1h&to=-30m/", target{uid: "gate", from: at(-time.Hour), to: at(-30 * time.Minute)}, 0},
		{"rtsp://h/dvr/gate?from=-30m&to=-1h", target{}, 400},
		{"rtsp://h/dvr/gate?from=2099-01-01T00:00:00Z", target{}, 457},
		{"rtsp://h/dvr/gate?from=yesterday", target{}, 400},
		{"rtsp://h/dvr/gate?duration=5s", target{}, 400},
		{"rtsp://h/dvr/gate?from=-1h&duration=-5s", target{}, 400},
		{"rtsp://h/", target{}, 404},
		{"rtsp://h/live/", target{}, 404},
		{"rtsp://h/live/a/b", target{}, 404},
		{"rtsp://h/other/a", target{}, 404},
		{"http://h/live/a", target{}, 400},
		{"*", target{}, 400},
	} {
		got, res := parseTarget(c.uri, noon, time.UTC)
		if res != nil || c.status != 0 {
			if res == nil || res.status != c.status {
				t.Errorf("%s: %+v %+v, want %d", c.uri, got, res, c.status)
			}
			continue
		}
		if got.asked = ""; got != c.want {
			t.Errorf("%s: %+v, want %+v", c.uri, got, c.want)
		}
	}
	for _, uri := range []string{"rtsp://h/dvr/gate?from=1", "rtsp://other/dvr/gate", "/dvr/gate/trackID=1"} {
		if !(target{uid: "gate"}).same(uri) {
			t.Errorf("%s is another", uri)
		}
	}
	for _, uri := range []string{"rtsp://h/live/gate", "rtsp://h/dvr/gatex", "rtsp://h/", "", "*"} {
		if (target{uid: "gate"}).same(uri) {
			t.Errorf("%s is the same", uri)
		}
	}
}

func TestParseSpan(t *testing.T) {
	sec := int64(time.Second)
	clock := time.Date(2026, 3, 1, 8, 0, 0, 0, time.UTC).UnixNano()
	for _, c := range []struct {
		text string
		want span
		bad  bool
	}{
		{"npt=0-", span{unit: "npt", hasFrom: true}, false},
		{"npt=0.000-", span{unit: "npt", hasFrom: true}, false},
		{"npt=now-", span{unit: "npt", now: true}, false},
		{"npt=10.25-1:02:03.5", span{unit: "npt", from: 10*sec + sec/4, to: 3723*sec + sec/2, hasFrom: true, hasTo: true}, false},
		{"npt=-20", span{unit: "npt", to: 20 * sec, hasTo: true}, false},
		{"clock=20260301T080000Z-", span{unit: "clock", from: clock, hasFrom: true}, false},
		{"clock=20260301T080000.5Z-20260301T080001.000000001Z;time=20260301T080000Z", span{unit: "clock", from: clock + sec/2, to: clock + sec + 1, hasFrom: true, hasTo: true}, false},
		{"clock=20260301T080000Z", span{unit: "clock", from: clock, hasFrom: true}, false},
		{"clock=20260301T080000-", span{}, true},
		{"clock=99990101T000000Z-", span{}, true},
		{"clock=19691231T235959Z-", span{}, true},
		{"clock=now-", span{}, true},
		{"npt=-", span{}, true},
		{"npt=", span{}, true},
		{"npt=1e9-", span{}, true},
		{"npt=99999999999999999999-", span{}, true},
		{"npt=1:2:3:4-", span{}, true},
		{"npt=nan-", span{}, true},
		{"smpte=10:07:33-", span{}, true},
		{"", span{}, true},
	} {
		got, err := parseSpan(c.text)
		if (err != nil) != c.bad || !c.bad && got != c.want {
			t.Errorf("%q: %+v %v, want %+v", c.text, got, err, c.want)
		}
	}
	w := media.Wall(clock + 123456000)
	if s, err := parseSpan("clock=" + clockText(w) + "-"); err != nil || s.from != int64(w) {
		t.Errorf("%s: %+v %v", clockText(w), s, err)
	}
	if n, err := readNPT(nptText(3*time.Second + 40*time.Microsecond)); err != nil || n != 3*sec+40000 {
		t.Errorf("%d %v", n, err)
	}
}

func FuzzSpan(f *testing.F) {
	for _, s := range []string{"npt=1:02:03.5-7", "clock=20260301T080000.5Z-20260301T080001Z", "npt=now-"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		s, err := parseSpan(text)
		if err == nil && (s.from < 0 || s.to < 0) {
			t.Errorf("%q: %+v", text, s)
		}
	})
}

func TestParseTransport(t *testing.T) {
	for _, c := range []struct {
		text string
		udp  bool
		want transport
		ok   bool
	}{
		{"RTP/AVP/TCP;unicast;interleaved=2-3", true, transport{tcp: true, channels: [2]uint8{2, 3}, hasNumber: true}, true},
		{"RTP/AVP/TCP;unicast", true, transport{tcp: true}, true},
		{"RTP/AVP;unicast;client_port=5000-5001", true, transport{ports: [2]uint16{5000, 5001}, hasNumber: true}, true},
		{"RTP/AVP/UDP;unicast;client_port=5000;mode=\"PLAY\"", true, transport{ports: [2]uint16{5000, 5001}, hasNumber: true}, true},
		{"RTP/AVP;unicast;client_port=5000-5001,RTP/AVP/TCP;unicast;interleaved=0-1", false, transport{tcp: true, channels: [2]uint8{0, 1}, hasNumber: true}, true},
		{"RTP/AVP;unicast;client_port=5000-5001", false, transport{}, false},
		{"RTP/AVP;multicast;port=1-2", true, transport{}, false},
		{"RTP/AVP;unicast", true, transport{}, false},
		{"RTP/SAVP;unicast;client_port=5000-5001", true, transport{}, false},
		{"RTP/AVP;unicast;client_port=0-70000", true, transport{}, false},
		{"RTP/AVP/TCP;interleaved=300-301", true, transport{}, false},
		{"RTP/AVP/TCP;mode=record", true, transport{}, false},
		{"", true, transport{}, false},
	} {
		if got, ok := parseTransport([]string{c.text}, func() bool { return c.udp }); ok != c.ok || got != c.want {
			t.Errorf("%q: %+v %v", c.text, got, ok)
		}
	}
	for text, ok := range map[string]bool{"": true, "8000-8001": true, "8001-8002": false, "8000-8002": false, "8000": true, "a": false, "0-1": false, "70000-70001": false} {
		if _, err := parsePorts(text); (err == nil) != ok {
			t.Errorf("udp-ports = %q: %v", text, err)
		}
	}
}

func FuzzTransport(f *testing.F) {
	f.Add("RTP/AVP/TCP;unicast;interleaved=2-3,RTP/AVP;client_port=5000-5001;mode=\"PLAY\"")
	f.Fuzz(func(t *testing.T, text string) {
		if got, ok := parseTransport([]string{text}, func() bool { return true }); ok && !got.tcp && (got.ports[0] == 0 || got.ports[1] == 0) {
			t.Errorf("%+v", got)
		}
	})
}
