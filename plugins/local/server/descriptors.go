package server

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"media-server/plugins/local/space"
)

// The framing of the side socket, as PROTOCOL.md says it.
//
//	request  uint32 (big endian) length of what follows, then space 0x00 name
//	reply    1 byte status, uint64 (big endian) size; with status 0 the
//	         descriptor rides on the reply as SCM_RIGHTS
const (
	statusOK       = 0
	statusNotFound = 1
	statusRefused  = 2
	statusError    = 3

	minRequest     = 3
	maxRequest     = 4096
	maxDescriptors = 256 // connections at a time
)

// ServeDescriptors listens on the socket until ctx ends.
func (s *Server) ServeDescriptors(ctx context.Context) error {
	sweepSockets(filepath.Dir(s.socket))
	// The folder is 0700 already; between Listen and Chmod nobody else gets in.
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: s.socket, Net: "unix"})
	if err != nil {
		return err
	}
	if err := os.Chmod(s.socket, 0o600); err != nil {
		l.Close()
		return err
	}
	var wg sync.WaitGroup
	defer wg.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	stop := context.AfterFunc(ctx, func() { l.Close() })
	defer stop()
	places := make(chan struct{}, maxDescriptors)
	for {
		c, err := l.AcceptUnix()
		if err != nil {
			if ctx.Err() != nil {
				return nil
			}
			if errors.Is(err, syscall.EMFILE) || errors.Is(err, syscall.ENFILE) {
				time.Sleep(100 * time.Millisecond)
				continue
			}
			return err
		}
		select {
		case places <- struct{}{}:
		default:
			c.Close()
			continue
		}
		wg.Go(func() {
			defer func() { <-places }()
			defer c.Close()
			stop := context.AfterFunc(ctx, func() { c.Close() })
			defer stop()
			if ours(c) {
				s.descriptors(ctx, c)
			}
		})
	}
}

// ours lets in root and the user this process runs as.
func ours(c *net.UnixConn) bool {
	raw, err := c.SyscallConn()
	if err != nil {
		return false
	}
	ok := false
	raw.Control(func(fd uintptr) {
		cred, err := unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
		ok = err == nil && (cred.Uid == 0 || cred.Uid == uint32(os.Geteuid()))
	})
	return ok
}

func (s *Server) descriptors(ctx context.Context, c *net.UnixConn) {
	r := bufio.NewReader(c) // several requests may come at once
	for {
		sp, name, err := readRequest(r)
		if err != nil {
			return
		}
		f, size, st := s.descriptor(ctx, sp, name)
		reply := make([]byte, 9)
		reply[0] = st
		binary.BigEndian.PutUint64(reply[1:], uint64(size))
		var rights []byte
		if f != nil {
			rights = unix.UnixRights(int(f.Fd()))
		}
		_, _, err = c.WriteMsgUnix(reply, rights, nil)
		if f != nil {
			f.Close()
		}
		if err != nil {
			return
		}
	}
}

// readRequest decodes one request.
func readRequest(r io.Reader) (space, name string, err error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return "", "", err
	}
	n := binary.BigEndian.Uint32(head[:])
	if n < minRequest || n > maxRequest {
		return "", "", errors.New("request of a wrong size")
	}
	b := make([]byte, n)
	if _, err := io.ReadFull(r, b); err != nil {
		return "", "", err
	}
	space, name, _ = strings.Cut(string(b), "\x00") // without a separator: no name, which is refused
	return space, name, nil
}

func (s *Server) descriptor(ctx context.Context, name, file string) (*os.File, int64, byte) {
	sp, leave, err := s.enter(ctx, name)
	if err != nil {
		return nil, 0, statusRefused
	}
	defer leave()
	if !sp.Local() {
		return nil, 0, statusRefused
	}
	f, size, err := sp.OpenFile(file)
	switch space.ReasonOf(err) {
	case 0:
		return f, size, statusOK
	case space.NotFound:
		return nil, 0, statusNotFound
	case space.BadName:
		return nil, 0, statusRefused
	}
	return nil, 0, statusError
}

// socketPrefix is what names of side sockets begin with; a number follows.
const socketPrefix = "local-fd-"

// SocketPath is where the side socket of this process belongs.
func SocketPath(dir string, pid int) string {
	return filepath.Join(dir, socketPrefix+strconv.Itoa(pid))
}

// sweepSockets removes side sockets that nobody listens on any more: those of
// processes that are gone, and one that was left under the number that this one
// has. That nobody answers is not enough: a process that has just begun has bound
// its socket, and listens in a moment.
func sweepSockets(dir string) {
	old, _ := filepath.Glob(filepath.Join(dir, socketPrefix+"*"))
	for _, path := range old {
		pid, err := strconv.Atoi(strings.TrimPrefix(filepath.Base(path), socketPrefix))
		if err != nil || pid != os.Getpid() && !errors.Is(syscall.Kill(pid, 0), syscall.ESRCH) {
			continue
		}
		c, err := net.Dial("unix", path)
		if err == nil {
			c.Close()
		} else if errors.Is(err, syscall.ECONNREFUSED) {
			os.Remove(path)
		}
	}
}
