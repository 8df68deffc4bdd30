package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"

	"golang.org/x/sys/unix"
)

// listens asks the kernel whether a descriptor is what a holder says that it is:
// a TCP socket that listens on the port of that address.
func listens(fd int, address string) error {
	kind, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TYPE)
	if err != nil {
		return err
	}
	on, err := unix.GetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_ACCEPTCONN)
	if err != nil {
		return err
	}
	at, err := boundTo(fd)
	if err != nil {
		return err
	}
	if kind != unix.SOCK_STREAM || on != 1 {
		return errors.New("it does not listen")
	}
	_, port, err := net.SplitHostPort(address)
	if n, perr := net.LookupPort("tcp", port); err != nil || perr != nil || n != int(at.Port()) {
		return fmt.Errorf("it listens on %v", at)
	}
	return nil
}

func boundTo(fd int) (netip.AddrPort, error) {
	sa, err := unix.Getsockname(fd)
	if err != nil {
		return netip.AddrPort{}, err
	}
	switch a := sa.(type) {
	case *unix.SockaddrInet4:
		return netip.AddrPortFrom(netip.AddrFrom4(a.Addr), uint16(a.Port)), nil
	case *unix.SockaddrInet6:
		return netip.AddrPortFrom(netip.AddrFrom16(a.Addr).Unmap(), uint16(a.Port)), nil
	}
	return netip.AddrPort{}, errors.New("not a socket of TCP")
}

// moved tells whether the host of an address has another number than the socket
// was bound to: the settings are the same, but the name leads elsewhere now.
func moved(fd int, address string) bool {
	at, err := boundTo(fd)
	if err != nil {
		return true
	}
	want, err := net.ResolveTCPAddr("tcp", address)
	if err != nil {
		return false // a bind would do no better
	}
	ip, ok := netip.AddrFromSlice(want.IP)
	if ip = ip.Unmap(); !ok || ip.IsUnspecified() {
		return !at.Addr().IsUnspecified()
	}
	return ip != at.Addr()
}

// anyPort tells whether the kernel chooses the port.
func anyPort(address string) bool {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	n, err := net.LookupPort("tcp", port)
	return err == nil && n == 0
}
