package web

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/timeline"
)

// send writes raw requests to a server and reads its answers' status lines.
func send(t *testing.T, base, raw string) (status []int) {
	t.Helper()
	c, err := net.Dial("tcp", strings.TrimPrefix(base, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	c.SetDeadline(time.Now().Add(10 * time.Second))
	if _, err := io.WriteString(c, raw); err != nil {
		t.Fatal(err)
	}
	r := bufio.NewReader(c)
	for {
		resp, err := http.ReadResponse(r, nil)
		if err != nil {
			return status
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
		status = append(status, resp.StatusCode)
		if resp.Close {
			return status
		}
	}
}

// TestCounted: a failure of the server is in its log, one that a metric counts is not.
func TestCounted(t *testing.T) {
	var log strings.Builder
	base := serve(t, Options{Log: slog.New(slog.NewTextHandler(&log, nil))}, func(ctx *fasthttp.RequestCtx) {
		e := E(503, "busy", "busy", "")
		e.Counted = string(ctx.Path()) == "/counted"
		Fail(ctx, e)
	})
	// Of one connection: what is said of a request is not said of the next.
	if st := fmt.Sprint(send(t, base, "GET /counted HTTP/1.1\r\nHost: a\r\n\r\nGET /failed HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")); st != "[503 503]" {
		t.Error(st)
	}
	if said := log.String(); strings.Count(said, "request failed") != 1 || !strings.Contains(said, "path=/failed") {
		t.Error(said)
	}
}

// TestSmuggling: of a request whose end can be read in two ways nothing is
// answered but a refusal, and what follows on the connection is not read.
func TestSmuggling(t *testing.T) {
	base := serve(t, Options{}, func(ctx *fasthttp.RequestCtx) {
		ctx.SetConnectionClose()
		ctx.SetBodyString("answered")
	})
	const tail = "GET /second HTTP/1.1\r\nHost: b\r\n\r\n"
	for name, c := range map[string]struct {
		raw  string
		want string
	}{
		"plain":            {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nab", "[200]"},
		"chunked":          {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n0\r\n\r\n", "[200]"},
		"both":             {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + tail, "[400]"},
		"both, other case": {"POST / HTTP/1.1\r\nHost: a\r\ntransfer-encoding: chunked\r\ncontent-LENGTH: 5\r\n\r\n0\r\n\r\n" + tail, "[400]"},
		"two lengths":      {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nContent-Length: 0\r\n\r\n" + tail, "[400]"},
		"blank":            {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + tail, "[400]"},
		"other coding":     {"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + tail, "[400]"},
		"NUL in the path":  {"GET /a%00b HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "[400]"},
		"backslash":        {"GET /a%5c..%5cb HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", "[400]"},
		"long head":        {"GET /" + strings.Repeat("a", 17<<10) + " HTTP/1.1\r\nHost: a\r\n\r\n", "[431]"},
		"large body":       {"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999\r\n\r\n", "[413]"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := fmt.Sprint(send(t, base, c.raw)); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

// TestProxies: the address of a client is that of the connection, unless a
// trusted proxy says otherwise, and each request of a connection stands alone.
func TestProxies(t *testing.T) {
	answer := func(ctx *fasthttp.RequestCtx) {
		peer, _ := Peer(ctx)
		fmt.Fprintf(ctx, "%s by %s", ctx.RemoteIP(), peer)
	}
	trusted := serve(t, Options{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8"), netip.MustParsePrefix("10.0.0.0/8")}}, answer)
	open := serve(t, Options{}, answer)
	for _, c := range []struct {
		base string
		via  []string
		want string
	}{
		{trusted, []string{"203.0.113.7"}, "203.0.113.7"},
		{trusted, nil, "127.0.0.1"},
		{trusted, []string{"6.6.6.6, 203.0.113.7"}, "203.0.113.7"},
		{trusted, []string{"6.6.6.6", "203.0.113.7, 10.0.0.2"}, "203.0.113.7"},
		{trusted, []string{"10.0.0.1, 10.0.0.2"}, "10.0.0.1"},
		{trusted, []string{"6.6.6.6, rubbish"}, "127.0.0.1"},
		{trusted, []string{"::ffff:203.0.113.7"}, "203.0.113.7"},
		{trusted, []string{"2001:db8::1"}, "2001:db8::1"},
		{open, []string{"203.0.113.7"}, "127.0.0.1"},
	} {
		req, _ := http.NewRequest("GET", c.base, nil)
		for _, v := range c.via {
			req.Header.Add("X-Forwarded-For", v)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		b, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if string(b) != c.want+" by 127.0.0.1" {
			t.Errorf("%v: %s, want %s", c.via, b, c.want)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestPanics: neither a handler nor the making of a body takes the server down.
func TestPanics(t *testing.T) {
	released := make(chan struct{}, 8)
	base := serve(t, Options{}, func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/handler":
			panic("handler")
		case "/body":
			b := new(timeline.Body)
			b.AddLater(100, func() ([]byte, error) { panic("body") })
			SendBody(ctx, b, 0, 100, func(int64, error) { released <- struct{}{} })
		default:
			ctx.SetBodyString("well")
		}
	})
	resp, err := http.Get(base + "/handler")
	if err != nil || resp.StatusCode != 500 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
	if resp, err = http.Get(base + "/body"); err == nil {
		if b, err := io.ReadAll(resp.Body); err == nil {
			t.Errorf("%d bytes of an answer that could not be made", len(b))
		}
		resp.Body.Close()
	}
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Error("the body was not let go")
	}
	if resp, err = http.Get(base + "/"); err != nil || resp.StatusCode != 200 {
		t.Fatal(resp, err)
	}
	resp.Body.Close()
}

// TestClosedUnderway: a file that is closed while it is sent ends the answer; a
// file that gets its descriptor number is not sent instead.
func TestClosedUnderway(t *testing.T) {
	dir := t.TempDir()
	secret := filepath.Join(dir, "secret")
	const size = 64 << 20
	for _, name := range []string{filepath.Join(dir, "open"), secret} {
		f, err := os.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.Truncate(size); err != nil {
			t.Fatal(err)
		}
		f.Close()
	}
	if f, err := os.OpenFile(secret, os.O_WRONLY, 0); err != nil {
		t.Fatal(err)
	} else { // not a byte of it is 0
		chunk := []byte(strings.Repeat("S", 1<<20))
		for at := int64(0); at < size; at += 1 << 20 {
			f.WriteAt(chunk, at)
		}
		f.Close()
	}
	f, err := os.Open(filepath.Join(dir, "open"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	base := serve(t, Options{}, func(ctx *fasthttp.RequestCtx) {
		b := new(timeline.Body)
		b.AddFile(sharedFile{f}, 0, size)
		SendBody(ctx, b, 0, size, func(_ int64, err error) { done <- err })
	})
	resp, err := http.Get(base)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	buf := make([]byte, 1<<20)
	if _, err := io.ReadFull(resp.Body, buf); err != nil {
		t.Fatal(err)
	}
	f.Close() // as retention does
	s, err := os.Open(secret)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for {
		n, err := resp.Body.Read(buf)
		if strings.ContainsRune(string(buf[:n]), 'S') {
			t.Fatal("bytes of another file were sent")
		}
		if err == io.EOF {
			t.Error("the answer looks whole")
		}
		if err != nil {
			break
		}
	}
	if err := <-done; err == nil {
		t.Error("the end of the answer is no error")
	}
}

type sharedFile struct{ f *os.File }

func (s sharedFile) ReadAt(p []byte, off int64) (int, error) { return s.f.ReadAt(p, off) }
func (s sharedFile) File() (*os.File, int64, bool)           { return s.f, 1 << 62, true }
func (s sharedFile) Release()                                {}

// TestControlSocket: 0600 from its first moment, replaced when nobody answers
// on it, refused when somebody does, gone with the server.
func TestControlSocket(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "run", "control.sock")
	first := New(Options{Control: path})
	if err := first.Listen(); err != nil {
		t.Fatal(err)
	}
	if fi, err := os.Stat(path); err != nil || fi.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", fi, err)
	}
	second := New(Options{HTTP: "127.0.0.1:0", Control: path})
	if err := second.Listen(); err == nil || len(second.Addrs()) != 0 {
		t.Errorf("a second server: %v, still listens on %v", err, second.Addrs())
	}
	first.Close()
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
	// A leftover of a server that was killed.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		t.Fatal(err)
	}
	l.SetUnlinkOnClose(false)
	l.Close()
	third := New(Options{Control: path})
	third.Use(handler(func(ctx *fasthttp.RequestCtx) {
		p, _ := UserOf(ctx.Conn())
		fmt.Fprint(ctx, IsControl(ctx.Conn()), p.UID, p.Login)
	}))
	if err := third.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	end := make(chan error, 1)
	go func() { end <- third.Run(ctx, time.Second) }()
	cl := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}, DisableKeepAlives: true}}
	resp, err := cl.Get("http://control/")
	if err != nil {
		t.Fatal(err)
	}
	if b, _ := io.ReadAll(resp.Body); string(b) != fmt.Sprint(true, os.Getuid(), loginOf(int32(os.Getpid()), uint32(os.Getuid()))) {
		t.Errorf("control connection: %s", b)
	}
	resp.Body.Close()
	cancel()
	if err := <-end; err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(path); !os.IsNotExist(err) {
		t.Errorf("after the end: %v", err)
	}
}

func TestLoginIn(t *testing.T) {
	for text, want := range map[string]uint32{"1000": 1000, "1000\n": 1000, "0": 0, "4294967295": 7, "": 7, "x": 7, "-1": 7} {
		if got := loginIn(text, 7); got != want {
			t.Errorf("%q: %d, want %d", text, got, want)
		}
	}
}
