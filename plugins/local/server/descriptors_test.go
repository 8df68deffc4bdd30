package server

import (
	"os"
	"os/exec"
	"testing"

	"golang.org/x/sys/unix"
)

// TestSweepSockets: the socket of a process that has bound it, and does not listen
// yet, stays; those of processes that are gone go.
func TestSweepSockets(t *testing.T) {
	dir := t.TempDir()
	bind := func(pid int) string {
		t.Helper()
		fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = unix.Close(fd) })
		path := SocketPath(dir, pid)
		if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
			t.Fatal(err)
		}
		return path
	}
	gone := exec.Command("true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	begins, ours, old := bind(os.Getppid()), bind(os.Getpid()), bind(gone.Process.Pid)
	sweepSockets(dir)
	if _, err := os.Stat(begins); err != nil {
		t.Error(err)
	}
	for _, path := range []string{ours, old} {
		if _, err := os.Stat(path); err == nil {
			t.Errorf("%s is still there", path)
		}
	}
}
