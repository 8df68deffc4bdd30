package web

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// controlConn is a connection over the control socket whose peer is this
// process's user or root.
type controlConn struct {
	net.Conn
	user ControlUser
}

// ControlUser is who opened the control socket, by the kernel's word.
type ControlUser struct {
	UID uint32 // that the program runs as
	// Login is the user who logged in, whatever he has become since (su, sudo);
	// UID where that is not known.
	Login uint32
}

// UserOf tells who is at the other end of the control socket.
func UserOf(c net.Conn) (ControlUser, bool) {
	cc, ok := c.(controlConn)
	return cc.user, ok
}

// IsControl tells whether a request came over the control socket: whoever can
// open that is this server's own user or root, and may do everything.
func IsControl(c net.Conn) bool {
	_, ok := c.(controlConn)
	return ok
}

type controlListener struct {
	*net.UnixListener
	path string
	once sync.Once
	err  error
}

// listenControl opens the control socket, 0600, in a folder that is made 0700
// when it is missing. A socket that nobody answers on is a leftover of a
// server that was killed, and replaced.
func listenControl(path string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if c, err := net.DialTimeout("unix", path, time.Second); err == nil {
		c.Close()
		return nil, fmt.Errorf("%s: another server answers there", path)
	}
	// It gets its mode before its name. (The umask is the whole process's: set
	// here it would take the x off folders that others make meanwhile.)
	young := path + ".new"
	if err := os.Remove(young); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: young, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false)
	if err := errors.Join(os.Chmod(young, 0o600), os.Rename(young, path)); err != nil {
		l.Close()
		return nil, err
	}
	return &controlListener{UnixListener: l, path: path}, nil
}

// Close closes the listener and removes the socket, once.
func (l *controlListener) Close() error {
	l.once.Do(func() {
		os.Remove(l.path)
		l.err = l.UnixListener.Close()
	})
	return l.err
}

func (l *controlListener) Accept() (net.Conn, error) {
	for {
		c, err := l.AcceptUnix()
		if scarce(err) {
			continue
		}
		if err != nil {
			return nil, err
		}
		p, err := peerOf(c)
		if err != nil || p.UID != 0 && p.UID != uint32(os.Getuid()) {
			c.Close()
			continue
		}
		return controlConn{c, p}, nil
	}
}

func peerOf(c *net.UnixConn) (ControlUser, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return ControlUser{}, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return ControlUser{}, err
	}
	if cerr != nil {
		return ControlUser{}, cerr
	}
	return ControlUser{UID: cred.Uid, Login: loginOf(cred.Pid, cred.Uid)}, nil
}

// loginOf is the user who logged in where a process comes from. Linux keeps it
// over su and sudo (audit, set by pam_loginuid), and it is 2^32-1 where nobody
// logged in, as in a service.
func loginOf(pid int32, uid uint32) uint32 {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/loginuid", pid))
	if err != nil {
		return uid
	}
	return loginIn(string(b), uid)
}

func loginIn(text string, uid uint32) uint32 {
	n, err := strconv.ParseUint(strings.TrimSpace(text), 10, 32)
	if err != nil || n == 1<<32-1 {
		return uid
	}
	return uint32(n)
}
