package ports

import (
	"net"
	"path/filepath"
	"testing"
	"time"
)

// TestStarting: the next core is waited for once it has said that it comes, no
// longer than it lives, and no longer than it has said.
func TestStarting(t *testing.T) {
	for _, c := range []struct {
		name string
		most time.Duration
		end  bool // the start fails
		come bool
	}{
		{"it takes long", time.Hour, false, true},
		{"it fails", time.Hour, true, false},
		{"it hangs", 3 * time.Second, false, false},
		{"it asks for less than there is", 0, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			for short := time.Second; !starts(t, short, c.most, c.end, c.come); short *= 2 {
				if short > 16*time.Second {
					t.Fatalf("the holder was not told within %v", short)
				}
			}
		})
	}
}

// starts is TestStarting with so long between two cores; false = the second one came
// too late to show anything.
func starts(t *testing.T, short, most time.Duration, fails, comes bool) bool {
	p, addr, holder, left := between(t, short)
	told := time.Now()
	end := Starting(t.Context(), p.dir, most)
	defer end()
	if time.Since(left) >= short {
		return false
	}
	if fails {
		end()
	}
	if !comes {
		p.until("the port to be let go", func() bool { return refused(addr) })
		if held := time.Since(left); held < short {
			t.Errorf("let go after %v", held)
		}
		if held := time.Since(told); !fails && held < most {
			t.Errorf("let go %v after the next core had said that it comes", held)
		}
		return true
	}
	for end := time.Now().Add(short + short/2); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !alive(holder) {
			t.Fatal("the holder has not waited for the core that starts")
		}
	}
	answer := dialed(t, addr)
	c := p.core()
	end()
	c.mustServe(addr, "2")
	if got := answer(); got != "2" || p.pid() != holder {
		t.Errorf("%q, holder %d, was %d", got, p.pid(), holder)
	}
	return true
}

// TestStartingRefused: a holder from before this message refuses it, and where there is
// none nobody is told.
func TestStartingRefused(t *testing.T) {
	p := newPlace(t)
	Starting(t.Context(), p.dir, time.Hour)()
	socket, err := net.ListenUnix("unixpacket", &net.UnixAddr{Name: filepath.Join(p.dir, socketName), Net: "unixpacket"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	heard := make(chan string, 1)
	go func() {
		c, err := socket.AcceptUnix()
		if err != nil {
			heard <- err.Error()
			return
		}
		defer c.Close()
		m, _ := receive(c)
		_ = transmit(c, time.Second, nil, verbRefused, "take-comes-first")
		if _, err := receive(c); err == nil {
			t.Error("it is asked for more")
		}
		heard <- m.verb
	}()
	Starting(t.Context(), p.dir, time.Hour)()
	if got := <-heard; got != verbStart {
		t.Errorf("%q", got)
	}
}
