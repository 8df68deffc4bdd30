package webrtc

import (
	"log/slog"
	"net"
	"strings"
	"testing"

	"media-server/core/fault"
)

// unopened is a server for an address that does not listen yet.
func unopened(t *testing.T, src Source, listen string) *Server {
	t.Helper()
	c := DefaultConfig()
	c.Listen = listen
	s, err := New(Options{Config: c, Source: src, Gate: &openGate{}, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	return s
}

// TestListenInterface: the name of an interface stands for its address.
func TestListenInterface(t *testing.T) {
	all, err := net.Interfaces()
	if err != nil {
		t.Fatal(err)
	}
	for _, i := range all {
		if i.Flags&net.FlagLoopback == 0 || i.Flags&net.FlagUp == 0 {
			continue
		}
		s := unopened(t, &shot{}, i.Name+":0")
		if err := s.Listen(); err != nil {
			t.Fatal(err)
		}
		if a := s.Addr(); !a.Addr().Unmap().IsLoopback() || a.Port() == 0 || s.tcp.Addr().String() != a.String() {
			t.Errorf("%v, TCP at %v", a, s.tcp.Addr())
		}
		return
	}
	t.Skip("this machine has no loopback interface")
}

// TestListenNowhere: what is no interface is told with a hint, which is none of a
// player's business.
func TestListenNowhere(t *testing.T) {
	s := unopened(t, &shot{}, "nowhere.invalid:8189")
	err := s.Listen()
	if err == nil || s.Err() == nil {
		t.Fatal("it listens")
	}
	p := fault.Of(err)[0]
	if !strings.Contains(p.What, "no network interface") || p.Hint == "" {
		t.Errorf("%q, %q", p.What, p.Hint)
	}
	_, refused := s.Open(t.Context(), Ask{UID: "gate"}, []byte(sdpOf(audioAll)))
	if r := refusal(t, refused); r.Status != 503 || !strings.Contains(r.Message, "no network interface") || strings.Contains(r.Message, p.Hint) {
		t.Errorf("%+v", r)
	}
}
