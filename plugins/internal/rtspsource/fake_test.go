package rtspsource

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

// fake is a camera that misbehaves on cue: it answers the handshake and then
// gives the connection to play.
type fake struct {
	sdp    string
	answer func(method string, headers string) (status string, extra string) // nil or "" = 200
	play   func(c *fakeConn)
}

type fakeConn struct {
	net.Conn
	t      *testing.T
	client [2]int // UDP ports of the last SETUP
	mu     sync.Mutex
	asked  []string
}

const fakeSDP = "v=0\r\ns=fake\r\nm=video 0 RTP/AVP 96\r\na=rtpmap:96 H264/90000\r\na=fmtp:96 packetization-mode=1\r\na=control:v\r\n"
const fakeAudio = "m=audio 0 RTP/AVP 8\r\na=control:a\r\n"

func (f *fake) start(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
	wg.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			mu.Lock()
			open = append(open, c)
			mu.Unlock()
			wg.Go(func() { f.serve(&fakeConn{Conn: c, t: t}) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		wg.Wait()
	})
	return "rtsp://user:geheim@" + l.Addr().String() + "/x"
}

func (f *fake) serve(c *fakeConn) {
	defer c.Close()
	buf := make([]byte, 0, 4096)
	tracks := 0
	for {
		head, rest, ok := bytes.Cut(buf, []byte("\r\n\r\n"))
		if !ok {
			n, err := c.Read(buf[len(buf):cap(buf)])
			if err != nil {
				return
			}
			buf = buf[:len(buf)+n]
			continue
		}
		text := string(head)
		buf = append(buf[:0], rest...)
		method, _, _ := strings.Cut(text, " ")
		c.mu.Lock()
		c.asked = append(c.asked, text)
		c.mu.Unlock()
		status, extra, body := "200 OK", "", ""
		switch method {
		case "OPTIONS":
			extra = "Public: DESCRIBE, SETUP, PLAY, GET_PARAMETER\r\n"
		case "DESCRIBE":
			body = f.sdp
			extra = fmt.Sprintf("Content-Type: application/sdp\r\nContent-Length: %d\r\n", len(body))
		case "SETUP":
			extra = fmt.Sprintf("Session: 7;timeout=2\r\nTransport: RTP/AVP/TCP;unicast;interleaved=%d-%d\r\n", 2*tracks, 2*tracks+1)
			if i := strings.Index(text, "client_port="); i >= 0 {
				fmt.Sscanf(text[i:], "client_port=%d-%d", &c.client[0], &c.client[1])
				extra = fmt.Sprintf("Session: 7\r\nTransport: RTP/AVP;unicast;client_port=%d-%d;server_port=6-7\r\n", c.client[0], c.client[1])
			}
			tracks++
		}
		if f.answer != nil {
			if s, e := f.answer(method, text); s != "" {
				status, extra, body = s, e, ""
				if method == "SETUP" {
					tracks--
				}
			}
		}
		cseq := ""
		for line := range strings.Lines(text + "\r\n") {
			if strings.HasPrefix(line, "CSeq:") {
				cseq = line
			}
		}
		if _, err := fmt.Fprintf(c, "RTSP/1.0 %s\r\n%s%s\r\n%s", status, cseq, extra, body); err != nil {
			return
		}
		if method == "PLAY" && status == "200 OK" && f.play != nil {
			go f.play(c) // ends when its writes fail
		}
		if method == "TEARDOWN" {
			return
		}
	}
}

// rtpBytes makes an RTP packet.
func rtpBytes(pt uint8, marker bool, seq uint16, ts, ssrc uint32, payload ...byte) []byte {
	b := make([]byte, 12, 12+len(payload))
	b[0], b[1] = 0x80, pt
	if marker {
		b[1] |= 0x80
	}
	binary.BigEndian.PutUint16(b[2:], seq)
	binary.BigEndian.PutUint32(b[4:], ts)
	binary.BigEndian.PutUint32(b[8:], ssrc)
	return append(b, payload...)
}

func framed(channel byte, b []byte) []byte {
	return append([]byte{'$', channel, byte(len(b) >> 8), byte(len(b))}, b...)
}

// srBytes makes an RTCP sender report.
func srBytes(ssrc uint32, at time.Time, rtp uint32) []byte {
	b := make([]byte, 28)
	b[0], b[1], b[3] = 0x80, 200, 6
	binary.BigEndian.PutUint32(b[4:], ssrc)
	binary.BigEndian.PutUint32(b[8:], uint32(at.Unix()+ntpToUnix))
	binary.BigEndian.PutUint32(b[12:], uint32(uint64(at.Nanosecond())<<32/1e9))
	binary.BigEndian.PutUint32(b[16:], rtp)
	return b
}

var slice = []byte{0x65, 0x88, 0x80, 0x40} // an IDR slice: first_mb 0

// send writes pictures first to last-1, 25 a second in RTP time, at once.
func (c *fakeConn) send(first, last int, ssrc, ts0 uint32) bool {
	for i := first; i < last; i++ {
		if _, err := c.Write(framed(0, rtpBytes(96, true, uint16(i), ts0+uint32(i)*3600, ssrc, slice...))); err != nil {
			return false
		}
	}
	return true
}

func TestMisbehaviour(t *testing.T) {
	for _, c := range []struct {
		name string
		fake fake
		cfg  Config
		want pb.Cause
		hint string
	}{
		{name: "reset", fake: fake{play: func(c *fakeConn) {
			c.send(0, 5, 1, 0)
			c.Conn.(*net.TCPConn).SetLinger(0)
			c.Close()
		}}, want: pb.Cause_LOST},
		{name: "end", fake: fake{play: func(c *fakeConn) { c.send(0, 5, 1, 0); c.Close() }}, want: pb.Cause_LOST},
		{name: "silence", fake: fake{play: func(c *fakeConn) { c.send(0, 5, 1, 0) }}, want: pb.Cause_SILENT},
		{name: "never a packet", fake: fake{}, want: pb.Cause_SILENT},
		{name: "never a packet, udp", fake: fake{}, cfg: Config{Transport: UDP}, want: pb.Cause_SILENT, hint: "firewall"},
		{name: "error status", fake: fake{answer: func(m, _ string) (string, string) {
			if m == "DESCRIBE" {
				return "500 Internal Server Error", ""
			}
			return "", ""
		}}, want: pb.Cause_PROTOCOL},
		{name: "bye", fake: fake{play: func(c *fakeConn) {
			c.send(0, 5, 1, 0)
			c.Write(framed(1, []byte{0x81, 203, 0, 1, 0, 0, 0, 1}))
		}}, cfg: Config{ReadTimeout: 4 * time.Second}, want: pb.Cause_LOST},
		{name: "session forgotten", fake: fake{answer: func(m, _ string) (string, string) {
			if m == "GET_PARAMETER" {
				return "454 Session Not Found", ""
			}
			return "", ""
		}, play: steadyStream}, want: pb.Cause_LOST},
		{name: "no media", fake: fake{sdp: "v=0\r\n"}, want: pb.Cause_PROTOCOL},
		{name: "only a back channel", fake: fake{sdp: "v=0\r\nm=audio 0 RTP/AVP 0\r\na=sendonly\r\n"}, want: pb.Cause_UNSUPPORTED},
		{name: "busy", fake: fake{answer: func(m, _ string) (string, string) {
			if m == "SETUP" {
				return "453 Not Enough Bandwidth", ""
			}
			return "", ""
		}}, want: pb.Cause_UNREACHABLE},
		{name: "forbidden", fake: fake{answer: func(m, _ string) (string, string) {
			if m == "DESCRIBE" {
				return "403 Forbidden", ""
			}
			return "", ""
		}}, want: pb.Cause_REFUSED},
		{name: "redirect loop", fake: fake{answer: func(m, text string) (string, string) {
			if m == "DESCRIBE" {
				return "302 Found", "Location: " + strings.Fields(text)[1] + "\r\n"
			}
			return "", ""
		}}, want: pb.Cause_PROTOCOL},
		{name: "teardown by the camera", fake: fake{play: func(c *fakeConn) {
			c.send(0, 2, 1, 0)
			io.WriteString(c, "TEARDOWN rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\n\r\n")
		}}, want: pb.Cause_LOST},
		{name: "announces other tracks", fake: fake{play: func(c *fakeConn) {
			c.send(0, 2, 1, 0)
			io.WriteString(c, "ANNOUNCE rtsp://x/ RTSP/1.0\r\nCSeq: 9\r\nContent-Length: 3\r\n\r\nv=0")
		}}, want: pb.Cause_CHANGED},
		{name: "endless rubbish", fake: fake{play: func(c *fakeConn) {
			junk := bytes.Repeat([]byte{0xee}, 64<<10)
			for {
				if _, err := c.Write(junk); err != nil {
					return
				}
			}
		}}, want: pb.Cause_PROTOCOL},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			if c.fake.sdp == "" {
				c.fake.sdp = fakeSDP
			}
			c.cfg.URL = c.fake.start(t)
			if c.cfg.ReadTimeout == 0 {
				c.cfg.ReadTimeout = 800 * time.Millisecond
			}
			_, err := capture(t, c.cfg, nil, 10*time.Second)
			f := cause(t, err, c.want)
			if strings.Contains(f.Error(), "geheim") || !strings.Contains(f.Hint, c.hint) {
				t.Errorf("message: %v", f)
			}
		})
	}
}

// steadyStream sends a picture every 40 ms until the connection ends.
func steadyStream(c *fakeConn) {
	for i := 0; c.send(i, i+1, 1, 0); i++ {
		time.Sleep(40 * time.Millisecond)
	}
}

// TestRubbishBetween sends bytes that are nothing between good frames, unknown
// channels, truncated RTP: the good ones must all arrive.
func TestRubbishBetween(t *testing.T) {
	f := fake{sdp: fakeSDP, play: func(c *fakeConn) {
		for i := 0; i < 40; i++ {
			c.Write([]byte("\r\n\x00\x01rubbish$\x63"))
			c.Write(framed(9, []byte("nobody's")))
			c.Write(framed(0, []byte{0x80, 0x60}))
			c.Write(framed(1, []byte{0x81, 200, 0xff, 0xff}))
			c.send(i, i+1, 1, 0)
		}
	}}
	m, err := capture(t, Config{URL: f.start(t)}, func(m *memory) bool { return len(m.units) >= 39 }, 10*time.Second)
	if err != nil {
		t.Fatalf("%v, %d units", err, len(m.units))
	}
}

// TestBridged changes SSRC and lets timestamps jump an hour: the run goes on
// without a leap.
func TestBridged(t *testing.T) {
	f := fake{sdp: fakeSDP, play: func(c *fakeConn) {
		c.send(0, 10, 1, 1<<32-5*3600) // wraps
		c.send(10, 20, 2, 77)          // another sender
		c.send(20, 30, 2, 90000*3600)  // an hour on
	}}
	m, err := capture(t, Config{URL: f.start(t)}, func(m *memory) bool { return len(m.units) >= 30 }, 10*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(m.units); i++ {
		if d := m.units[i].PTS - m.units[i-1].PTS; d < 0 || d > 90000*5 {
			t.Errorf("unit %d: PTS steps by %d", i, d)
		}
	}
	if n := m.stats.PacketsLost.Load(); n != 0 {
		t.Errorf("%d packets lost", n)
	}
}

// TestAutoFallsBackToUDP: a camera that refuses TCP by 461 is asked for UDP.
func TestAutoFallsBackToUDP(t *testing.T) {
	f := fake{sdp: fakeSDP, answer: func(m, text string) (string, string) {
		if m == "SETUP" && strings.Contains(text, "interleaved") {
			return "461 Unsupported Transport", ""
		}
		return "", ""
	}, play: func(c *fakeConn) { c.shuffled(20, nil) }}
	m, err := capture(t, Config{URL: f.start(t)}, func(m *memory) bool { return len(m.units) >= 20 }, 10*time.Second)
	if err != nil {
		t.Fatalf("%v, %d units", err, len(m.units))
	}
}

// shuffled sends n pictures of one packet over UDP in the order given.
func (c *fakeConn) shuffled(n int, order []int) {
	out, err := net.DialUDP("udp", nil, &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: c.client[0]})
	if err != nil {
		return
	}
	defer out.Close()
	if order == nil {
		for i := range n {
			order = append(order, i)
		}
	}
	for _, i := range order {
		out.Write(rtpBytes(96, true, uint16(65530+i), uint32(i)*3600, 1, slice...))
	}
}

// TestReorderedAndLost counts what UDP does to packets, and loses only what
// never came.
func TestReorderedAndLost(t *testing.T) {
	order := []int{0, 1, 3, 2, 2, 4, 6, 7, 8, 5, 9, 11, 12, 13, 14, 15} // 10 is lost
	f := fake{sdp: fakeSDP, play: func(c *fakeConn) { c.shuffled(0, order) }}
	m, err := capture(t, Config{URL: f.start(t), Transport: UDP}, func(m *memory) bool { return len(m.units) >= 15 }, 10*time.Second)
	if err != nil {
		t.Fatalf("%v, %d units", err, len(m.units))
	}
	want := int64(0)
	for _, u := range m.units {
		if want == 10*3600 {
			want += 3600
		}
		if u.PTS != want || u.Damaged {
			t.Errorf("PTS %d damaged %v, want %d", u.PTS, u.Damaged, want)
		}
		want += 3600
	}
	if l, r := m.stats.PacketsLost.Load(), m.stats.PacketsReordered.Load(); l != 1 || r != 2 {
		t.Errorf("lost %d, reordered %d; want 1 and 2", l, r)
	}
}

// TestNonceExpires: a 401 to a keep-alive is answered with the new nonce.
func TestNonceExpires(t *testing.T) {
	fresh := make(chan struct{})
	var once sync.Once
	f := fake{sdp: fakeSDP, answer: func(m, text string) (string, string) {
		if m == "GET_PARAMETER" {
			if strings.Contains(text, `nonce="b"`) {
				once.Do(func() { close(fresh) })
				return "", ""
			}
			return "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"b\"\r\n"
		}
		if !strings.Contains(text, "Authorization:") {
			return "401 Unauthorized", "WWW-Authenticate: Digest realm=\"x\", nonce=\"a\"\r\n"
		}
		return "", ""
	}, play: steadyStream}
	m, err := capture(t, Config{URL: f.start(t)}, func(*memory) bool {
		select {
		case <-fresh:
			return true
		default:
			return false
		}
	}, 10*time.Second)
	if err != nil {
		t.Fatalf("%v, %d units", err, len(m.units))
	}
}

// TestAudioNeverStopsVideo: whatever is odd about the audio, video is captured.
func TestAudioNeverStopsVideo(t *testing.T) {
	refuse := func(m, text string) (string, string) {
		if m == "SETUP" && strings.Contains(text, "/a ") {
			return "500 Internal Server Error", ""
		}
		return "", ""
	}
	for _, c := range []struct {
		name, audio string
		answer      func(string, string) (string, string)
		tracks      int
	}{
		{"good", fakeAudio, nil, 2},
		{"unknown", "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 X-FOO/8000\r\na=control:a\r\n", nil, 1},
		{"broken config", "m=audio 0 RTP/AVP 97\r\na=rtpmap:97 mpeg4-generic/48000/2\r\na=fmtp:97 config=zz;mode=AAC-hbr\r\na=control:a\r\n", nil, 1},
		{"no rtpmap", "m=audio 0 RTP/AVP 97\r\n", nil, 1},
		{"no formats", "m=audio 0 RTP/AVP\r\na=rtpmap:1 x\r\n", nil, 1},
		{"refused", fakeAudio, refuse, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			f := fake{sdp: fakeSDP + c.audio, answer: c.answer, play: func(c *fakeConn) { c.send(0, 10, 1, 0) }}
			m, err := capture(t, Config{URL: f.start(t)}, func(m *memory) bool { return len(m.units) >= 10 }, 10*time.Second)
			if err != nil {
				t.Fatal(err)
			}
			if len(m.tracks) != c.tracks || m.tracks[0].Codec != media.H264 {
				t.Errorf("tracks %v, left out %v", m.tracks, m.left)
			}
			if c.tracks == 1 && c.name != "no formats" && len(m.left) != 1 {
				t.Errorf("left out %v", m.left)
			}
		})
	}
}

// TestOnlyWantedKindsAreSetUp looks at what the camera was asked.
func TestOnlyWantedKindsAreSetUp(t *testing.T) {
	var mu sync.Mutex
	var asked []string
	f := fake{sdp: fakeSDP + fakeAudio, answer: func(m, text string) (string, string) {
		if m == "SETUP" {
			mu.Lock()
			defer mu.Unlock()
			asked = append(asked, strings.Fields(text)[1])
		}
		return "", ""
	}, play: func(c *fakeConn) { c.send(0, 3, 1, 0) }}
	_, err := capture(t, Config{URL: f.start(t), Wants: func(k media.Kind) bool { return k == media.Video }},
		func(m *memory) bool { return len(m.units) >= 3 }, 10*time.Second)
	if err != nil || len(asked) != 1 || !strings.HasSuffix(asked[0], "/x/v") || strings.Contains(asked[0], "geheim") {
		t.Errorf("%v, asked %v", err, asked)
	}
}
