package pluginhost

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// process is a plugin process held by a pidfd, so that a pid that was given
// to somebody else is never waited for and never killed. It need not be our
// child: after a restart of the core it is not.
type process struct {
	pid   int
	start uint64 // clock ticks from boot to its start: /proc/PID/stat, field 22

	fd     *os.File
	child  bool
	exited chan struct{} // closed when it has ended
	gone   chan struct{} // closed when the watcher has returned
	once   sync.Once
	status string // set before exited is closed; "" = not our child
}

var errNoProcess = errors.New("no such process")

// openProcess takes hold of pid. If start is not 0, a process that began at
// another time is somebody else: errNoProcess.
func openProcess(pid int, start uint64) (*process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, errNoProcess
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	// The stat is read after the pidfd is held: what it says is about the
	// process that the pidfd names, or about nobody.
	st, err := readStat(pid)
	if err != nil || st.state == 'Z' || st.state == 'X' || start != 0 && st.start != start {
		unix.Close(fd)
		return nil, errNoProcess
	}
	p := &process{pid: pid, start: st.start, child: st.ppid == os.Getpid(),
		fd: os.NewFile(uintptr(fd), "pidfd"), exited: make(chan struct{}), gone: make(chan struct{})}
	go p.watch()
	return p, nil
}

// watch waits on the runtime's poller, without a thread, until the process
// has ended or release was called.
func (p *process) watch() {
	defer close(p.gone)
	rc, err := p.fd.SyscallConn()
	if err != nil {
		return
	}
	err = rc.Read(func(fd uintptr) bool {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
		n, err := unix.Poll(fds, 0)
		return n > 0 || err != nil && err != unix.EINTR
	})
	if err != nil {
		return // released
	}
	if p.child {
		var ws unix.WaitStatus
		if pid, err := unix.Wait4(p.pid, &ws, unix.WNOHANG, nil); err == nil && pid == p.pid {
			p.status = describe(ws)
		}
	}
	close(p.exited)
}

func describe(ws unix.WaitStatus) string {
	if ws.Signaled() {
		return "killed by " + unix.SignalName(ws.Signal())
	}
	return "exit status " + strconv.Itoa(ws.ExitStatus())
}

func (p *process) dead() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// ended says how the process ended, for a message.
func (p *process) ended() string {
	if p.status == "" {
		return "ended"
	}
	return p.status
}

// signal sends sig to exactly this process; one that has ended is no error.
func (p *process) signal(sig unix.Signal) error {
	rc, err := p.fd.SyscallConn()
	if err != nil {
		return nil //nolint:nilerr // released
	}
	var serr error
	if err := rc.Control(func(fd uintptr) { serr = unix.PidfdSendSignal(int(fd), sig, nil, 0) }); err != nil {
		return nil //nolint:nilerr // released
	}
	if errors.Is(serr, unix.ESRCH) {
		return nil
	}
	return serr
}

// kill ends the process for certain and waits until it is gone: a process
// stuck in the kernel (a dead disk) is waited for, because a second one must
// not start while it may still write.
func (p *process) kill(wait time.Duration) error {
	if err := p.signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("kill %d: %w", p.pid, err)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-p.exited:
		return nil
	case <-t.C:
		return fmt.Errorf("process %d was killed but does not end (stuck in the kernel?)", p.pid)
	}
}

// release lets go of the process without touching it.
func (p *process) release() {
	p.once.Do(func() { p.fd.Close() })
	<-p.gone
}

type procStat struct {
	state byte
	ppid  int
	sid   int
	start uint64
}

// readStat reads /proc/PID/stat. The command name may hold anything, also
// parentheses, so fields are counted from the last one.
func readStat(pid int) (procStat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return procStat{}, err
	}
	return parseStat(b)
}

func parseStat(b []byte) (procStat, error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 || len(f[0]) != 1 {
		return procStat{}, errors.New("unreadable /proc stat line")
	}
	ppid, err1 := strconv.Atoi(f[1])
	sid, err2 := strconv.Atoi(f[3])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	return procStat{state: f[0][0], ppid: ppid, sid: sid, start: start}, errors.Join(err1, err2, err3)
}

// bootID tells boots apart: pids and start times repeat after a reboot.
func bootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}

// sweep kills processes that carry this plugin's name and socket folder in
// their environment: instances whose core died between fork and record, and
// children that outlived their plugin. The session of keep is left alone.
func sweep(name, socketDir string, keep int) (killed []int) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil
	}
	self := os.Getpid()
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == self || pid == keep {
			continue
		}
		env, err := os.ReadFile("/proc/" + e.Name() + "/environ")
		if err != nil || !hasEnv(env, envName+"="+name) || !hasEnv(env, envSocketDir+"="+socketDir) {
			continue
		}
		st, err := readStat(pid)
		if err != nil || keep != 0 && st.sid == keep {
			continue
		}
		p, err := openProcess(pid, st.start)
		if err != nil {
			continue
		}
		if p.kill(2*time.Second) == nil {
			killed = append(killed, pid)
		}
		p.release()
	}
	return killed
}

func hasEnv(environ []byte, want string) bool {
	for kv := range bytes.SplitSeq(environ, []byte{0}) {
		if string(kv) == want {
			return true
		}
	}
	return false
}
