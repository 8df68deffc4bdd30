package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"sync"
	"testing"
)

// claims are the sockets by which this process keeps the ports that FreePort has
// found, until it ends.
var claims sync.Map

// FreePort finds an address with a port that nobody uses at the moment, and that
// nobody else who asks here is given, in this process or another one. It is one that
// the kernel gives to nobody: whoever listens at port 0 or connects might otherwise
// have it before it is used, or while a server of the test is being started anew.
func FreePort(t testing.TB) string {
	t.Helper()
	from, to := fixedPorts()
	for range 10 * (to - from) {
		port := from + rand.IntN(to-from)
		if !claim(port) {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue // somebody else's; it stays claimed, as there are enough
		}
		l.Close()
		return l.Addr().String()
	}
	t.Fatalf("no port from %d to %d is free", from, to-1)
	return ""
}

// fixedPorts are the larger part of those that the kernel does not choose from. Where
// it chooses from nearly all there are, they are all.
func fixedPorts() (from, to int) {
	low, high := 32768, 60999
	if b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range"); err == nil {
		_, _ = fmt.Sscan(string(b), &low, &high)
	}
	const first, end, enough = 10000, 1 << 16, 1000 // below are ports with names
	switch below, above := low-first, end-1-high; {
	case below >= max(above, enough):
		return first, low
	case above >= enough:
		return high + 1, end
	}
	return first, end
}

// claim makes a port ours by an abstract Unix socket of its name, which one process
// of this network can have, and which ends with it.
func claim(port int) bool {
	l, err := net.Listen("unix", fmt.Sprintf("@media-server-test-port-%d", port))
	if err == nil {
		claims.Store(port, l)
	}
	return err == nil
}
