package process

import (
	"errors"
	"fmt"
	"net"
	"syscall"

	"golang.org/x/sys/unix"
)

// Peer asks the kernel for pid and uid of whoever is at the other end of a
// Unix socket: for one who called connect, the process that called listen.
func Peer(conn net.Conn) (unix.Ucred, error) {
	sc, ok := conn.(syscall.Conn)
	if !ok {
		return unix.Ucred{}, errors.New("not a Unix socket")
	}
	rc, err := sc.SyscallConn()
	if err != nil {
		return unix.Ucred{}, err
	}
	var cred *unix.Ucred
	var cerr error
	if err := rc.Control(func(fd uintptr) {
		cred, cerr = unix.GetsockoptUcred(int(fd), unix.SOL_SOCKET, unix.SO_PEERCRED)
	}); err != nil {
		return unix.Ucred{}, err
	}
	if cerr != nil {
		return unix.Ucred{}, fmt.Errorf("peer credentials: %w", cerr)
	}
	return *cred, nil
}
