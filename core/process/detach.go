package process

import (
	"fmt"
	"os"
	"os/exec"
	"syscall"
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
// that no terminal and no signal to our group reaches it.
func Detach(cmd *exec.Cmd) (*Process, error) {
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
		cmd.Process.Wait()
		return nil, fmt.Errorf("process ended at once: %w", err)
	}
	return p, nil
}
