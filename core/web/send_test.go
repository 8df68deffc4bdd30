package web

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/valyala/fasthttp"
	"go.uber.org/goleak"

	"media-server/core/timeline"
)

type osFile struct {
	f        *os.File
	size     int64
	released *sync.WaitGroup
}

func (f osFile) ReadAt(p []byte, off int64) (int, error) { return f.f.ReadAt(p, off) }
func (f osFile) File() (*os.File, int64, bool)           { return f.f, f.size, true }
func (f osFile) Release()                                { f.released.Done() }

type handler func(ctx *fasthttp.RequestCtx)

func (h handler) Handle(ctx *fasthttp.RequestCtx) bool { h(ctx); return true }

// serve runs a server with one handler until the test ends.
func serve(t *testing.T, opt Options, h handler) (base string) {
	t.Helper()
	opt.HTTP = "127.0.0.1:0"
	s := New(opt)
	s.Use(h)
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- s.Run(ctx, 2*time.Second) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Errorf("Run: %v", err)
		}
	})
	return "http://" + s.Addrs()[0].String()
}

// TestOneDescriptorManyViewers: responses that share a descriptor do not mix
// up their offsets (Go's own sendfile path does).
func TestOneDescriptorManyViewers(t *testing.T) {
	before := goleak.IgnoreCurrent()
	t.Cleanup(func() {
		goleak.VerifyNone(t, before,
			// fasthttp's own two, which end by themselves or never.
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.(*workerPool).Start.func2"),
			goleak.IgnoreAnyFunction("github.com/valyala/fasthttp.updateServerDate.func1"))
	}) // after the server's own
	data := make([]byte, 3<<20)
	rnd := rand.NewChaCha8([32]byte{1})
	rnd.Read(data)
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, data, 0o600); err != nil {
		t.Fatal(err)
	}
	f, err := os.Open(name)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	var held sync.WaitGroup
	base := serve(t, Options{}, func(ctx *fasthttp.RequestCtx) {
		var off, n int64
		fmt.Sscan(string(ctx.QueryArgs().Peek("off")), &off)
		fmt.Sscan(string(ctx.QueryArgs().Peek("n")), &n)
		b := new(timeline.Body)
		file := osFile{f, int64(len(data)), &held}
		held.Add(1)
		b.Hold(file)
		b.Add([]byte("head"))
		b.AddFile(file, off, n)
		b.Add([]byte("tail"))
		SendBody(ctx, b, 0, b.Size(), nil)
	})
	client := &http.Client{Transport: &http.Transport{}}
	defer client.CloseIdleConnections()
	var wg sync.WaitGroup
	for i := range 12 {
		wg.Go(func() {
			off, n := i*100_000, 1_500_000+i
			resp, err := client.Get(fmt.Sprintf("%s/?off=%d&n=%d", base, off, n))
			if err != nil {
				t.Error(err)
				return
			}
			defer resp.Body.Close()
			got, err := io.ReadAll(resp.Body)
			want := append(append([]byte("head"), data[off:off+n]...), "tail"...)
			if err != nil || sha256.Sum256(got) != sha256.Sum256(want) || resp.ContentLength != int64(len(want)) {
				t.Errorf("viewer %d: %d bytes, %v; want %d bytes", i, len(got), err, len(want))
			}
		})
	}
	wg.Wait()
	held.Wait() // every response released its file
}

// TestClientLeaves: a body is released when its reader goes away.
func TestClientLeaves(t *testing.T) {
	released := make(chan struct{})
	base := serve(t, Options{}, func(ctx *fasthttp.RequestCtx) {
		b := new(timeline.Body)
		b.Hold(closer(func() { close(released) }))
		b.Add(bytes.Repeat([]byte("x"), 64<<20))
		SendBody(ctx, b, 0, b.Size(), nil)
	})
	c, err := net.Dial("tcp", base[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	c.Read(make([]byte, 100))
	c.Close()
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Fatal("the body was not released")
	}
}

type closer func()

func (c closer) ReadAt([]byte, int64) (int, error) { return 0, io.EOF }
func (c closer) File() (*os.File, int64, bool)     { return nil, 0, false }
func (c closer) Release()                          { c() }

// TestPanicIsContained: 500 with an id, and the server goes on.
func TestPanicIsContained(t *testing.T) {
	base := serve(t, Options{}, func(ctx *fasthttp.RequestCtx) {
		if string(ctx.Path()) == "/boom" {
			panic("boom")
		}
		JSON(ctx, map[string]string{"ok": "yes"})
	})
	for _, c := range []struct {
		path string
		want int
	}{{"/boom", 500}, {"/fine", 200}, {"/a%00b", 400}} {
		resp, err := http.Get(base + c.path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		resp.Body.Close()
		if resp.StatusCode != c.want {
			t.Errorf("%s: %d %s", c.path, resp.StatusCode, body)
		}
	}
	http.DefaultClient.CloseIdleConnections()
}

// TestConnectionsPerAddressAreBounded: the one too many is closed, and counted.
func TestConnectionsPerAddressAreBounded(t *testing.T) {
	base := serve(t, Options{MaxConnsPerIP: 2}, func(ctx *fasthttp.RequestCtx) { JSON(ctx, 1) })
	var conns []net.Conn
	for range 3 {
		c, err := net.Dial("tcp", base[len("http://"):])
		if err != nil {
			t.Fatal(err)
		}
		defer c.Close()
		conns = append(conns, c)
		fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	}
	ok := 0
	for _, c := range conns {
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, _ := c.Read(make([]byte, 64)); n > 0 {
			ok++
		}
	}
	if ok != 2 {
		t.Errorf("%d of 3 connections were answered, want 2", ok)
	}
}

func TestSelfSignedIsMadeOnceAndReloaded(t *testing.T) {
	dir := t.TempDir()
	a, err := SelfSigned(dir)
	if err != nil {
		t.Fatal(err)
	}
	b, err := SelfSigned(dir)
	if err != nil || a.Fingerprint() != b.Fingerprint() {
		t.Fatalf("a second start made another pair: %v", err)
	}
	fi, err := os.Stat(filepath.Join(dir, "tls-key.pem"))
	if err != nil || fi.Mode().Perm() != 0o600 {
		t.Fatalf("key file: %v %v", fi.Mode(), err)
	}
	os.WriteFile(filepath.Join(dir, "tls-cert.pem"), []byte("rubbish"), 0o644)
	if _, err := a.Get(nil); err != nil || a.Err() == nil {
		t.Fatalf("a broken pair: %v, problem %v; the last good pair stays and the problem is told", err, a.Err())
	}
}
