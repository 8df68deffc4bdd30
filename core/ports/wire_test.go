package ports

import (
	"bytes"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDocument: the examples of HOLDER.md are messages, and are written so.
func TestDocument(t *testing.T) {
	b, err := os.ReadFile("HOLDER.md")
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(b), "```\n")
	examples, _, _ := strings.Cut(rest, "```")
	n := 0
	for line := range strings.Lines(examples) {
		m, err := decode([]byte(line))
		if err != nil || string(encode(m.verb, m.args...)) != line {
			t.Errorf("%q: %+v, %v", line, m, err)
		}
		n++
	}
	if n != 5 {
		t.Errorf("%d examples", n)
	}
}

func TestDecode(t *testing.T) {
	for _, bad := range []string{"", "\n", "ports\n", "ports take", "take 1\n", "ports  take\n", "ports take \n", " ports take\n", "ports take " + strings.Repeat("x", maxMessage) + "\n"} {
		if m, err := decode([]byte(bad)); err == nil {
			t.Errorf("%.40q was taken: %.40v", bad, m)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("ports take 30000\n"))
	f.Add([]byte("ports have 1 :8080 :8443\n"))
	f.Add([]byte("ports  \n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		m, err := decode(b)
		if err != nil {
			return
		}
		if again := encode(m.verb, m.args...); !bytes.Equal(again, b) {
			t.Errorf("%q became %q", b, again)
		}
		_, _ = milliseconds(m.arg(0))
		_ = checkAddress(m.arg(0))
	})
}

func FuzzListening(f *testing.F) {
	f.Add("   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0")
	f.Fuzz(func(t *testing.T, line string) {
		if inode, ok := listening(line, 8080); ok && inode == "" {
			t.Error("no inode")
		}
	})
}

func TestListening(t *testing.T) {
	const line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 12345 1 0 100 0 0 10 0"
	if inode, ok := listening(line, 8080); !ok || inode != "12345" {
		t.Errorf("%q %v", inode, ok)
	}
	for _, other := range []string{strings.Replace(line, "0A", "01", 1), strings.Replace(line, "1F90", "1F91", 1), "sl local_address", ""} {
		if _, ok := listening(other, 8080); ok {
			t.Errorf("%q was taken", other)
		}
	}
}

// pair is a connection of packets with both ends here.
func pair(t *testing.T) (a, b *net.UnixConn) {
	t.Helper()
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	var out [2]*net.UnixConn
	for i, fd := range fds {
		f := os.NewFile(uintptr(fd), "pair")
		c, err := net.FileConn(f)
		f.Close()
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		out[i] = c.(*net.UnixConn)
	}
	return out[0], out[1]
}

// TestReceive: descriptors that come with a message that is not good, or that
// nobody asked for, are not kept.
func TestReceive(t *testing.T) {
	a, b := pair(t)
	fds := make([]int, 3)
	for i := range fds {
		fd, err := unix.Open("/dev/null", unix.O_RDONLY|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		fds[i] = fd
		defer unix.Close(fd)
	}
	before := descriptorsOf(t, os.Getpid())
	if err := transmit(a, time.Second, fds, verbHold, ":8080"); err != nil {
		t.Fatal(err)
	}
	m, err := receive(b)
	if err != nil || m.verb != verbHold || len(m.fds) != 3 {
		t.Fatalf("%+v, %v", m, err)
	}
	for _, fd := range m.fds {
		if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err != nil || flags&unix.FD_CLOEXEC == 0 {
			t.Errorf("descriptor %d would be passed on: %v", fd, err)
		}
	}
	m.close()
	if _, _, err := a.WriteMsgUnix([]byte("rubbish"), unix.UnixRights(fds...), nil); err != nil {
		t.Fatal(err)
	}
	if m, err := receive(b); err == nil || len(m.fds) != 0 {
		t.Errorf("%+v, %v", m, err)
	}
	if after := descriptorsOf(t, os.Getpid()); after != before {
		t.Errorf("%d descriptors, %d before", after, before)
	}
}
