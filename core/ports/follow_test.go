package ports

import (
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/fault"
)

// at is a listener of an address that this machine need not have.
type at struct{ addr *net.TCPAddr }

func (a at) Accept() (net.Conn, error) { return nil, net.ErrClosed }
func (a at) Close() error              { return nil }
func (a at) Addr() net.Addr            { return a.addr }

// card is a network interface whose addresses a test changes.
type card struct {
	mu   sync.Mutex
	all  []net.Addr
	err  error
	gone bool // there is no such interface
}

func (c *card) leave() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.gone = true
}

func (c *card) set(all ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.all, c.gone = nil, false
	for _, a := range all {
		p := netip.MustParsePrefix(a)
		c.all = append(c.all, &net.IPNet{IP: p.Addr().AsSlice(), Mask: net.CIDRMask(p.Bits(), p.Addr().BitLen())})
	}
}

func (c *card) look(name string) ([]net.Addr, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if name != "eth7" || c.gone {
		return nil, errNoInterface
	}
	return c.all, c.err
}

// TestPlace: which address of an interface is listened on as they come and go.
func TestPlace(t *testing.T) {
	const link4, link6 = "169.254.3.4/16", "fe80::1/64"
	type now struct {
		after time.Duration // since the beginning
		all   []string
		want  string // what is bound then; empty = it stays where it is
		lacks bool
	}
	for name, steps := range map[string][]now{
		"at once":      {{0, []string{link6, "10.0.0.7/24"}, "10.0.0.7:80", false}},
		"by DHCP":      {{0, nil, "", true}, {2, []string{link6}, "", true}, {4, []string{link6, "10.0.0.7/24"}, "10.0.0.7:80", false}, {30, []string{link6, "10.0.0.7/24"}, "", false}},
		"never":        {{0, []string{link6}, "", true}, {9, []string{link6}, "", true}, {10, []string{link6}, "[fe80::1%eth7]:80", false}, {60, []string{link6}, "", false}},
		"late":         {{0, []string{link6}, "", true}, {10, []string{link6}, "[fe80::1%eth7]:80", false}, {60, []string{link6, "10.0.0.7/24"}, "10.0.0.7:80", false}},
		"better":       {{0, []string{"2001:db8::7/64"}, "[2001:db8::7]:80", false}, {2, []string{"2001:db8::7/64", "10.0.0.7/24"}, "10.0.0.7:80", false}},
		"as good":      {{0, []string{"10.0.0.7/24"}, "10.0.0.7:80", false}, {2, []string{"10.0.0.6/24", "10.0.0.7/24"}, "", false}},
		"another":      {{0, []string{"10.0.0.7/24"}, "10.0.0.7:80", false}, {2, []string{"10.0.0.8/24"}, "", true}, {4, []string{"10.0.0.8/24"}, "10.0.0.8:80", false}},
		"given anew":   {{0, []string{"10.0.0.7/24", "10.0.0.8/24"}, "10.0.0.7:80", false}, {2, []string{"10.0.0.8/24"}, "", true}, {4, []string{"10.0.0.8/24", "10.0.0.7/24"}, "", false}, {6, []string{"10.0.0.8/24"}, "", true}},
		"the cable":    {{0, []string{"10.0.0.7/24"}, "10.0.0.7:80", false}, {2, nil, "", true}, {4, []string{link4}, "", true}, {6, []string{"10.0.0.7/24"}, "", false}, {8, []string{link4}, "", true}},
		"no more DHCP": {{0, []string{"10.0.0.7/24"}, "10.0.0.7:80", false}, {20, []string{link4}, "", true}, {30, []string{link4, link6}, "169.254.3.4:80", false}},
	} {
		c := &card{}
		f := &followed{ports: &Ports{look: c.look}, want: "eth7:80", name: "eth7"}
		begin := time.Now()
		for i, s := range steps {
			c.set(s.all...)
			got, err := f.place(begin.Add(s.after * time.Second))
			if got != s.want || (err != nil) != s.lacks || err != nil && !absent(err) {
				t.Errorf("%s, step %d: %q %v, want %q", name, i, got, err, s.want)
			}
			if got != "" {
				f.at = at{net.TCPAddrFromAddrPort(netip.MustParseAddrPort(got))}
			}
		}
	}
	c := &card{}
	c.set("2001:db8::b/64", "2001:db8::a/64", link6) // addresses that change for privacy, the newest first
	p := &Ports{look: c.look, taken: map[string]int{"[2001:db8::a]:80": 9}}
	if got, err := (&followed{ports: p, want: "eth7:80", name: "eth7"}).place(time.Now()); got != "[2001:db8::a]:80" || err != nil {
		t.Errorf("clients of an earlier core are left: %q %v", got, err)
	}
	c.set(link6)
	p = &Ports{look: c.look, taken: map[string]int{"[fe80::1%eth7]:80": 9}}
	if got, err := (&followed{ports: p, want: "eth7:80", name: "eth7"}).place(time.Now()); got == "" || err != nil {
		t.Errorf("clients wait at a held listener: %q %v", got, err)
	}
}

// TestFollow: a listener waits for an address, moves with it, and is held where it is.
func TestFollow(t *testing.T) {
	p := newPlace(t)
	eth := &card{}
	_, port, _ := net.SplitHostPort(freePort(t))
	c := p.still(eth)
	c.mustServe("eth7:"+port, "1")
	c.Settle()
	ts := c.Troubles()
	var problem *fault.Problem
	if len(ts) != 1 || ts[0].Up || ts[0].Address != "eth7:"+port || !strings.Contains(ts[0].Err.Error(), "network interface eth7 has no address") || !errors.As(ts[0].Err, &problem) || problem.Hint == "" {
		t.Fatalf("%+v", ts)
	}
	if a, is := c.ls[0].Addr().(*net.TCPAddr); is || c.ls[0].Addr().String() != "eth7:"+port {
		t.Errorf("it listens on %v", a)
	}
	move := func(to string) {
		t.Helper()
		eth.set(to + "/8")
		c.step(time.Now())
		c.step(time.Now().Add(lookEvery))
		if got := dialed(t, to+":"+port)(); got != "1" || len(c.Troubles()) != 0 {
			t.Errorf("%q, %v", got, c.Troubles())
		}
	}
	move("127.0.0.2")
	move("127.0.0.3")
	if !refused("127.0.0.2:" + port) {
		t.Error("somebody listens at the address before")
	}
	c.die()
	if !refused("127.0.0.2:"+port) || refused("127.0.0.3:"+port) {
		t.Error("another address is held than the last")
	}
	answer := dialed(t, "127.0.0.3:"+port)
	c = p.still(eth)
	c.mustServe("eth7:"+port, "2")
	c.Settle()
	if got := answer(); got != "2" || strings.Contains(p.said.String(), "not used") {
		t.Errorf("%q", got)
	}
}

// TestFollowTaken: a port in use ends a start; at an address that comes later it is told
// and waited for.
func TestFollowTaken(t *testing.T) {
	p := newPlace(t)
	eth := &card{}
	c := p.still(eth)
	other, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	_, port, _ := net.SplitHostPort(other.Addr().String())
	eth.set("127.0.0.2/8")
	if err := c.serve("eth7:"+port, "1"); !errors.Is(err, unix.EADDRINUSE) || strings.Contains(p.said.String(), "waits") {
		t.Errorf("%v", err)
	}
	eth.set()
	c.mustServe("eth7:"+port, "1")
	eth.set("127.0.0.2/8")
	for range 2 {
		c.step(time.Now())
		if ts := c.Troubles(); len(ts) != 1 || ts[0].Up || !errors.Is(ts[0].Err, unix.EADDRINUSE) {
			t.Errorf("%+v", ts)
		}
	}
	if n := strings.Count(p.said.String(), "waits for its address"); n != 2 {
		t.Errorf("told %d times", n)
	}
	other.Close()
	c.step(time.Now())
	if got := dialed(t, "127.0.0.2:"+port)(); got != "1" || len(c.Troubles()) != 0 {
		t.Errorf("%q, %v", got, c.Troubles())
	}
}

// TestNotHere: an address that this machine does not have keeps nobody from starting.
func TestNotHere(t *testing.T) {
	p := newPlace(t)
	c := p.core()
	addr := freePort(t)
	for _, a := range []string{"192.0.2.77:8080", "[2001:db8::77]:8080"} {
		if err := c.serve(a, "no"); errors.Is(err, unix.EAFNOSUPPORT) {
			continue
		} else if err != nil {
			t.Error(err)
		}
	}
	c.mustServe(addr, "1")
	if got := dialed(t, addr)(); got != "1" {
		t.Errorf("%q", got)
	}
	ts := c.Troubles()
	if len(ts) == 0 || !strings.Contains(ts[0].Err.Error(), "no network interface of this machine has the address") || !errors.Is(ts[0].Err, unix.EADDRNOTAVAIL) {
		t.Errorf("%+v", ts)
	}
	for _, l := range c.ls[:len(c.ls)-1] {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
		if _, err := l.Accept(); !errors.Is(err, net.ErrClosed) {
			t.Error(err)
		}
	}
	if ts := c.Troubles(); len(ts) != 0 {
		t.Errorf("closed, but %+v", ts)
	}
}

// TestGivenWaits: a socket that systemd has bound is used when its address comes.
func TestGivenWaits(t *testing.T) {
	p := newPlace(t)
	eth := &card{}
	given, err := net.Listen("tcp", "127.0.0.2:0")
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	f, err := given.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	fd, err := unix.Dup(int(f.Fd()))
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	stale, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	p.opt.Given = []int{fd, stale}
	c := p.still(eth)
	_, port, _ := net.SplitHostPort(given.Addr().String())
	c.mustServe("eth7:"+port, "1")
	c.Settle()
	eth.set("127.0.0.2/8")
	c.step(time.Now())
	if got := dialed(t, given.Addr().String())(); got != "1" || len(c.Troubles()) != 0 {
		t.Errorf("%q %v", got, c.Troubles())
	}
	if !strings.Contains(p.said.String(), "at no address of the settings") || len(c.opt.Given) != 0 {
		t.Errorf("the socket that nobody has asked for stays open: %v", c.opt.Given)
	}
}
