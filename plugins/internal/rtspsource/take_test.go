package rtspsource

import (
	"bytes"
	"errors"
	"io"
	"net"
	"os"
	"testing"
	"time"
)

// TestTake: what the kernel holds comes whole and in order, nothing waits, and
// the end of a connection is told.
func TestTake(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	camera, err := net.Dial("tcp", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	c, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	w := newWire(c)
	w.widen()
	if more, err := w.take(); more || err != nil || w.total != 0 {
		t.Fatalf("nothing sent: more %v, %v, %d bytes", more, err, w.total)
	}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 20_000) // several buffers
	go func() {
		camera.Write(sent)
		camera.Close()
	}()
	var got []byte
	for deadline := time.Now().Add(20 * time.Second); time.Now().Before(deadline); {
		more, err := w.take()
		got = append(got, w.buf[w.r:w.w]...)
		w.r, w.w = 0, 0
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if !more {
			time.Sleep(time.Millisecond)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d, or others", len(got), len(sent))
	}
	// What ends a capture is a deadline in the past: a read must notice it.
	c.SetReadDeadline(time.Unix(1, 0))
	if _, err := w.take(); !errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("after the deadline: %v", err)
	}
}
