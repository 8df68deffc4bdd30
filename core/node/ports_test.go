package node

import (
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestSlowStart: a client is not refused while a server starts, though that takes
// longer than ports are held for one that does not come.
func TestSlowStart(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	l.Close()
	r := newRig(t, "")
	r.holder = []string{os.Args[0]}
	r.write("media-server.ini", strings.Replace(r.server(), "[http]\nlisten = 127.0.0.1:0", "[http]\nlisten = "+addr, 1))
	r.start()
	for range 5 {
		left := time.Now()
		r.stop()
		came, dialed := r.slowly(addr)
		r.start()
		if d := (<-came).Sub(left); d >= restartWithin { // on a slow machine
			t.Logf("the next server came after %v only", d)
			if c := <-dialed; c != nil {
				c.Close()
			}
			continue
		}
		c := <-dialed
		if c == nil {
			t.Fatal("a client is refused while the server starts")
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		io.WriteString(c, "GET / HTTP/1.0\r\n\r\n")
		if b, err := io.ReadAll(c); err != nil || !strings.HasPrefix(string(b), "HTTP/") {
			t.Errorf("%.100q, %v", b, err)
		}
		return
	}
	t.Fatal("no server came in time")
}

// slowly has the next start wait at a file that it reads, until ports are no longer
// held for a server that does not come; then a client connects, nil = it is refused.
func (r *rig) slowly(addr string) (came chan time.Time, dialed chan net.Conn) {
	r.t.Helper()
	path := filepath.Join(r.dir, "var", "streams.json")
	os.Remove(path)
	if err := unix.Mkfifo(path, 0o600); err != nil {
		r.t.Fatal(err)
	}
	came, dialed = make(chan time.Time, 1), make(chan net.Conn, 1)
	go func() {
		f, err := os.OpenFile(path, os.O_WRONLY, 0) // when the server reads
		if err != nil {
			r.t.Error(err)
		}
		came <- time.Now()
		time.Sleep(restartWithin + time.Second)
		c, _ := net.Dial("tcp", addr)
		dialed <- c
		f.Close()
	}()
	return came, dialed
}
