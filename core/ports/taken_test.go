package ports

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/fault"
)

// TestTaken: a port that is not to be had is named, and who has it.
func TestTaken(t *testing.T) {
	p, other := newPlace(t), newPlace(t)
	addr := freePort(t)
	c := p.core()
	c.mustServe(addr, "1")
	o := other.core()
	err := o.serve(addr, "2")
	if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("%v", err)
	}
	pid := p.pid()
	c.die()
	err = o.serve(addr, "2")
	want := fmt.Sprintf("listen tcp %s: bind: address already in use: process %d holds the port for a server with run-dir %s that does not run at the moment; start that server, or let the port go with: kill %d (it does so by itself after [plugins] linger)", addr, pid, p.dir, pid)
	if err == nil || err.Error() != want || !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v, want\n%s", err, want)
	}
	p.signal(unix.SIGTERM) // as told
	o.mustServe(addr, "2")
}

func TestAccuse(t *testing.T) {
	bind := errors.New("listen tcp :80: bind: address already in use")
	for _, c := range []struct {
		users []user
		want  string
	}{
		{nil, "listen tcp :80: bind: address already in use"},
		{[]user{{pid: 7, name: "nginx"}}, "listen tcp :80: bind: address already in use: process 7 (nginx) uses the port; end it, or change listen in media-server.ini"},
		{[]user{{pid: 6, runDir: "/run/x"}, {pid: 7, name: "media-server"}}, "listen tcp :80: bind: address already in use: process 7 (media-server) uses the port; end it, or change listen in media-server.ini"},
	} {
		if got := fault.Wrap(accuse(bind, c.users), "", "", ""); got.Error() != c.want {
			t.Errorf("%v, want %s", got, c.want)
		}
	}
}

// TestWithout: no holder is wanted, or none can be started.
func TestWithout(t *testing.T) {
	p := newPlace(t)
	for _, command := range [][]string{nil, {"/nonexistent"}, {"/bin/false"}} {
		p.opt.Command = command
		addr := freePort(t)
		c := p.core()
		c.mustServe(addr, "a")
		if got := dialed(t, addr)(); got != "a" {
			t.Errorf("%q", got)
		}
		c.Leave(time.Hour)
		c.die()
		if !refused(addr) {
			t.Error("somebody listens")
		}
	}
	if n := strings.Count(p.said.String(), "listeners cannot be held"); n < 2 {
		t.Errorf("told of %d times", n)
	}
}

// TestAnyPort: nobody could find a socket whose port the kernel chose, and two
// of them are not one.
func TestAnyPort(t *testing.T) {
	p := newPlace(t)
	c := p.core()
	c.mustServe("127.0.0.1:0", "a")
	c.mustServe("127.0.0.1:0", "b")
	a, b := c.ls[0].Addr().String(), c.ls[1].Addr().String()
	if dialed(t, a)() != "a" || dialed(t, b)() != "b" {
		t.Error("mixed up")
	}
	c.die()
	if !refused(a) || !refused(b) {
		t.Error("held")
	}
}

// TestForms: every way of writing an address is found again.
func TestForms(t *testing.T) {
	for _, host := range []string{"", "0.0.0.0", "127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			p := newPlace(t)
			_, port, _ := net.SplitHostPort(freePort(t))
			addr := net.JoinHostPort(host, port)
			c := p.core()
			c.mustServe(addr, "1")
			c.die()
			answer := dialed(t, net.JoinHostPort(cmp.Or(host, "localhost"), port))
			c = p.core()
			c.mustServe(addr, "2")
			c.Settle()
			if got := answer(); got != "2" {
				t.Errorf("%q", got)
			}
			if n := strings.Count(p.said.String(), "not used"); n > 0 {
				t.Error("bound anew")
			}
		})
	}
}
