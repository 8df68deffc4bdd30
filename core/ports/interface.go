package ports

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"

	"media-server/core/fault"
)

// Resolve gives the address to bind for one to listen on, in which the name of a network
// interface may stand for the host: eth0:8080. That is its first address, as the system
// lists them, IPv4 before IPv6 and those of the link (169.254.0.0/16, fe80::/10) last.
// It is looked up now and not followed: an interface that is given another address later
// needs a restart. Host names are left to the resolver.
func Resolve(address string) (string, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil || host == "" {
		return address, nil //nolint:nilerr // net.Listen has the words for what is wrong
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return address, nil
	}
	i, err := net.InterfaceByName(host)
	if err != nil {
		return address, nil //nolint:nilerr // no interface: a host name, or nothing (nowhere)
	}
	all, err := i.Addrs()
	if err != nil {
		return "", fmt.Errorf("listen %s: the addresses of interface %s: %w", address, host, err)
	}
	a, ok := first(all, i.Name)
	if !ok {
		return "", fault.Wrap(fmt.Errorf("listen %s: network interface %s has no address", address, host), "", "",
			"give it one (ip address show dev "+host+" lists them), or write an address, or :"+port+" for all interfaces")
	}
	return net.JoinHostPort(a.String(), port), nil
}

// first is the address of an interface that is listened on.
func first(all []net.Addr, name string) (best netip.Addr, ok bool) {
	rank := 0
	for _, x := range all {
		n, is := x.(*net.IPNet)
		if !is {
			continue
		}
		a, is := netip.AddrFromSlice(n.IP)
		if !is {
			continue
		}
		a = a.Unmap()
		r := 1
		if a.Is4() {
			r++
		}
		if !a.IsLinkLocalUnicast() {
			r += 2
		} else if a.Is6() {
			a = a.WithZone(name) // it means nothing without
		}
		if r > rank {
			best, rank = a, r
		}
	}
	return best, rank > 0
}

// nowhere says more of a host that the resolver does not know.
func nowhere(err error, address string) error {
	var unknown *net.DNSError
	if !errors.As(err, &unknown) {
		return err
	}
	host, _, _ := net.SplitHostPort(address)
	hint := "write an address of this machine"
	if all, err := net.Interfaces(); err == nil && len(all) > 0 {
		names := make([]string, len(all))
		for i := range all {
			names[i] = all[i].Name
		}
		hint += " or one of its network interfaces (" + strings.Join(names, ", ") + ")"
	}
	return fault.Wrap(fmt.Errorf("listen %s: %s is no address, no network interface of this machine, and no host that it knows", address, host), "", "",
		hint+", or leave the host out for all")
}

// Listen is net.Listen("tcp", address) with the name of an interface for the host. The
// listener ends with this process.
func Listen(address string) (net.Listener, error) {
	at, err := Resolve(address)
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", at)
	if err != nil {
		return nil, nowhere(err, address)
	}
	return l, nil
}
