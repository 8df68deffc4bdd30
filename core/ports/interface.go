package ports

import (
	"errors"
	"fmt"
	"iter"
	"net"
	"net/netip"
	"strings"

	"media-server/core/fault"
)

// errNoInterface: there is no network interface of that name.
var errNoInterface = errors.New("there is no such network interface")

// interfaceIn gives what in an address to listen on may be the name of a network
// interface: all of the host, or the zone of an IPv6 address. Empty = it has none.
func interfaceIn(address string) (name, zone string) {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return "", "" // net.Listen has the words for what is wrong
	}
	if a, err := netip.ParseAddr(host); err == nil {
		return "", a.Zone()
	}
	return host, ""
}

// addressesOf lists the addresses of a network interface.
func addressesOf(name string) ([]net.Addr, error) {
	i, err := net.InterfaceByName(name)
	if err != nil {
		return nil, errNoInterface
	}
	all, err := i.Addrs()
	if err != nil {
		return nil, fmt.Errorf("the addresses of interface %s: %w", name, err)
	}
	return all, nil
}

// rank says how good an address is to listen on.
type rank int

const (
	rankNone  rank = iota // it is not there
	rankLink6             // fe80::/10
	rankLink4             // 169.254.0.0/16
	rankIPv6
	rankIPv4
)

// ofLink tells of an address that only neighbours reach, and that an interface gives
// itself: it has it before any other, and when nobody gives it one.
func (r rank) ofLink() bool { return r == rankLink6 || r == rankLink4 }

func rankOf(a netip.Addr) rank {
	switch {
	case a.IsLinkLocalUnicast() && a.Is4():
		return rankLink4
	case a.IsLinkLocalUnicast():
		return rankLink6
	case a.Is4():
		return rankIPv4
	}
	return rankIPv6
}

// addressesIn gives the addresses of the interface of a name.
func addressesIn(all []net.Addr, name string) iter.Seq[netip.Addr] {
	return func(yield func(netip.Addr) bool) {
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
			if rankOf(a) == rankLink6 {
				a = a.WithZone(name) // it means nothing without
			}
			if !yield(a) {
				return
			}
		}
	}
}

// first is the address of an interface that is to be listened on, the first of the
// best, and the rank of the one that is.
func first(all []net.Addr, name string, now netip.Addr) (best netip.Addr, r, has rank) {
	for a := range addressesIn(all, name) {
		if a == now {
			has = rankOf(a)
		}
		if rankOf(a) > r {
			best, r = a, rankOf(a)
		}
	}
	return best, r, has
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
	return fault.Wrap(&lack{fmt.Sprintf("listen %s: %s is no address, no network interface of this machine, and no host that it knows", address, host), unknown}, "", "",
		hint+", or leave the host out for all; until then it is tried again every 2 s")
}
