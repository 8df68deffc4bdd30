package ports

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

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
	for address, want := range map[string][2]string{
		"eth0:8080": {"eth0"}, ":8080": {}, "10.0.0.7:1": {}, "[::1]:80": {}, "[fe80::1%eth0]:80": {"", "eth0"}, "cam.example:80": {"cam.example"}, "rubbish": {},
	} {
		if name, zone := interfaceIn(address); name != want[0] || zone != want[1] {
			t.Errorf("%s: %q %q, want %q", address, name, zone, want)
		}
	}
}

// TestListenOn: a name of an interface is listened on and held as its address is.
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
}

// TestListenOnNone: a name of nothing that there is keeps nobody from starting; it is
// told with what there is, and listened on once there is an interface of that name.
func TestListenOnNone(t *testing.T) {
	lo := loopback(t)
	p := newPlace(t)
	eth := &card{gone: true}
	c := p.still(eth)
	_, port, _ := net.SplitHostPort(freePort(t))
	other := freePort(t)
	for what, listen := range map[string]func(string) (net.Listener, error){"held": c.Listen, "not held": c.Unheld} {
		l, err := listen("eth77.invalid:8080")
		if err != nil {
			t.Fatal(err)
		}
		ts := c.Troubles()
		var f *fault.Problem
		if len(ts) != 1 || ts[0].Up || !errors.As(ts[0].Err, &f) || !strings.Contains(f.What, "eth77.invalid:8080: eth77.invalid is no address, no network interface") || !strings.Contains(f.Hint, lo) {
			t.Fatalf("%s: %+v", what, ts)
		}
		l.Close()
	}
	if _, err := Listen("eth77.invalid:8080", time.Now()); err == nil || !strings.Contains(err.Error(), "no network interface") {
		t.Errorf("once: %v", err)
	}
	for _, rubbish := range []string{"eth7", "eth7:http:80", "127.0.0.1:99999"} {
		if l, err := c.Listen(rubbish); err == nil {
			l.Close()
			t.Errorf("%s can be listened on", rubbish)
		}
	}
	c.mustServe("eth7:"+port, "1")
	c.mustServe("[fe80::1%eth78]:"+port, "1")
	c.mustServe(other, "2")
	c.Settle()
	c.step(time.Now())
	if ts := c.Troubles(); len(ts) != 2 || !strings.Contains(ts[1].Err.Error(), "there is no network interface eth78") {
		t.Errorf("%+v", ts)
	}
	if got := dialed(t, other)(); got != "2" {
		t.Errorf("%q", got)
	}
	eth.set("127.0.0.2/8")
	c.step(time.Now())
	if got := dialed(t, "127.0.0.2:"+port)(); got != "1" {
		t.Errorf("%q, %v", got, c.Troubles())
	}
	c.die()
	eth.leave() // and a core that begins now finds it gone
	c = p.still(eth)
	c.mustServe("eth7:"+port, "3")
	c.Settle()
	if ts := c.Troubles(); len(ts) != 1 || ts[0].Up {
		t.Errorf("%+v", ts)
	}
	eth.set("127.0.0.3/8")
	c.step(time.Now())
	if got := dialed(t, "127.0.0.3:"+port)(); got != "3" {
		t.Errorf("%q, %v", got, c.Troubles())
	}
}
