package webrtc

import (
	"context"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pion/webrtc/v4"
	"golang.org/x/sys/unix"

	"media-server/core/fault"
	"media-server/plugins/sim/clip"
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

// TestListenPatiently: a port that is in use is asked for again for a while, and what
// else is wrong is told at once.
func TestListenPatiently(t *testing.T) {
	for name, c := range map[string]struct {
		err   error
		fails int
		took  time.Duration
		ok    bool
	}{
		"free":               {nil, 0, 0, true},
		"of a killed server": {unix.EADDRINUSE, 10, 200 * time.Millisecond, true},
		"of another":         {unix.EADDRINUSE, 1000, busyFor + 20*time.Millisecond, false},
		"not allowed":        {unix.EACCES, 1, 0, false},
	} {
		synctest.Test(t, func(t *testing.T) {
			begin, n := time.Now(), 0
			_, _, err := patiently(func() (net.PacketConn, net.Listener, error) {
				if n++; n <= c.fails {
					return nil, nil, &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", c.err)}
				}
				return nil, nil, nil
			})
			if d := time.Since(begin); (err == nil) != c.ok || d != c.took {
				t.Errorf("%s: %v after %v", name, err, d)
			}
		})
	}
}

// TestListenLater: a port that is another's at first is served when it is free, and
// then there is no problem any more.
func TestListenLater(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	src := &shot{clips: []string{clip.ALaw}}
	s := unopened(t, src, taken.Addr().String())
	s.again = 10 * time.Millisecond
	if s.Listen() == nil || s.Err() == nil {
		t.Fatal("it listens on another's port")
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	wg.Go(func() { _ = s.Run(ctx) })
	time.Sleep(10 * s.again)
	if s.Err() == nil || s.Addr().IsValid() {
		t.Fatal("it listens on another's port")
	}
	taken.Close()
	until(t, "the port", func() bool { return s.Err() == nil })
	p := newPlayer(t, webrtc.RTPCodecTypeAudio).play(s)
	p.until("sound", func() bool { return p.count("audio") > 5 })
}

// TestListenNever: a server ends whose port is never free, and one that was closed
// takes no port.
func TestListenNever(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	s := unopened(t, &shot{}, taken.Addr().String())
	s.again = time.Millisecond
	_ = s.Listen()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = s.Run(ctx) })
	time.Sleep(10 * s.again)
	cancel()
	wg.Wait()
	taken.Close()
	if s.Listen() == nil || s.Addr().IsValid() {
		t.Error("it listens though it was closed")
	}
	again, err := net.Listen("tcp", taken.Addr().String())
	if err != nil {
		t.Fatal("the port is not left: ", err)
	}
	again.Close()
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
