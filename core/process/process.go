package process

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

// Process is a process held by a pidfd, so that a pid that was given to
// somebody else is never waited for and never killed. It need not be our
// child: after a restart of the core it is not. Safe for concurrent use.
type Process struct {
	PID   int
	Start uint64 // clock ticks from boot to its start: /proc/PID/stat, field 22

	fd     *os.File
	child  bool
	exited chan struct{} // closed when it has ended
	gone   chan struct{} // closed when the watcher has returned
	once   sync.Once
	status string // set before exited is closed; "" = not our child
}

// ErrNone: the process is not there, or the pid is somebody else's by now.
var ErrNone = errors.New("no such process")

// Open takes hold of pid. If start is not 0, a process that began at
// another time is somebody else: ErrNone.
func Open(pid int, start uint64) (*Process, error) {
	fd, err := unix.PidfdOpen(pid, unix.PIDFD_NONBLOCK)
	if errors.Is(err, unix.ESRCH) || errors.Is(err, unix.EINVAL) {
		return nil, ErrNone
	}
	if err != nil {
		return nil, fmt.Errorf("pidfd_open %d: %w", pid, err)
	}
	// The stat is read after the pidfd is held: what it says is about the
	// process that the pidfd names, or about nobody.
	st, err := ReadStat(pid)
	if err != nil || st.State == 'Z' || st.State == 'X' || start != 0 && st.Start != start {
		unix.Close(fd)
		return nil, ErrNone
	}
	p := &Process{PID: pid, Start: st.Start, child: st.Parent == os.Getpid(),
		fd: os.NewFile(uintptr(fd), "pidfd"), exited: make(chan struct{}), gone: make(chan struct{})}
	go p.watch()
	return p, nil
}

// watch waits on the runtime's poller, without a thread, until the process
// has ended or release was called.
func (p *Process) watch() {
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
		if pid, err := unix.Wait4(p.PID, &ws, unix.WNOHANG, nil); err == nil && pid == p.PID {
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

// Dead tells whether it has ended.
func (p *Process) Dead() bool {
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// Exited is closed when the process has ended.
func (p *Process) Exited() <-chan struct{} { return p.exited }

// Ended says how the process ended, for a message.
func (p *Process) Ended() string {
	if p.status == "" {
		return "ended"
	}
	return p.status
}

// Signal sends sig to exactly this process; one that has ended is no error.
func (p *Process) Signal(sig unix.Signal) error {
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

// Kill ends the process for certain and waits until it is gone: a process
// stuck in the kernel (a dead disk) is waited for, because a second one must
// not start while it may still write.
func (p *Process) Kill(wait time.Duration) error {
	if err := p.Signal(unix.SIGKILL); err != nil {
		return fmt.Errorf("kill %d: %w", p.PID, err)
	}
	t := time.NewTimer(wait)
	defer t.Stop()
	select {
	case <-p.exited:
		return nil
	case <-t.C:
		return fmt.Errorf("process %d was killed but does not end (stuck in the kernel?)", p.PID)
	}
}

// Release lets go of the process without touching it.
func (p *Process) Release() {
	p.once.Do(func() { p.fd.Close() })
	<-p.gone
}

// Stat is what /proc/PID/stat says of a process.
type Stat struct {
	State   byte   // Z is a zombie, X is dead
	Parent  int    // pid
	Session int    // id: the pid of its leader
	Start   uint64 // clock ticks from boot
}

// ReadStat reads /proc/PID/stat. The command name may hold anything, also
// parentheses, so fields are counted from the last one.
func ReadStat(pid int) (Stat, error) {
	b, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	if err != nil {
		return Stat{}, err
	}
	return ParseStat(b)
}

// ParseStat reads the line of /proc/PID/stat.
func ParseStat(b []byte) (Stat, error) {
	i := bytes.LastIndexByte(b, ')')
	f := strings.Fields(string(b[i+1:]))
	if i < 0 || len(f) < 20 || len(f[0]) != 1 {
		return Stat{}, errors.New("unreadable /proc stat line")
	}
	ppid, err1 := strconv.Atoi(f[1])
	sid, err2 := strconv.Atoi(f[3])
	start, err3 := strconv.ParseUint(f[19], 10, 64)
	return Stat{State: f[0][0], Parent: ppid, Session: sid, Start: start}, errors.Join(err1, err2, err3)
}

// BootID tells boots apart: pids and start times repeat after a reboot.
func BootID() string {
	b, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(b))
}
