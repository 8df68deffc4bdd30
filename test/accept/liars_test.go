package accept

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"
)

// liars are cameras that cannot be recorded, each in its own way.
type liars struct {
	rtsp   map[string]string // what is wrong → host:port
	closed string            // nobody listens there
}

// newLiars starts them; they end with the test.
func newLiars(t *testing.T) liars {
	t.Helper()
	l := liars{rtsp: map[string]string{}}
	answers := map[string]func(method, cseq string) string{
		"auth": func(_, cseq string) string {
			return "RTSP/1.0 401 Unauthorized\r\nCSeq: " + cseq + "\r\nWWW-Authenticate: Digest realm=\"cam\", nonce=\"abc\"\r\n\r\n"
		},
		"404": func(_, cseq string) string { return "RTSP/1.0 404 Not Found\r\nCSeq: " + cseq + "\r\n\r\n" },
		"codec": func(m, cseq string) string {
			return describe(m, cseq, "m=video 0 RTP/AVP 96\r\na=rtpmap:96 VP8/90000\r\na=control:track1\r\n")
		},
		"sdp": func(m, cseq string) string { return describe(m, cseq, "m=video zero RTP/AVP ninety\r\na=rtpmap\r\n") },
		"rubbish": func(_, _ string) string {
			return strings.Repeat("\x00\xff\x17 this is not RTSP at all ", 1000)
		},
	}
	for name, answer := range answers {
		ln, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		l.rtsp[name] = ln.Addr().String()
		done := make(chan struct{})
		go func() { defer close(done); lie(ln, answer) }()
		t.Cleanup(func() { ln.Close(); <-done })
	}
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.closed = ln.Addr().String()
	ln.Close()
	return l
}

func describe(method, cseq, media string) string {
	if method == "OPTIONS" {
		return "RTSP/1.0 200 OK\r\nCSeq: " + cseq + "\r\nPublic: DESCRIBE, SETUP, PLAY\r\n\r\n"
	}
	sdp := "v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\ns=x\r\nt=0 0\r\n" + media
	return fmt.Sprintf("RTSP/1.0 200 OK\r\nCSeq: %s\r\nContent-Type: application/sdp\r\nContent-Length: %d\r\n\r\n%s", cseq, len(sdp), sdp)
}

// lie answers one connection after the other.
func lie(ln net.Listener, answer func(method, cseq string) string) {
	for {
		c, err := ln.Accept()
		if err != nil {
			return
		}
		sc := bufio.NewScanner(c)
		method, cseq := "", ""
		for sc.Scan() {
			line := sc.Text()
			switch f := strings.Fields(line); {
			case line == "" && method != "":
				if _, err := c.Write([]byte(answer(method, cseq))); err != nil {
					c.Close()
				}
				method = ""
			case method == "" && len(f) > 1:
				method = f[0]
			case len(f) == 2 && strings.EqualFold(f[0], "CSeq:"):
				cseq = f[1]
			}
		}
		c.Close()
	}
}
