package web

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"

	"golang.org/x/sys/unix"
)

// controlConn is a connection over the control socket whose peer is this
// process's user or root.
type controlConn struct{ net.Conn }

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
		if uid, err := peerUID(c); err != nil || uid != 0 && uid != uint32(os.Getuid()) {
			c.Close()
			continue
		}
		return controlConn{c}, nil
	}
}

func peerUID(c *net.UnixConn) (uint32, error) {
	raw, err := c.SyscallConn()
	if err != nil {
		return 0, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := raw.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return 0, err
	}
	if cerr != nil {
		return 0, cerr
	}
	return cred.Uid, nil
}
