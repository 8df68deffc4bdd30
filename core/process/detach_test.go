package process

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// TestDetach: a session of its own, a hold that tells processes apart, and an
// end that is seen and reaped.
func TestDetach(t *testing.T) {
	p, err := Detach(exec.Command("sleep", "60"))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	st, err := ReadStat(p.PID)
	if err != nil || st.Session != p.PID || st.Parent != os.Getpid() {
		t.Errorf("%+v, %v", st, err)
	}
	if _, err := Open(p.PID, p.Start+1); !errors.Is(err, ErrNone) {
		t.Errorf("a process of another start time was held: %v", err)
	}
	again, err := Open(p.PID, p.Start)
	if err != nil {
		t.Fatal(err)
	}
	again.Release()
	again.Release()
	if again.Dead() || p.Dead() {
		t.Error("letting go has ended it")
	}
	if err := p.Kill(10 * time.Second); err != nil || !p.Dead() || p.Ended() != "killed by SIGKILL" {
		t.Errorf("%v, %s", err, p.Ended())
	}
	if err := unix.Kill(p.PID, 0); !errors.Is(err, unix.ESRCH) {
		t.Errorf("it was not reaped: %v", err)
	}
	if err := p.Signal(unix.SIGTERM); err != nil {
		t.Errorf("a signal to one that has ended: %v", err)
	}
	if _, err := Detach(exec.Command("/nonexistent")); err == nil {
		t.Error("nothing was started")
	}
}

// TestDetachGivesNothingElse: a descriptor that somebody left open is not passed
// on; one that is given is.
func TestDetachGivesNothingElse(t *testing.T) {
	left, err := unix.Open(os.DevNull, unix.O_RDONLY, 0) // not close-on-exec, as an inherited one
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(left)
	given, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	cmd := exec.Command("sleep", "60")
	cmd.ExtraFiles = []*os.File{given}
	p, err := Detach(cmd)
	if err != nil {
		t.Fatal(err)
	}
	defer p.Release()
	defer p.Kill(10 * time.Second)
	var fds []os.DirEntry
	for range 500 { // sleep opens its libraries first
		if fds, err = os.ReadDir(filepath.Join("/proc", strconv.Itoa(p.PID), "fd")); err != nil {
			t.Fatal(err)
		}
		if len(fds) == 4 {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("%v", fds)
}

func TestPeer(t *testing.T) {
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "s"))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	c, err := net.Dial("unix", l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	if cred, err := Peer(c); err != nil || int(cred.Pid) != os.Getpid() || int(cred.Uid) != os.Geteuid() {
		t.Errorf("%+v, %v", cred, err)
	}
	if _, err := Peer(struct{ net.Conn }{c}); err == nil {
		t.Error("something that is no socket has a peer")
	}
}
