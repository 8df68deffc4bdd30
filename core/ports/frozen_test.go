package ports

import (
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/process"
)

const frozenCore = "PORTS_FROZEN_CORE"

// TestFrozen: a core that was itself frozen for longer than a holder may take for
// an answer goes on waiting for it: the holder is not to blame.
func TestFrozen(t *testing.T) {
	if os.Getenv(frozenCore) != "" {
		frozen(t)
		return
	}
	out := &said{}
	cmd := exec.Command(os.Args[0], "-test.run=^TestFrozen$", "-test.v")
	cmd.Env = append(os.Environ(), frozenCore+"=1", "GOMAXPROCS=1") // nothing runs beside the clock
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill() // should the test end early
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(5 * time.Millisecond) {
		st, err := process.ReadStat(cmd.Process.Pid)
		if err == nil && st.State == 'T' {
			break
		}
		if err != nil || st.State == 'Z' || time.Now().After(end) {
			t.Fatalf("it does not stop: %v\n%s", err, out)
		}
	}
	time.Sleep(askWithin + askWithin/2)
	if err := cmd.Process.Signal(unix.SIGCONT); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "--- PASS") {
		t.Errorf("%v\n%s", err, out)
	}
}

// frozen is a core and its holder; it stops when the holder has been asked.
func frozen(t *testing.T) {
	t.Helper()
	mine, theirs := pair(t)
	go func() {
		if m, err := receive(theirs); err != nil || m.verb != verbTake {
			t.Errorf("%+v, %v", m, err)
		}
		if err := unix.Kill(os.Getpid(), unix.SIGSTOP); err != nil {
			t.Error(err)
		}
		if err := transmit(theirs, 10*time.Second, nil, verbHave, "1"); err != nil {
			t.Error(err)
		}
	}()
	if _, _, err := newHolder(mine, nil).take(time.Second); err != nil {
		t.Error(err)
	}
}
