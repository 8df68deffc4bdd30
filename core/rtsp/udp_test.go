package rtsp

import (
	"fmt"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// moving is a listener that gets an address, and another, in time.
type moving struct {
	net.Listener
	at atomic.Pointer[net.Addr]
}

func (m *moving) Addr() net.Addr { return *m.at.Load() }

func (m *moving) move(a net.Addr) { m.at.Store(&a) }

// nowhere is no *net.TCPAddr.
type nowhere struct{ net.Addr }

// freePair is two ports that nobody has.
func freePair(t *testing.T) int {
	t.Helper()
	for port := 20000; port < 40000; port += 2 {
		s := New(Options{Listen: "127.0.0.1:0", UDP: fmt.Sprintf("%d-%d", port, port+1)})
		if err := s.Listen(); err == nil {
			s.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// TestUDPFollows: the UDP ports are where the listener is, once it is there.
func TestUDPFollows(t *testing.T) {
	f := newFilm()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m := &moving{Listener: l}
	m.move(nowhere{l.Addr()})
	port := freePair(t)
	address := start(t, f, &gate{}, func(o *Options) {
		o.UDP = fmt.Sprintf("%d-%d", port, port+1)
		o.Open = func(string) (net.Listener, error) { return m, nil }
	})
	const path = "/dvr/film?from=2026-03-01T11:00:00Z&to=2026-03-01T11:00:01Z"
	setup := func() (status int, c *client) {
		c = dial(t, address, path)
		status, h, _ := c.do("SETUP", "/trackID=1", "Transport: RTP/AVP;unicast;client_port=40000-40001")
		if status == 200 && !strings.Contains(h["Transport"], fmt.Sprintf("server_port=%d-%d", port, port+1)) {
			t.Errorf("%v", h)
		}
		return status, c
	}
	if status, c := setup(); status != 461 {
		t.Errorf("without an address: %d", status)
	} else {
		c.must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1")
	}
	m.move(l.Addr())
	status, old := setup()
	if status != 200 || taken("127.0.0.1", port) == nil {
		t.Errorf("with one: %d", status)
	}
	m.move(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 1})
	dial(t, address, path).must("SETUP", "/trackID=1", "Transport: RTP/AVP/TCP;interleaved=0-1")
	if taken("127.0.0.1", port) == nil {
		t.Error("somebody who wants TCP has ended the sessions of others")
	}
	if status, _ := setup(); status != 200 || taken("127.0.0.2", port) == nil || taken("127.0.0.1", port) != nil {
		t.Errorf("with another: %d", status)
	}
	_ = old.nc.SetReadDeadline(time.Now().Add(10 * time.Second))
	if _, err := old.br.ReadByte(); err != io.EOF {
		t.Errorf("a session whose ports are closed goes on: %v", err)
	}
}

// taken tries to have a port.
func taken(host string, port int) error {
	u, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.ParseIP(host), Port: port})
	if err == nil {
		u.Close()
	}
	return err
}

// TestUDPTaken: ports that another program has end a start; if the address came later,
// they are told, and players go by TCP.
func TestUDPTaken(t *testing.T) {
	port := freePair(t)
	other, err := net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: port + 1})
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	udp := fmt.Sprintf("%d-%d", port, port+1)
	s := New(Options{Listen: "127.0.0.1:0", UDP: udp})
	if err := s.Listen(); err == nil || !strings.Contains(err.Error(), "udp-ports") {
		s.Close()
		t.Errorf("%v", err)
	}
	m := &moving{}
	s = New(Options{Listen: "127.0.0.1:0", UDP: udp, Open: func(a string) (l net.Listener, err error) {
		m.Listener, err = net.Listen("tcp", a)
		m.move(nowhere{})
		return m, err
	}})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	if s.packets() != nil || s.UDPErr() != nil {
		t.Errorf("before there is an address: %v", s.UDPErr())
	}
	m.move(m.Listener.Addr())
	if s.packets() != nil || s.UDPErr() == nil {
		t.Error("nothing is told")
	}
	other.Close()
	if s.packets() == nil || s.UDPErr() != nil {
		t.Errorf("it is free now: %v", s.UDPErr())
	}
	if other, err = net.ListenUDP("udp", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 2), Port: port + 1}); err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	m.move(&net.TCPAddr{IP: net.IPv4(127, 0, 0, 2), Port: 1})
	if s.packets() != nil || s.UDPErr() == nil {
		t.Error("the ports of an address that has gone are given")
	}
}
