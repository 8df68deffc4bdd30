package webrtc

import (
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pion/transport/v5"

	"media-server/plugins/sim/clip"
)

// moving is a network with one interface, whose address changes.
type moving struct {
	anew
	address atomic.Value
}

func (m *moving) Interfaces() ([]*transport.Interface, error) {
	i := transport.NewInterface(net.Interface{Index: 7, Name: "eth7", Flags: net.FlagUp})
	i.AddAddress(&net.IPNet{IP: net.ParseIP(m.address.Load().(string)).To4(), Mask: net.CIDRMask(24, 32)})
	return []*transport.Interface{i}, nil
}

// TestNewAddress: an address that comes later is told to who asks then.
func TestNewAddress(t *testing.T) {
	s := unopened(t, &shot{clips: []string{clip.ALaw}}, "0.0.0.0:0")
	m := &moving{}
	m.address.Store("192.0.2.1")
	s.network = m
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	for _, address := range []string{"192.0.2.1", "198.51.100.1"} {
		m.address.Store(address)
		a, err := s.Open(context.Background(), Ask{UID: "gate"}, []byte(sdpOf(audioAll)))
		if err != nil {
			t.Fatal(err)
		}
		for l := range strings.Lines(a.SDP) {
			if f := strings.Fields(l); len(f) > 5 && strings.HasPrefix(l, "a=candidate:") && strings.EqualFold(f[2], "udp") && f[4] != address {
				t.Errorf("%s is told, the address is %s", f[4], address)
			}
		}
		if !strings.Contains(a.SDP, " "+address+" ") {
			t.Errorf("%s is not told\n%s", address, a.SDP)
		}
	}
}

// TestAnew: what a network lists is looked at each time.
func TestAnew(t *testing.T) {
	n := &anew{}
	a, err := n.Interfaces()
	if err != nil || len(a) == 0 {
		t.Fatalf("%d interfaces: %v", len(a), err)
	}
	b, err := n.Interfaces()
	if err != nil || len(b) == 0 || a[0] == b[0] {
		t.Error("the list of before", err)
	}
}
