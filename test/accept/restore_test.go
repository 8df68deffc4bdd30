package accept

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// TestRestoreKilled: a restore that is killed at the n-th call of its kind, and
// a start that is killed while it finishes one, leave what was there or what
// was restored, never a mixture; told again, it ends well.
func TestRestoreKilled(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("strace"); err != nil {
		t.Fatal("needs the Debian package strace (scripts/setup.sh installs it)")
	}
	seed, rng := harness.Seed(t)
	s := harness.New(t, harness.Options{Linger: "1s", Ini: "[backup]\npath = BACKUPS\n"})
	text, err := os.ReadFile(s.Conf)
	if err == nil {
		err = os.WriteFile(s.Conf, []byte(strings.Replace(string(text), "BACKUPS", filepath.Join(s.Dir, "backups"), 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
	ended := func() { s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 }) }
	s.Start()
	s.Verb("token", "api", "--name", "restored")
	file := s.Verb("backup")
	restored, _ := verb(t, "keys", "public", "-c", s.Conf)
	s.Stop()
	ended()
	if err := errors.Join(os.RemoveAll(s.Data), os.Mkdir(s.Data, 0o755)); err != nil {
		t.Fatal(err)
	}
	s.Start()
	s.Verb("token", "api", "--name", "other")
	other, _ := verb(t, "keys", "public", "-c", s.Conf)
	s.Stop()
	ended()
	aside := filepath.Join(s.Dir, "before")
	if err := os.CopyFS(aside, os.DirFS(s.Data)); err != nil {
		t.Fatal(err)
	}

	var killed, again, rounds int
	least := harness.Pick(80, 6)
	// Whether a draw kills depends on it: strace counts the calls of each thread
	// apart. So there are as many more as it takes, within reason.
	for ; rounds < least || killed < least/3 && rounds < 5*least; rounds++ {
		if err := errors.Join(os.RemoveAll(s.Data), os.CopyFS(s.Data, os.DirFS(aside))); err != nil {
			t.Fatal(err)
		}
		call := []string{"renameat,renameat2,rename", "fsync", "unlinkat", "mkdirat", "write", "openat"}[rng.IntN(6)]
		n, inStart := rng.IntN(14)+1, rng.IntN(2) == 0
		where := fmt.Sprintf("%s %d, in the start %v", call, n, inStart)
		if inStart {
			stage(t, s, file)
			ready := func() bool { status, _ := s.Get(s.Admin + "/readyz"); return status == 200 }
			if dies(t, call, n, ready, "run", "-c", s.Conf) {
				killed++
			}
		} else if dies(t, call, n, func() bool { return false }, "restore", "--yes", "-c", s.Conf, file) {
			killed++
		}
		s.Until("the killed process to be gone", func() bool { return free(s.Data) })
		s.Start()
		is := state(t, s, where, restored, other)
		s.Stop()
		ended()
		if is == "other" {
			if inStart {
				t.Errorf("%s: the staged restore was forgotten", where)
			}
			again++
			s.Verb("restore", "--yes", file)
			s.Start()
			if is := state(t, s, where+", again", restored, other); is != "restored" {
				t.Errorf("%s: told again, the state is %q", where, is)
			}
			s.Stop()
			ended()
		}
	}
	if killed < least/3 {
		t.Errorf("only %d of %d were killed: the test proves little", killed, rounds)
	}
	harness.Row(t, "restore killed at seeded calls", seed, "%d of %d killed, %d told again: the old state or the backup's, never a mixture", killed, rounds, again)
}

// stage asks a running server for a restore at its next start, and stops it.
func stage(t *testing.T, s *harness.Server, file string) {
	t.Helper()
	s.Start()
	if status, err := s.Send("POST", "restore", fmt.Sprintf(`{"file":%[1]q,"confirm":%[1]q}`, filepath.Base(file)), nil); err != nil || status >= 300 {
		t.Fatalf("stage a restore: %d %v", status, err)
	}
	s.Stop()
	s.Until("the plugins to end", func() bool { return len(s.Processes()) == 0 })
}

// dies runs a verb that is to be killed at the n-th call of a kind, before it is
// through with what it was to be killed in. It tells whether it was.
func dies(t *testing.T, call string, n int, through func() bool, args ...string) bool {
	t.Helper()
	inject := fmt.Sprintf("inject=%s:signal=SIGKILL:when=%d", call, n)
	cmd := exec.Command("strace", append([]string{"-f", "-qq", "-o", os.DevNull, "-e", "trace=" + call, "-e", inject, filepath.Join(harness.Bin, "media-server")}, args...)...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for end := time.Now().Add(harness.Patience); !through() && time.Now().Before(end); {
		select {
		case <-done:
			// strace ends as what it traces does.
			ws, ok := cmd.ProcessState.Sys().(syscall.WaitStatus)
			return ok && ws.Signaled() && ws.Signal() == syscall.SIGKILL
		case <-time.After(50 * time.Millisecond):
		}
	}
	_ = syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // it runs on
	<-done
	return false
}

// free tells whether no process holds the data folder: strace ends before the
// one that it killed has gone.
func free(data string) bool {
	f, err := os.Open(filepath.Join(data, "lock"))
	if err != nil {
		return errors.Is(err, os.ErrNotExist)
	}
	defer f.Close()
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB) == nil
}

// state tells whose accounts and keys a running server has.
func state(t *testing.T, s *harness.Server, where, restored, other string) string {
	t.Helper()
	var tokens struct {
		Items []struct{ Name string } `json:"items"`
	}
	if _, err := s.Call("GET", "tokens", &tokens); err != nil {
		t.Errorf("%s: tokens: %v", where, err)
	}
	key, _ := verb(t, "keys", "public", "-c", s.Conf)
	var names []string
	for _, x := range tokens.Items {
		names = append(names, x.Name)
	}
	hasRestored, hasOther := strings.Contains(fmt.Sprint(names), "restored"), strings.Contains(fmt.Sprint(names), "other")
	switch {
	case hasRestored && !hasOther && strings.Contains(key, restored):
		return "restored"
	case hasOther && !hasRestored && key == other:
		return "other"
	}
	t.Errorf("%s: a mixture: tokens %v, keys\n%s", where, names, key)
	return ""
}
