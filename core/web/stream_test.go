package web

import (
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

type closing struct {
	io.Reader
	closed chan bool
}

func (c closing) Close() error { close(c.closed); return nil }

type failing struct{ panics bool }

func (f failing) Read([]byte) (int, error) {
	if f.panics {
		panic("made for the test")
	}
	return 0, errors.New("the disk is away")
}

// TestSendReader: a client sees whether an answer of unknown length is whole,
// and the reader is closed in every case.
func TestSendReader(t *testing.T) {
	for _, c := range []struct {
		name  string
		body  io.Reader
		whole bool
	}{
		{"whole", strings.NewReader(strings.Repeat("x", 100_000)), true},
		{"empty", strings.NewReader(""), true},
		{"broken off", io.MultiReader(strings.NewReader(strings.Repeat("x", 100_000)), failing{}), false},
		{"panicking", io.MultiReader(strings.NewReader("x"), failing{true}), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			l, err := net.Listen("tcp", "127.0.0.1:0")
			if err != nil {
				t.Fatal(err)
			}
			closed := make(chan bool)
			srv := &fasthttp.Server{Handler: func(ctx *fasthttp.RequestCtx) { SendReader(ctx, closing{c.body, closed}) }, Logger: quiet{}}
			done := make(chan error, 1)
			go func() { done <- srv.Serve(l) }()
			resp, err := http.Get("http://" + l.Addr().String() + "/")
			if err != nil {
				t.Fatal(err)
			}
			_, err = io.Copy(io.Discard, resp.Body)
			resp.Body.Close()
			if (err == nil) != c.whole {
				t.Errorf("the client sees: %v", err)
			}
			<-closed
			if err := srv.Shutdown(); err != nil {
				t.Error(err)
			}
			<-done
		})
	}
}
