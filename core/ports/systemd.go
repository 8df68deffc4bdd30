package ports

import (
	"os"
	"strconv"

	"golang.org/x/sys/unix"
)

// firstGiven is the first descriptor that systemd gives (sd_listen_fds(3)).
const firstGiven = 3

// Given are the sockets of systemd's socket units, which it has opened for this
// process and keeps open by itself. Call it once and before any process is
// started: they are marked not to be passed on, and the environment no longer
// names them.
func Given() (fds []int) {
	pid, n := os.Getenv("LISTEN_PID"), os.Getenv("LISTEN_FDS")
	for _, k := range []string{"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"} {
		_ = os.Unsetenv(k) // fails for names that no variable has
	}
	count, err := strconv.Atoi(n)
	if pid != strconv.Itoa(os.Getpid()) || err != nil {
		return nil
	}
	for fd := firstGiven; fd < firstGiven+min(count, maxSockets); fd++ {
		unix.CloseOnExec(fd)
		fds = append(fds, fd)
	}
	return fds
}
