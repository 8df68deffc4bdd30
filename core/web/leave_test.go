package web

import (
	"bufio"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/timeline"
)

// TestNothingIsMadeForNobody: what is made while it is sent is not made any
// more once the viewer has gone, however few bytes each piece has. A player that
// seeks leaves one answer after the other.
func TestNothingIsMadeForNobody(t *testing.T) {
	const pieces = 1000
	var made atomic.Int32
	gone, released := make(chan struct{}), make(chan struct{})
	base := serve(t, Options{}, func(ctx *fasthttp.RequestCtx) {
		b := new(timeline.Body)
		b.Hold(closer(func() { close(released) }))
		b.Add([]byte("head"))
		for range pieces {
			b.AddLater(8, func() ([]byte, error) {
				<-gone
				made.Add(1)
				return []byte("8 bytes."), nil
			})
		}
		SendBody(ctx, b, 0, b.Size(), nil)
	})
	c, err := net.Dial("tcp", base[len("http://"):])
	if err != nil {
		t.Fatal(err)
	}
	fmt.Fprint(c, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
	resp, err := http.ReadResponse(bufio.NewReader(c), nil)
	if err != nil {
		t.Fatal(err)
	}
	var first [1]byte
	if n, err := resp.Body.Read(first[:]); n != 1 {
		t.Fatalf("the head does not come before what is made: %v", err)
	}
	c.Close()
	close(gone)
	select {
	case <-released:
	case <-time.After(10 * time.Second):
		t.Fatal("the body was not released")
	}
	if n := made.Load(); n > 8 { // the first write finds out, the next ones hear of it
		t.Errorf("%d of %d pieces were made after the viewer had gone", n, pieces)
	}
}
