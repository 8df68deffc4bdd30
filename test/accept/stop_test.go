package accept

import (
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// refuses tells whether nobody listens at a URL.
func refuses(base string) bool {
	_, addr, _ := strings.Cut(base, "://")
	c, err := net.Dial("tcp", addr)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, syscall.ECONNREFUSED)
}

// TestPortsOfAStoppedServer: how the server ends decides how long its ports
// stay, and nobody is left without one that waits for it.
func TestPortsOfAStoppedServer(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Linger: "60s"})
	gone := func(what string) {
		t.Helper()
		s.Until(what+": the port to be let go", func() bool { return refuses(s.HTTP) })
		s.Until(what+": the holder to end", func() bool { return s.Holder() == 0 })
	}
	s.Start()
	s.Signal(os.Interrupt)
	if !refuses(s.HTTP) {
		t.Error("after SIGINT, from a person, the port is still held")
	}
	gone("SIGINT")

	s.Start()
	restart(t, s)
	since := time.Now()
	s.Stop()
	gone("SIGTERM") // linger is a minute, and Until does not wait much longer than that
	if took := time.Since(since); took > 45*time.Second {
		t.Errorf("the port of a stopped server was let go after %v", took)
	}

	s.Start()
	s.Stop()
	if err := os.RemoveAll(s.Run); err != nil { // as systemd does when the service stops
		t.Error(err)
	}
	gone("run-dir removed")
}

// restart stops a server and starts it again, which is to keep its ports. A start
// that has not come to them when the time is over for which they are held shows
// nothing, and is made once more.
func restart(t *testing.T, s *harness.Server) {
	t.Helper()
	const held = 3 * time.Second // from the end of the core on, which comes after told
	for try := 1; ; try++ {
		holder, told := s.Holder(), time.Now()
		s.Stop()
		refused, answered := refuses(s.HTTP), make(chan error, 1)
		go func() { // it comes between the two servers
			resp, err := http.Get(s.HTTP + "/cpanel/")
			if err == nil {
				resp.Body.Close()
			}
			answered <- err
		}()
		s.Start()
		err, now := <-answered, s.Holder()
		if late := time.Since(told); now != holder && late > held && try < 5 {
			t.Logf("a restart took %v", late)
			continue
		}
		if refused {
			t.Error("after SIGTERM, which may be half of a restart, the port is let go at once")
		}
		if err != nil {
			t.Errorf("a connection made during a restart: %v", err)
		}
		if now != holder {
			t.Errorf("the holder was %d and is %d", holder, now)
		}
		return
	}
}

// TestPortsHeldForAnother: a port that is held for a server that does not run is
// told of with the process and the remedies, and each of them helps.
func TestPortsHeldForAnother(t *testing.T) {
	t.Parallel()
	dead, s := harness.New(t, harness.Options{Linger: "10m"}), harness.New(t, harness.Options{})
	dead.Start()
	text, err := os.ReadFile(s.Conf)
	if err != nil {
		t.Fatal(err)
	}
	conf := strings.ReplaceAll(string(text), strings.TrimPrefix(s.HTTP, "http://"), strings.TrimPrefix(dead.HTTP, "http://"))
	if err := os.WriteFile(s.Conf, []byte(conf), 0o644); err != nil {
		t.Fatal(err)
	}
	addr := strings.TrimPrefix(dead.HTTP, "http://")
	fails := func(want string) {
		t.Helper()
		s.Launch()
		s.Until("the second server to end", func() bool { return s.PID() == 0 })
		if log := s.Log(1000); !strings.Contains(log, want) {
			t.Errorf("it said\n%s\nnot %s", log, want)
		}
		s.Until("its holder to end", func() bool { return s.Holder() == 0 })
	}
	fails(fmt.Sprintf("web: cannot listen: listen tcp %s: bind: address already in use: process %d (media-server) uses the port; end it, or change listen in media-server.ini", addr, dead.PID()))
	dead.Kill()
	holder := dead.Holder()
	fails(fmt.Sprintf("web: cannot listen: listen tcp %s: bind: address already in use: process %d holds the port for a server with run-dir %s that does not run at the moment; start that server, or let the port go with: kill %d (it does so by itself after [plugins] linger)", addr, holder, dead.Run, holder))

	dead.Start() // the first remedy
	if n := dead.Holder(); n != holder {
		t.Errorf("the holder was %d and is %d", holder, n)
	}
	dead.Kill()
	dead.SignalHolder(syscall.SIGTERM) // the second
	dead.Until("the holder to end", func() bool { return dead.Holder() == 0 })
	s.Start()
}

// TestPortsBothKilled: with core and holder gone the next server binds anew; one
// whose settings have changed lets go of what is no longer theirs.
func TestPortsBothKilled(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	s.Start()
	for range harness.Pick(20, 3) {
		s.SignalHolder(syscall.SIGKILL)
		s.Kill()
		if n := s.Holder(); n != 0 { // the core has been quick
			_ = syscall.Kill(n, syscall.SIGKILL)
		}
		s.Start()
		if code, _ := s.Get(s.HTTP + "/cpanel/"); code == 0 {
			t.Errorf("status %d", code)
		}
	}
	old, next := s.HTTP, harness.FreePort(t)
	dir := filepath.Join(filepath.Dir(s.Conf), "conf.d")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "http.ini"), []byte("[http]\nlisten = "+next+"\n"), 0o644)); err != nil {
		t.Fatal(err)
	}
	s.Until("the change to be read", func() bool {
		var v struct {
			Pending []any `json:"pending_restart"`
		}
		_, err := s.Call("GET", "server", &v)
		return err == nil && len(v.Pending) > 0
	})
	if refuses(old) || !refuses("http://"+next) {
		t.Error("listen takes effect without a restart")
	}
	s.Kill()
	s.Start()
	if !refuses(old) || refuses("http://"+next) {
		t.Errorf("old address refuses: %v, new one: %v", refuses(old), refuses("http://"+next))
	}
	if n := s.Held(s.Holder()); n != 1 {
		t.Errorf("the holder has %d sockets", n)
	}
}
