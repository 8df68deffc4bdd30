package ports

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/process"
)

// Verb is the hidden verb of the program that calls Hold; the folder of the
// socket follows it.
const Verb = "hold-ports"

const (
	socketName   = "ports.sock"
	answerWithin = time.Second
	// While a core is there it has the sockets itself, so that a holder whose
	// name in the file system was taken away may find out late. Without one,
	// the folder's end is how systemd tells that the service was stopped.
	lookWithCore = time.Second
	lookAlone    = 50 * time.Millisecond
	maxConns     = 8
)

// Hold is the holder: it serves cores on RunDir/ports.sock, the first of them
// on conn, until nobody needs it.
func Hold(ctx context.Context, runDir string, conn *net.UnixConn, log *slog.Logger) error {
	h := &holding{path: filepath.Join(runDir, socketName), log: log, sockets: map[string]int{},
		asked: make(chan request), left: make(chan *net.UnixConn), came: make(chan *net.UnixConn), stop: make(chan struct{})}
	if err := h.listen(); err != nil {
		conn.Close()
		return err
	}
	h.admit(conn)
	h.wg.Go(h.accept)
	h.loop(ctx)
	h.end()
	return nil
}

type request struct {
	from *net.UnixConn
	message
}

// holding is the state of a holder; loop alone changes it.
type holding struct {
	path string
	log  *slog.Logger

	socket  *net.UnixListener
	inode   uint64
	sockets map[string]int // descriptors by address
	order   []string       // of sockets
	conns   []*net.UnixConn
	core    *net.UnixConn // the one that took; nil = none
	linger  time.Duration // after a core that died
	leave   time.Duration // after one that said that it goes; < 0 = none has
	until   time.Time     // when to end; zero = not at all

	starting *net.UnixConn // of a core that has not taken yet; nil = none
	patience time.Time     // until when that one is waited for

	asked chan request
	left  chan *net.UnixConn
	came  chan *net.UnixConn
	stop  chan struct{}
	wg    sync.WaitGroup
}

// firstLinger holds until a core has said how long.
const firstLinger = 30 * time.Second

// listen opens the socket: it gets its mode before its name.
func (h *holding) listen() error {
	h.linger, h.leave = firstLinger, -1
	young := h.path + ".new"
	if err := os.Remove(young); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	l, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: young, Net: "unixpacket"})
	if err != nil {
		return err
	}
	l.SetUnlinkOnClose(false)
	h.socket = l
	err = errors.Join(os.Chmod(young, 0o600), os.Rename(young, h.path))
	if err == nil {
		h.inode, err = inodeOf(h.path)
	}
	if err != nil {
		l.Close()
	}
	return err
}

func inodeOf(path string) (uint64, error) {
	var st unix.Stat_t
	if err := unix.Lstat(path, &st); err != nil {
		return 0, &fs.PathError{Op: "lstat", Path: path, Err: err}
	}
	return st.Ino, nil
}

// accept hands over connections of our own user.
func (h *holding) accept() {
	for {
		c, err := h.socket.AcceptUnix()
		if err != nil {
			select {
			case <-h.stop:
				return
			case <-time.After(lookAlone): // without descriptors for a moment: it must not end for ever
				if errors.Is(err, net.ErrClosed) {
					return
				}
				continue
			}
		}
		if cred, err := process.Peer(c); err != nil || int(cred.Uid) != os.Geteuid() {
			c.Close()
			continue
		}
		select {
		case h.came <- c:
		case <-h.stop:
			c.Close()
		}
	}
}

// admit starts the reader of a connection.
func (h *holding) admit(c *net.UnixConn) {
	if len(h.conns) >= maxConns { // somebody leaves connections open; a core's is not among them
		if i := slices.IndexFunc(h.conns, func(o *net.UnixConn) bool { return o != h.core && o != h.starting }); i >= 0 {
			h.conns[i].Close() // its reader ends and says so
		}
	}
	h.conns = append(h.conns, c)
	h.wg.Go(func() {
		for {
			m, err := receive(c)
			if err != nil {
				break
			}
			select {
			case h.asked <- request{c, m}:
			case <-h.stop:
				m.close()
			}
		}
		select {
		case h.left <- c:
		case <-h.stop:
		}
	})
}

// loop runs until nobody needs the sockets.
func (h *holding) loop(ctx context.Context) {
	h.alone()
	for {
		look := lookAlone
		if h.core != nil {
			look = lookWithCore
		}
		t := time.NewTimer(look)
		select {
		case <-ctx.Done():
			h.log.Info("told to end")
			return
		case c := <-h.came:
			h.admit(c)
		case c := <-h.left:
			h.lost(c)
		case r := <-h.asked:
			if !h.answer(&r) {
				return
			}
		case <-t.C:
		}
		t.Stop()
		if h.over() {
			return
		}
	}
}

// over tells whether it is time to end.
func (h *holding) over() bool {
	now := time.Now()
	waits := h.starting != nil && now.Before(h.patience)
	if !h.until.IsZero() && !now.Before(h.until) && !waits {
		h.log.Info("no core came")
		return true
	}
	if n, err := inodeOf(h.path); err != nil || n != h.inode {
		h.log.Info("the socket was taken away", "path", h.path)
		return true
	}
	return false
}

// alone begins to count the time without a core.
func (h *holding) alone() {
	wait := h.linger
	if h.leave >= 0 {
		wait = h.leave
	}
	h.until = time.Now().Add(wait)
}

func (h *holding) lost(c *net.UnixConn) {
	c.Close()
	h.conns = slices.DeleteFunc(h.conns, func(o *net.UnixConn) bool { return o == c })
	if c == h.starting {
		h.starting = nil
	}
	if c == h.core {
		h.core = nil
		h.alone()
	}
}

// answer does what was asked; false = the holder ends.
func (h *holding) answer(r *request) bool {
	defer r.close()
	verb, args, fds, on, err := h.do(r)
	if err != nil {
		verb, args, fds = verbRefused, []string{err.Error()}, nil
	}
	if !on {
		h.closeSockets() // before the core hears of it
	}
	if err := transmit(r.from, answerWithin, fds, verb, args...); err != nil {
		h.log.Warn("the core could not be answered", "err", err)
		r.from.Close() // its reader ends and says so
	}
	return on
}

func (h *holding) do(r *request) (verb string, args []string, fds []int, on bool, err error) {
	if r.verb != verbTake && r.verb != verbStart && r.from != h.core {
		return "", nil, nil, true, errors.New("take-comes-first")
	}
	switch r.verb {
	case verbStart:
		ms, err := milliseconds(r.arg(0))
		if err != nil {
			return "", nil, nil, true, err
		}
		h.starting, h.patience = r.from, time.Now().Add(ms)
		return verbDone, nil, nil, true, nil
	case verbTake:
		args, fds, err = h.take(r)
		return verbHave, args, fds, true, err
	case verbHold:
		return verbDone, nil, nil, true, h.hold(r)
	case verbDrop:
		h.drop(r.arg(0))
		return verbDone, nil, nil, true, nil
	case verbLeave:
		ms, err := milliseconds(r.arg(0))
		if err != nil {
			return "", nil, nil, true, err
		}
		h.leave = ms
		// A core that hangs while it goes does not keep clients waiting for ever.
		h.until = time.Now().Add(max(h.linger, ms))
		return verbDone, nil, nil, ms > 0, nil
	}
	return "", nil, nil, true, errors.New("unknown-verb")
}

// take makes the asking connection the core's.
func (h *holding) take(r *request) (args []string, fds []int, err error) {
	linger, err := milliseconds(r.arg(0))
	if err != nil {
		return nil, nil, err
	}
	if old := h.core; old != nil && old != r.from {
		old.Close() // a newer core wins: only one has the lock of the folder
	}
	h.core, h.linger, h.leave, h.until, h.starting = r.from, linger, -1, time.Time{}, nil
	args = []string{strconv.Itoa(protocol)}
	for _, a := range h.order {
		args, fds = append(args, a), append(fds, h.sockets[a])
	}
	return args, fds, nil
}

func (h *holding) hold(r *request) error {
	a := r.arg(0)
	_, known := h.sockets[a]
	switch {
	case checkAddress(a) != nil || len(r.fds) != 1:
		return errors.New("one-address-and-one-socket")
	case !known && len(h.sockets) >= maxSockets:
		return errors.New("too-many-sockets")
	}
	h.drop(a)
	h.sockets[a], h.order = r.fds[0], append(h.order, a)
	r.fds = nil
	return nil
}

func (h *holding) drop(a string) {
	if fd, ok := h.sockets[a]; ok {
		unix.Close(fd)
		delete(h.sockets, a)
		h.order = slices.DeleteFunc(h.order, func(o string) bool { return o == a })
	}
}

func (h *holding) closeSockets() {
	for _, a := range slices.Clone(h.order) {
		h.drop(a)
	}
}

// end closes everything, listeners first, and waits for the readers.
func (h *holding) end() {
	h.closeSockets()
	close(h.stop)
	if n, err := inodeOf(h.path); err == nil && n == h.inode {
		os.Remove(h.path)
	}
	h.socket.Close()
	for _, c := range h.conns {
		c.Close()
	}
	h.wg.Wait()
}

// milliseconds reads a time of the protocol: up to a day.
func milliseconds(s string) (time.Duration, error) {
	n, err := strconv.ParseInt(s, 10, 64)
	if err != nil || n < 0 || n > (24*time.Hour).Milliseconds() {
		return 0, errors.New("no-time")
	}
	return time.Duration(n) * time.Millisecond, nil
}

func formatMilliseconds(d time.Duration) string { return fmt.Sprint(d.Milliseconds()) }
