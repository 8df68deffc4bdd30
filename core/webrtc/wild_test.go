package webrtc

import (
	"context"
	"net/netip"
	"strings"
	"testing"

	"media-server/plugins/sim/clip"
)

// TestEveryAddress: a port of all addresses is told by each of them, loopback only
// to players on this machine.
func TestEveryAddress(t *testing.T) {
	c := DefaultConfig()
	c.Listen, c.Addresses = ":0", []string{"203.0.113.7"}
	s, err := New(Options{Config: c, Source: &shot{clips: []string{clip.ALaw}}, Gate: &openGate{}})
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	for _, from := range []string{"127.0.0.1", "192.0.2.7"} {
		a, err := s.Open(context.Background(), Ask{UID: "gate", Address: netip.MustParseAddr(from)}, []byte(sdpOf(audioAll)))
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(a.SDP, "127.0.0.1 ") != (from == "127.0.0.1") || !strings.Contains(a.SDP, " 203.0.113.7 ") || strings.Contains(a.SDP, "0.0.0.0 typ") {
			t.Errorf("to %s:\n%s", from, a.SDP)
		}
	}
}
