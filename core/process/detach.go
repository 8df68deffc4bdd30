package process

import (
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"
)

// SearchPath is the PATH of detached processes.
const SearchPath = "/usr/local/bin:/usr/bin:/bin"

// Environment is the small environment of a detached process: nothing of the
// core's that could be a secret.
func Environment() []string {
	env := []string{"PATH=" + SearchPath}
	for _, k := range []string{"HOME", "TZ", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(k); ok {
			env = append(env, k+"="+v)
		}
	}
	return env
}

// Detach starts a process that outlives this one: in a session of its own, so
// that no terminal and no signal to our group reaches it. It has the descriptors
// that cmd gives it and no other: what started this process may have left some
// open (the pipe of an ssh session, a lock), and somebody waits for their end.
func Detach(cmd *exec.Cmd) (*Process, error) {
	keepDescriptors()
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	p, err := Open(cmd.Process.Pid, 0)
	// The pidfd is ours alone now; os/exec must not wait for the child, as
	// the wait would outlive a parent that leaves its children running.
	defer cmd.Process.Release()
	if err != nil {
		cmd.Process.Kill()
		_, _ = cmd.Process.Wait()
		return nil, fmt.Errorf("process ended at once: %w", err)
	}
	return p, nil
}

// keepDescriptors marks all descriptors but the standard ones as not to be passed
// on. Go opens its own so; those that were inherited are not.
func keepDescriptors() {
	const first = 3
	if unix.CloseRange(first, math.MaxUint32, unix.CLOSE_RANGE_CLOEXEC) == nil {
		return
	}
	fds, err := os.ReadDir("/proc/self/fd") // Linux before 5.11
	if err != nil {
		return
	}
	for _, e := range fds {
		if fd, err := strconv.Atoi(e.Name()); err == nil && fd >= first {
			unix.CloseOnExec(fd)
		}
	}
}
