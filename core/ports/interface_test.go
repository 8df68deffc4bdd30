package ports

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"

	"media-server/core/fault"
)

func TestFirst(t *testing.T) {
	for name, c := range map[string]struct {
		all  []string
		want string // "" = none
	}{
		"IPv4 before IPv6":       {[]string{"2001:db8::7/64", "10.0.0.7/24"}, "10.0.0.7"},
		"the first of several":   {[]string{"10.0.0.7/24", "10.0.0.8/24"}, "10.0.0.7"},
		"IPv6 alone":             {[]string{"fe80::1/64", "2001:db8::7/64"}, "2001:db8::7"},
		"IPv6 before the link's": {[]string{"169.254.3.4/16", "2001:db8::7/64"}, "2001:db8::7"},
		"the link's, IPv4":       {[]string{"fe80::1/64", "169.254.3.4/16"}, "169.254.3.4"},
		"the link's alone":       {[]string{"fe80::1/64"}, "fe80::1%eth0"},
		"none":                   {nil, ""},
	} {
		var all []net.Addr
		for _, a := range c.all {
			ip, n, err := net.ParseCIDR(a)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, &net.IPNet{IP: ip, Mask: n.Mask})
		}
		a, r, has := first(all, "eth0", netip.Addr{})
		if (r != rankNone) != (c.want != "") || r != rankNone && a.String() != c.want || has != rankNone {
			t.Errorf("%s: %v %v %v, want %s", name, a, r, has, c.want)
		}
		if r == rankNone {
			continue
		}
		if _, _, has := first(all, "eth0", a); has != r || r.ofLink() != strings.HasPrefix(name, "the link's") {
			t.Errorf("%s: what is listened on is %v, the best %v", name, has, r)
		}
	}
}

// loopback is the name of the loopback interface: lo, but not everywhere.
func loopback(t *testing.T) string {
	t.Helper()
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if as, err := i.Addrs(); err == nil && i.Flags&net.FlagLoopback != 0 && len(as) > 0 {
			return i.Name
		}
	}
	t.Skip("there is no loopback interface with an address")
	return ""
}

func TestInterfaceIn(t *testing.T) {
	for address, want := range map[string]string{
		"eth0:8080": "eth0", ":8080": "", "10.0.0.7:1": "", "[::1]:80": "", "[fe80::1%eth0]:80": "", "cam.example:80": "cam.example", "rubbish": "",
	} {
		if got := interfaceIn(address); got != want {
			t.Errorf("%s: %q, want %q", address, got, want)
		}
	}
}

// TestListenOn: a name of an interface is listened on and held as its address is; one
// of none is told with what there is.
func TestListenOn(t *testing.T) {
	lo := loopback(t)
	p := newPlace(t)
	_, port, _ := net.SplitHostPort(freePort(t))
	c := p.core()
	c.mustServe(lo+":"+port, "by name")
	c.Settle()
	if got := dialed(t, "127.0.0.1:"+port)(); got != "by name" {
		t.Errorf("%q", got)
	}
	l, err := c.Unheld(lo + ":0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	for what, listen := range map[string]func(string) (net.Listener, error){"held": c.Listen, "not held": c.Unheld} {
		l, err := listen("eth77.invalid:8080")
		if err == nil {
			l.Close()
			t.Fatalf("%s: there is one", what)
		}
		var f *fault.Problem
		if !errors.As(err, &f) || !strings.Contains(err.Error(), "no network interface") || !strings.Contains(f.Hint, lo) {
			t.Errorf("%s: %v", what, err)
		}
	}
}
