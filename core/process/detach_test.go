package process

import (
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
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
