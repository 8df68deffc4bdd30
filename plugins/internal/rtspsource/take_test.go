package rtspsource

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"testing"
	"time"
)

// connected gives both ends of a connection, which is closed with the test.
func connected(t *testing.T) (camera, source net.Conn) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if camera, err = net.Dial("tcp", l.Addr().String()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { camera.Close() })
	if source, err = l.Accept(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { source.Close() })
	return camera, source
}

// TestTake: what the kernel holds comes whole and in order, nothing waits, and
// the end of a connection is told.
func TestTake(t *testing.T) {
	camera, c := connected(t)
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

// TestRest: what is left of a frame between two reads stays, in a buffer of the
// source's own.
func TestRest(t *testing.T) {
	camera, c := connected(t)
	rng := rand.New(rand.NewPCG(3, 3))
	var sent, wire []byte
	for range 400 {
		b := make([]byte, rng.IntN(1500))
		if rng.IntN(20) == 0 {
			b = make([]byte, 60_000) // more than rests in small
		}
		for i := range b {
			b[i] = byte(rng.Uint32())
		}
		sent = append(sent, b...)
		wire = append(append(wire, '$', 0, byte(len(b)>>8), byte(len(b))), b...)
	}
	go func() {
		for rest := wire; len(rest) > 0; {
			n := min(len(rest), 1+len(rest)%9000)
			camera.Write(rest[:n])
			rest = rest[n:]
		}
	}()
	w := newWire(c)
	var got []byte
	rested := false
	for deadline := time.Now().Add(20 * time.Second); len(got) < len(sent) && time.Now().Before(deadline); {
		more, err := w.take()
		if err != nil {
			t.Fatal(err)
		}
		for {
			_, frame, _, ok, err := w.next()
			if err != nil {
				t.Fatal(err)
			}
			if !ok {
				break
			}
			got = append(got, frame...)
		}
		left := w.w - w.r
		w.rest()
		if w.w-w.r != left || left <= len(w.small) && (w.wide != nil || &w.buf[0] != &w.small[0]) {
			t.Fatalf("%d bytes left, %d behind the rest; lent a large buffer: %v", left, w.w-w.r, w.wide != nil)
		}
		rested = rested || left > 0 && w.wide == nil
		if !more {
			time.Sleep(time.Millisecond)
		}
	}
	if !bytes.Equal(got, sent) {
		t.Fatalf("%d bytes of %d, or others", len(got), len(sent))
	}
	if !rested {
		t.Error("nothing was ever left of a frame")
	}
}
