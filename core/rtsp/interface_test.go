package rtsp

import (
	"fmt"
	"net"
	"testing"

	"media-server/core/ports"
)

// TestOnInterface: where listen names a network interface, the UDP ports are there, too.
func TestOnInterface(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	name := ""
	for _, i := range all {
		if as, err := i.Addrs(); err == nil && len(as) > 0 && i.Flags&net.FlagLoopback != 0 {
			name = i.Name
		}
	}
	if name == "" {
		t.Skip("there is no loopback interface with an address")
	}
	for port := 20000; port < 40000; port += 2 { // a pair that nobody has
		s := New(Options{Listen: name + ":0", UDP: fmt.Sprintf("%d-%d", port, port+1), Open: ports.Open(t.Context(), ports.Options{}).Listen})
		if err = s.Listen(); err != nil {
			continue
		}
		defer s.Close()
		for _, a := range []net.Addr{s.udp.rtp.LocalAddr(), s.udp.rtcp.LocalAddr()} {
			if u, ok := a.(*net.UDPAddr); !ok || !u.IP.IsLoopback() {
				t.Errorf("packets come from %s", a)
			}
		}
		return
	}
	t.Fatal(err)
}
