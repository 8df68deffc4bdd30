package ports

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/process"
)

const (
	askWithin    = 2 * time.Second
	launchWithin = 15 * time.Second // a busy machine
	logName      = "ports.log"
)

// holder is the core's end of a connection to a holder.
type holder struct {
	conn    *net.UnixConn
	proc    *process.Process
	since   time.Time
	within  time.Duration // for an answer; the asking goroutine's
	answers chan message
	gone    chan struct{} // closed when the connection has ended
	once    sync.Once
}

// dial connects to the holder of a folder; nil without an error = there is
// none. The process at the other end is of our own user, and held, so that it
// can be ended should it not answer.
func dial(ctx context.Context, runDir string) (*holder, error) {
	path := filepath.Join(runDir, socketName)
	d := net.Dialer{Timeout: askWithin}
	c, err := d.DialContext(ctx, "unixpacket", path)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ECONNREFUSED) {
		return nil, nil // never started, or killed
	}
	if err != nil {
		return nil, err
	}
	cred, err := process.Peer(c)
	if err == nil && int(cred.Uid) != os.Geteuid() {
		err = fmt.Errorf("%s is served by process %d of user %d, not by one of ours", path, cred.Pid, cred.Uid)
	}
	var proc *process.Process
	if err == nil {
		proc, err = process.Open(int(cred.Pid), 0)
	}
	// Held before it is known to live: else the pid could be somebody else's by now.
	if err == nil && ended(c.(*net.UnixConn)) {
		proc.Release()
		err = process.ErrNone
	}
	if err != nil {
		c.Close()
		if errors.Is(err, process.ErrNone) {
			return nil, nil // it has just ended
		}
		return nil, err
	}
	return newHolder(c.(*net.UnixConn), proc), nil
}

// ended tells whether the other end of a connection is closed.
func ended(c *net.UnixConn) bool {
	rc, err := c.SyscallConn()
	if err != nil {
		return true
	}
	over := true
	err = rc.Control(func(fd uintptr) {
		fds := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLRDHUP}}
		_, err := unix.Poll(fds, 0)
		over = err != nil || fds[0].Revents&(unix.POLLHUP|unix.POLLRDHUP|unix.POLLERR) != 0
	})
	return err != nil || over
}

func newHolder(c *net.UnixConn, proc *process.Process) *holder {
	h := &holder{conn: c, proc: proc, since: time.Now(), within: askWithin, answers: make(chan message), gone: make(chan struct{})}
	go h.read()
	return h
}

// read hands over answers until the connection ends.
func (h *holder) read() {
	defer close(h.gone)
	for {
		m, err := receive(h.conn)
		if err != nil {
			return
		}
		select {
		case h.answers <- m:
		case <-time.After(lastWord): // an answer that came too late
			m.close()
			return
		}
	}
}

// ask asks one thing and waits for the answer. One caller at a time. The wait is
// counted in slices: a process that was itself frozen meanwhile - stopped, swapped
// out, on a machine that was paused - has lost one, not all of them, when it finds
// the answer and the clock at the same time.
func (h *holder) ask(fds []int, verb string, args ...string) (message, error) {
	if err := transmit(h.conn, h.within, fds, verb, args...); err != nil {
		return message{}, err
	}
	m, err := h.answer()
	if err == nil && m.verb == verbRefused {
		m.close()
		return message{}, fmt.Errorf("%s was refused: %s", verb, m.arg(0))
	}
	return m, err
}

// answer waits for an answer.
func (h *holder) answer() (message, error) {
	const slices = 20
	t := time.NewTicker(h.within / slices)
	defer t.Stop()
	for range slices {
		select {
		case m := <-h.answers:
			return m, nil
		case <-h.gone:
			return message{}, errors.New("it has ended")
		case <-t.C:
		}
	}
	select {
	case m := <-h.answers: // it was there with the last tick
		return m, nil
	default:
	}
	// What comes now would be taken for the answer to something else.
	h.conn.Close()
	return message{}, fmt.Errorf("no answer within %v", h.within)
}

// take makes this process the holder's core, and gets what is held.
func (h *holder) take(linger time.Duration) (version int, sockets map[string]int, err error) {
	m, err := h.ask(nil, verbTake, formatMilliseconds(linger))
	if err != nil {
		return 0, nil, err
	}
	version, err = strconv.Atoi(m.arg(0))
	if m.verb != verbHave || err != nil || len(m.args) != len(m.fds)+1 {
		m.close()
		return 0, nil, errors.New("it has answered nonsense")
	}
	sockets = map[string]int{}
	for i, a := range m.args[1:] {
		if fd, twice := sockets[a]; twice {
			unix.Close(fd)
		}
		sockets[a] = m.fds[i]
	}
	return version, sockets, nil
}

// kill ends the process.
func (h *holder) kill() {
	_ = h.proc.Kill(lastWord) // a holder stuck in the kernel has its sockets; bind says so
	h.close()
}

// close ends the connection and waits for its reader; the process is left.
func (h *holder) close() {
	h.once.Do(func() {
		h.conn.Close()
		for { // an answer that nobody waits for any more
			select {
			case m := <-h.answers:
				m.close()
				continue
			case <-h.gone:
			}
			break
		}
		h.proc.Release()
	})
}

// launch starts a holder: detached, with one end of a pair of sockets, over
// which it says that it is ready.
func launch(ctx context.Context, opt Options) (*holder, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_SEQPACKET|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("socketpair: %w", err)
	}
	mine, theirs := os.NewFile(uintptr(fds[0]), "holder"), os.NewFile(uintptr(fds[1]), "core")
	defer mine.Close()
	defer theirs.Close()
	c, err := net.FileConn(mine)
	if err != nil {
		return nil, err
	}
	proc, err := spawn(opt, theirs)
	if err != nil {
		c.Close()
		return nil, fmt.Errorf("start %s: %w", opt.Command[0], err)
	}
	theirs.Close() // so that the end of the process is the end of the connection
	h := newHolder(c.(*net.UnixConn), proc)
	h.within = launchWithin
	stop := context.AfterFunc(ctx, func() { h.conn.Close() })
	defer stop()
	if _, _, err := h.take(opt.Linger); err != nil {
		h.kill()
		said, _ := os.ReadFile(filepath.Join(opt.RunDir, logName))
		return nil, fmt.Errorf("%w: %s: %.500q", err, proc.Ended(), said)
	}
	h.within = askWithin
	return h, nil
}

// spawn starts the process; what it says goes into a file.
func spawn(opt Options, theirs *os.File) (*process.Process, error) {
	log, err := os.OpenFile(filepath.Join(opt.RunDir, logName), os.O_CREATE|os.O_TRUNC|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	args := append(append([]string{}, opt.Command[1:]...), Verb, opt.RunDir)
	cmd := exec.Command(opt.Command[0], args...)
	cmd.Dir = "/" // no file system is kept from being unmounted
	cmd.Env = process.Environment()
	cmd.Stdout, cmd.Stderr = log, log
	cmd.ExtraFiles = []*os.File{theirs}
	return process.Detach(cmd)
}
