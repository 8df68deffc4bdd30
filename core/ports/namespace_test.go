package ports

import (
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

const insideEnv = "PORTS_TEST_NAMESPACE"

// namespace runs the test that calls it in a network of its own; false = it is not in
// there, and has nothing to do any more.
func namespace(t *testing.T) bool {
	t.Helper()
	if os.Getenv(insideEnv) != "" {
		return true
	}
	if out, err := exec.Command("unshare", "--net", "ip", "link", "add", "eth7", "type", "veth", "peer", "name", "far7").CombinedOutput(); err != nil {
		t.Skipf("no network of its own is to be had: %v %s", err, out)
	}
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", os.Args[0], "-test.run=^"+t.Name()+"$", "-test.timeout=2m")
	cmd.Env = append(os.Environ(), insideEnv+"=1")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v\n%s", err, out)
	}
	return false
}

func ip(t *testing.T, args string) {
	t.Helper()
	if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
		t.Fatalf("ip %s: %v %s", args, err, out)
	}
}

// cable makes interface eth7, and what is at the other end.
func cable(t *testing.T) {
	t.Helper()
	ip(t, "link set lo up")
	ip(t, "link add eth7 type veth peer name far7")
	ip(t, "link set eth7 up")
	ip(t, "link set far7 up")
}

// TestInterface: an interface of the kernel that gets its address after the server has
// started, by way of one of the link; and an address that comes to no name.
func TestInterface(t *testing.T) {
	if !namespace(t) {
		return
	}
	cable(t)
	ip(t, "addr add 169.254.3.4/16 dev eth7")
	p := newPlace(t)
	c := p.still(nil)
	c.mustServe("eth7:8080", "1")
	c.mustServe("192.0.2.77:8081", "2")
	c.Settle()
	if ts := c.Troubles(); len(ts) != 2 || ts[0].Up || ts[1].Up || !refused("169.254.3.4:8080") {
		t.Fatalf("before DHCP: %+v", ts)
	}
	later := time.Now().Add(linkAfter)
	c.step(later)
	if ts := c.Troubles(); len(ts) != 2 || !ts[0].Up || !strings.Contains(ts[0].Err.Error(), "of the link alone") || dialed(t, "169.254.3.4:8080")() != "1" {
		t.Fatalf("no DHCP: %+v", ts)
	}
	ip(t, "addr add 10.9.8.7/24 dev eth7")
	ip(t, "addr add 192.0.2.77/32 dev lo")
	c.step(later.Add(lookEvery))
	if ts := c.Troubles(); len(ts) != 0 || dialed(t, "10.9.8.7:8080")() != "1" || dialed(t, "192.0.2.77:8081")() != "2" || !refused("169.254.3.4:8080") {
		t.Fatalf("after DHCP: %+v", ts)
	}
	ip(t, "addr del 10.9.8.7/24 dev eth7")
	ip(t, "addr add 10.9.8.6/24 dev eth7")
	c.step(later.Add(2 * lookEvery))
	c.step(later.Add(3 * lookEvery))
	if got := dialed(t, "10.9.8.6:8080")(); got != "1" || len(c.Troubles()) != 0 {
		t.Errorf("%q %+v", got, c.Troubles())
	}
	ip(t, "link del eth7")
	c.step(later.Add(4 * lookEvery))
	if ts := c.Troubles(); len(ts) != 1 || !strings.Contains(ts[0].Err.Error(), "eth7 has gone") {
		t.Errorf("%+v", ts)
	}
}

// TestInterfaceKilled: clients wait for the next core at an address of the link, too: it
// was listened on, so nobody has to see first whether another comes.
func TestInterfaceKilled(t *testing.T) {
	if !namespace(t) {
		return
	}
	cable(t)
	var addr string
	for end := time.Now().Add(20 * time.Second); addr == ""; time.Sleep(50 * time.Millisecond) { // once it is known to be nobody else's
		all, err := addressesOf("eth7")
		if err != nil || time.Now().After(end) {
			t.Fatal(all, err)
		}
		if best, r, _ := first(all, "eth7", ipOf(nil, "")); r != rankNone {
			if l, err := net.Listen("tcp", net.JoinHostPort(best.String(), "0")); err == nil {
				l.Close()
				addr = net.JoinHostPort(best.String(), "8080")
			}
		}
	}
	p := newPlace(t)
	c := p.still(nil)
	c.mustServe("eth7:8080", "1")
	c.step(time.Now().Add(linkAfter))
	if got := dialed(t, addr)(); got != "1" {
		t.Fatalf("%q", got)
	}
	c.die()
	answer := dialed(t, addr)
	c = p.still(nil)
	c.mustServe("eth7:8080", "2")
	c.Settle()
	if got := answer(); got != "2" || len(c.Troubles()) != 1 {
		t.Errorf("%q %+v", got, c.Troubles())
	}
}

// TestInterfaceOnce: who tries again by himself gets an address of the link when no
// other has come for long enough.
func TestInterfaceOnce(t *testing.T) {
	if !namespace(t) {
		return
	}
	cable(t)
	ip(t, "link add eth6 type veth peer name far6") // down: the kernel gives it none
	if _, err := Listen("eth6:8080", time.Now().Add(-linkAfter)); err == nil || !strings.Contains(err.Error(), "eth6 has no address") {
		t.Errorf("%v", err)
	}
	ip(t, "addr add 169.254.3.4/16 dev eth7")
	if _, err := Listen("eth7:8080", time.Now()); err == nil || !strings.Contains(err.Error(), "of the link alone") {
		t.Errorf("%v", err)
	}
	for range 2 {
		l, err := Listen("eth7:8080", time.Now().Add(-linkAfter))
		if err != nil || !strings.HasPrefix(l.Addr().String(), "169.254.") && !strings.HasPrefix(l.Addr().String(), "10.") {
			t.Fatal(l, err)
		}
		l.Close()
		ip(t, "addr replace 10.9.8.7/24 dev eth7")
	}
}
