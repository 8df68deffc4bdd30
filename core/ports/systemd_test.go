package ports

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestGiven: the environment names descriptors for this process alone.
func TestGiven(t *testing.T) {
	const real = "LISTEN_TEST"
	if addr := os.Getenv(real); addr != "" {
		given(t, addr)
		return
	}
	for _, c := range []struct {
		pid, n string
		want   int
	}{
		{strconv.Itoa(os.Getpid()), "x", 0},
		{strconv.Itoa(os.Getppid()), "2", 0},
		{"", "", 0},
		{strconv.Itoa(os.Getpid()), "0", 0},
	} {
		t.Setenv("LISTEN_PID", c.pid)
		t.Setenv("LISTEN_FDS", c.n)
		if got := Given(); len(got) != c.want {
			t.Errorf("%+v: %v", c, got)
		}
		if os.Getenv("LISTEN_FDS") != "" {
			t.Error("a child would believe it")
		}
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	l.Close()
	cmd := exec.Command("/bin/sh", "-c", `LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@"`, os.Args[0], "-test.run=^TestGiven$", "-test.v")
	cmd.ExtraFiles = []*os.File{f}
	cmd.Env = append(os.Environ(), real+"="+l.Addr().String())
	out, err := cmd.CombinedOutput()
	if err != nil || !strings.Contains(string(out), "--- PASS: TestGiven") {
		t.Errorf("%v\n%s", err, out)
	}
}

// given runs in a process that was given the socket of an address.
func given(t *testing.T, addr string) {
	t.Helper()
	fds := Given()
	if len(fds) != 1 || fds[0] != firstGiven {
		t.Fatalf("%v", fds)
	}
	if flags, err := unix.FcntlInt(firstGiven, unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
		t.Errorf("it would be passed on: %v", err)
	}
	p := newPlace(t)
	p.opt.Given = fds
	other := freePort(t)
	c := p.core()
	c.mustServe(other, "bound")
	c.mustServe(addr, "given")
	c.Settle()
	if a, b := dialed(t, addr)(), dialed(t, other)(); a != "given" || b != "bound" {
		t.Errorf("%q, %q", a, b)
	}
	_, port, _ := net.SplitHostPort(addr)
	n, _ := strconv.Atoi(port)
	for _, u := range usersOf(n) {
		if u.runDir != "" {
			t.Errorf("the holder has it, too, though systemd keeps it: %+v", u)
		}
	}
	c.die()
	if refused(other) {
		t.Error("what was bound is not held")
	}
}
