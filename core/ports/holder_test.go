package ports

import (
	"context"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// inside runs a holder in this process and gives the core's end.
func inside(t *testing.T) (dir string, core *net.UnixConn, done chan error) {
	t.Helper()
	dir, err := os.MkdirTemp("", "p")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	mine, theirs := pair(t)
	done = make(chan error, 1)
	ctx, stop := context.WithCancel(context.Background())
	go func() { done <- Hold(ctx, dir, theirs, slog.New(slog.DiscardHandler)) }()
	t.Cleanup(func() {
		stop()
		if err := <-done; err != nil {
			t.Error(err)
		}
		done <- nil
	})
	return dir, mine, done
}

func ask(t *testing.T, c *net.UnixConn, fds []int, verb string, args ...string) message {
	t.Helper()
	if err := transmit(c, time.Second, fds, verb, args...); err != nil {
		t.Fatal(err)
	}
	m, err := receive(c)
	if err != nil {
		t.Fatalf("%s: %v", verb, err)
	}
	t.Cleanup(m.close)
	return m
}

// TestHold speaks the protocol word by word.
func TestHold(t *testing.T) {
	dir, c, done := inside(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	fd := int(f.Fd())
	for i, q := range []struct {
		fds    []int
		verb   string
		args   []string
		answer message
	}{
		{nil, verbHold, []string{addr}, message{verb: verbRefused, args: []string{"take-comes-first"}}},
		{nil, verbStart, []string{"soon"}, message{verb: verbRefused, args: []string{"no-time"}}},
		{nil, verbStart, []string{"60000", "and", "more"}, message{verb: verbDone, args: []string{}}},
		{nil, verbHold, []string{addr}, message{verb: verbRefused, args: []string{"take-comes-first"}}},
		{nil, verbTake, []string{"soon"}, message{verb: verbRefused, args: []string{"no-time"}}},
		{nil, verbTake, []string{"-1"}, message{verb: verbRefused, args: []string{"no-time"}}},
		{nil, verbTake, []string{"60000", "and", "more"}, message{verb: verbHave, args: []string{"1"}}},
		{nil, verbHold, []string{addr}, message{verb: verbRefused, args: []string{"one-address-and-one-socket"}}},
		{[]int{fd, fd}, verbHold, []string{addr}, message{verb: verbRefused, args: []string{"one-address-and-one-socket"}}},
		{[]int{fd}, verbHold, nil, message{verb: verbRefused, args: []string{"one-address-and-one-socket"}}},
		{[]int{fd}, verbHold, []string{addr}, message{verb: verbDone, args: []string{}}},
		{[]int{fd}, verbHold, []string{addr}, message{verb: verbDone, args: []string{}}},
		{nil, "sing", nil, message{verb: verbRefused, args: []string{"unknown-verb"}}},
		{nil, verbDrop, []string{":1"}, message{verb: verbDone, args: []string{}}},
	} {
		got := ask(t, c, q.fds, q.verb, q.args...)
		got.fds = nil
		if got.args == nil {
			got.args = []string{}
		}
		if !reflect.DeepEqual(got, q.answer) {
			t.Errorf("%d: %s %v: %+v, want %+v", i, q.verb, q.args, got, q.answer)
		}
	}
	f.Close()
	st, err := os.Stat(filepath.Join(dir, socketName))
	if err != nil || st.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", st, err)
	}

	// Others come over the socket, and the newest has the sockets.
	path := &net.UnixAddr{Name: filepath.Join(dir, socketName), Net: "unixpacket"}
	for range maxConns + 3 { // somebody leaves connections open
		idle, err := net.DialUnix("unixpacket", nil, path)
		if err != nil {
			t.Fatal(err)
		}
		defer idle.Close()
	}
	next, err := net.DialUnix("unixpacket", nil, path)
	if err != nil {
		t.Fatal(err)
	}
	defer next.Close()
	m := ask(t, next, nil, verbTake, "60000")
	if len(m.fds) != 1 || len(m.args) != 2 || m.args[1] != addr {
		t.Fatalf("%+v", m)
	}
	if err := listens(m.fds[0], addr); err != nil {
		t.Error(err)
	}
	if err := listens(m.fds[0], "127.0.0.1:1"); err == nil {
		t.Error("a socket of another port was believed")
	}
	if _, err := receive(c); err == nil {
		t.Error("the older core is still served")
	}
	m.close()
	if got := ask(t, next, nil, verbLeave, "0"); got.verb != verbDone || !refused(addr) {
		t.Errorf("%+v, refused %v", got, refused(addr))
	}
	if err := <-done; err != nil {
		t.Error(err)
	}
	done <- nil
}

// TestTooMany: the number of sockets is bounded.
func TestTooMany(t *testing.T) {
	_, c, _ := inside(t)
	ask(t, c, nil, verbTake, "60000")
	fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	for i := range maxSockets + 1 {
		want := verbDone
		if i == maxSockets {
			want = verbRefused
		}
		if got := ask(t, c, []int{fd}, verbHold, ":"+strings.Repeat("1", i+1)); got.verb != want {
			t.Fatalf("%d: %+v", i, got)
		}
	}
	m := ask(t, c, nil, verbTake, "60000")
	if len(m.fds) != maxSockets {
		t.Errorf("%d sockets", len(m.fds))
	}
	if err := listens(m.fds[0], ":1"); err == nil {
		t.Error("a file was taken for a listener")
	}
}

// TestOtherVersion: a holder of another version gives its sockets and ends; no
// connection is refused.
func TestOtherVersion(t *testing.T) {
	p := newPlace(t)
	addr := freePort(t)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	socket, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(p.dir, socketName), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	left := make(chan bool, 1)
	go func() { // it speaks protocol 7
		c, err := socket.AcceptUnix()
		if err != nil {
			return
		}
		defer c.Close()
		rc, _ := l.(*net.TCPListener).SyscallConn()
		for {
			m, err := receive(c)
			switch {
			case err != nil:
				return
			case m.verb == verbTake:
				_ = rc.Control(func(fd uintptr) { _ = transmit(c, time.Second, []int{int(fd)}, verbHave, "7", addr) })
			case m.verb == verbLeave && m.arg(0) == "0":
				l.Close()
				left <- true
				_ = transmit(c, time.Second, nil, verbDone, "with", "new", "words")
				return
			}
		}
	}()
	answer := dialed(t, addr)
	c := p.core()
	c.mustServe(addr, "new")
	if got := answer(); got != "new" || !<-left {
		t.Errorf("%q", got)
	}
	if !p.held(addr) || p.pid() == 0 {
		t.Error("there is no holder of this version")
	}
}
