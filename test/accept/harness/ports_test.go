package harness

import (
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestFreePort: ports are none that the kernel gives away, and what one process has
// got no other one gets.
func TestFreePort(t *testing.T) {
	if of := os.Getenv("HARNESS_CLAIM"); of != "" { // the other process
		if port, _ := strconv.Atoi(of); claim(port) {
			t.Errorf("port %d is given twice", port)
		}
		return
	}
	b, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		t.Skip(err)
	}
	f := strings.Fields(string(b))
	low, _ := strconv.Atoi(f[0])
	high, _ := strconv.Atoi(f[1])
	if from, to := fixedPorts(); from <= high && low < to {
		t.Skipf("the kernel chooses from %d to %d: there are no others", low, high)
	}
	had := map[string]bool{}
	for range 50 {
		addr := FreePort(t)
		_, p, _ := net.SplitHostPort(addr)
		if port, _ := strconv.Atoi(p); port >= low && port <= high || had[addr] {
			t.Errorf("%s, of %d to %d, or had before", addr, low, high)
		}
		had[addr] = true
		if len(had) > 1 {
			continue
		}
		cmd := exec.Command(os.Args[0], "-test.run", "^TestFreePort$")
		cmd.Env = append(os.Environ(), "HARNESS_CLAIM="+p)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("another process: %v\n%s", err, out)
		}
	}
}
