package ports

import (
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/process"
)

// TestDeaths: of a core that dies again and again no connection is refused, and
// what came meanwhile is served by the next one; neither side gathers
// descriptors, and one holder is enough.
func TestDeaths(t *testing.T) {
	p := newPlace(t)
	here, err := os.Getwd()
	if err == nil {
		p.opt.RunDir, err = filepath.Rel(here, p.dir) // as in a checkout; the holder stands elsewhere
	}
	if err != nil {
		t.Fatal(err)
	}
	one, two := freePort(t), freePort(t)
	first := 0
	descriptors := map[string][2]int{}
	for round := range 12 {
		c := p.core()
		word := fmt.Sprint("core ", round)
		c.mustServe(one, word)
		c.mustServe(two, word)
		c.Settle()
		if got := dialed(t, one)(); got != word {
			t.Fatalf("round %d: %q", round, got)
		}
		if first == 0 {
			if first = p.pid(); first == 0 {
				t.Fatal("there is no holder")
			}
		}
		if n := p.pid(); n != first {
			t.Fatalf("round %d: the holder was %d and is %d", round, first, n)
		}
		for who, pid := range map[string]int{"core": os.Getpid(), "holder": first} {
			d := descriptors[who]
			if n := descriptorsOf(t, pid); round < 2 {
				d[0] = max(d[0], n)
			} else {
				d[1] = max(d[1], n)
			}
			descriptors[who] = d
		}
		c.die()
		waiting := []func() string{dialed(t, one), dialed(t, two), dialed(t, one)}
		next := p.core()
		next.mustServe(one, "next")
		next.mustServe(two, "next")
		for i, answer := range waiting {
			if got := answer(); got != "next" {
				t.Fatalf("round %d: connection %d, made while no core ran, was answered %q", round, i, got)
			}
		}
		next.die()
	}
	for who, d := range descriptors {
		if d[1] > d[0] {
			t.Errorf("%s had %d descriptors after the first rounds, %d later", who, d[0], d[1])
		}
	}
}

func descriptorsOf(t *testing.T, pid int) int {
	t.Helper()
	d, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	if err != nil {
		t.Fatal(err)
	}
	return len(d)
}

// TestHolderDies: the core notices nothing but that it starts another, which
// has every socket.
func TestHolderDies(t *testing.T) {
	for name, sig := range map[string]unix.Signal{"killed": unix.SIGKILL, "asked": unix.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			p := newPlace(t)
			addr := freePort(t)
			c := p.core()
			c.mustServe(addr, "first")
			for range 3 {
				old := p.signal(sig)
				if got := dialed(t, addr)(); got != "first" {
					t.Fatalf("%q", got)
				}
				p.until("another holder", func() bool { n := p.pid(); return n != 0 && n != old && !alive(old) && p.held(addr) })
			}
			c.die()
			answer := dialed(t, addr)
			p.core().mustServe(addr, "second")
			if got := answer(); got != "second" {
				t.Errorf("%q", got)
			}
		})
	}
}

// held tells whether a process other than this has the port.
func (p *place) held(address string) bool {
	_, port, _ := net.SplitHostPort(address)
	n, _ := strconv.Atoi(port)
	return len(usersOf(n)) > 0
}

// TestBothDie: an ordinary bind.
func TestBothDie(t *testing.T) {
	p := newPlace(t)
	addr := freePort(t)
	c := p.core()
	c.mustServe(addr, "first")
	c.cancel() // or it starts another
	<-c.done
	c.done <- nil
	pid := p.signal(unix.SIGKILL)
	c.die()
	p.core().mustServe(addr, "second")
	if got := dialed(t, addr)(); got != "second" {
		t.Errorf("%q", got)
	}
	if n := p.pid(); n == 0 || n == pid {
		t.Errorf("the holder was %d and is %d", pid, n)
	}
}

// TestHolderHangs: one that does not answer is ended, by the core that it was
// given to and by the next one.
func TestHolderHangs(t *testing.T) {
	p := newPlace(t)
	addr := freePort(t)
	c := p.core()
	c.mustServe(addr, "first")
	pid := p.signal(unix.SIGSTOP)
	p.until("it to stop", func() bool { st, err := process.ReadStat(pid); return err == nil && st.State == 'T' })
	c.die()
	c = p.core()
	c.mustServe(addr, "second")
	if got := dialed(t, addr)(); got != "second" {
		t.Errorf("%q", got)
	}
	if alive(pid) || !strings.Contains(p.said.String(), "does not answer and is replaced") {
		t.Error("the holder that hung was not ended")
	}
	c.die()

	c = p.core()
	c.mustServe(addr, "third")
	pid = p.signal(unix.SIGSTOP)
	p.until("it to stop", func() bool { st, err := process.ReadStat(pid); return err == nil && st.State == 'T' })
	other := freePort(t)
	c.mustServe(other, "other")
	p.until("another holder with both sockets", func() bool { n := p.pid(); return n != 0 && n != pid && p.held(addr) && p.held(other) })
	if alive(pid) {
		t.Error("the holder that hung still has the ports")
	}
}

// TestSettings: addresses change owners and come and go as the settings say.
func TestSettings(t *testing.T) {
	p := newPlace(t)
	one, two, three := freePort(t), freePort(t), freePort(t)
	c := p.core()
	c.mustServe(one, "1")
	c.mustServe(two, "2")
	c.die()
	c = p.core()
	c.mustServe(three, "3")
	c.mustServe(one, "1")
	if refused(two) {
		t.Error("let go before all services had been asked")
	}
	c.Settle()
	if !refused(two) {
		t.Error("an address that is not configured is still held")
	}
	c.die()
	if refused(one) || refused(three) {
		t.Error("a configured address is not held")
	}
	c = p.core()
	_, port, _ := net.SplitHostPort(one)
	c.mustServe("0.0.0.0:"+port, "all") // the same port of all interfaces
	c.mustServe(three, "3")
	c.Settle()
	if got := dialed(t, one)(); got != "all" {
		t.Errorf("%q", got)
	}
}

// TestLeaving: how long ports stay when the core is not killed.
func TestLeaving(t *testing.T) {
	const short = 700 * time.Millisecond
	for _, c := range []struct {
		name   string
		end    func(p *place, c *core)
		gone   bool // at once, not after a while
		linger time.Duration
	}{
		{"for good", func(_ *place, c *core) { c.Leave(0); c.die() }, true, time.Hour},
		{"the folder is removed", func(p *place, c *core) { c.Leave(time.Hour); c.die(); os.RemoveAll(p.dir) }, true, time.Hour},
		{"the socket is removed, after a crash", func(p *place, c *core) { c.die(); os.Remove(filepath.Join(p.dir, socketName)) }, true, time.Hour},
		{"for a restart that does not come", func(_ *place, c *core) { c.Leave(short); c.die() }, false, time.Hour},
		{"dead, and none comes", func(_ *place, c *core) { c.die() }, false, short},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlace(t)
			p.opt.Linger = c.linger
			addr := freePort(t)
			core := p.core()
			core.mustServe(addr, "a")
			pid := p.pid()
			left := time.Now()
			c.end(p, core)
			p.until("the port to be let go", func() bool { return refused(addr) })
			if held := time.Since(left); !c.gone && held < short {
				t.Errorf("let go after %v", held)
			}
			p.until("the holder to be gone", func() bool { return !alive(pid) })
			if _, err := os.Lstat(filepath.Join(p.dir, socketName)); err == nil {
				t.Error("its socket is left")
			}
		})
	}
}

// TestRestart: the times that ran when a core had gone do not run on when the
// next one is there. One that came too late on a slow machine shows nothing, and
// has longer for it the next time.
func TestRestart(t *testing.T) {
	for short := time.Second; !restarts(t, short); short *= 2 {
		if short > 16*time.Second {
			t.Fatalf("no core came within %v", short)
		}
	}
}

// restarts is TestRestart with so long between two cores; false = it took longer.
func restarts(t *testing.T, short time.Duration) bool {
	p, addr, holder, left := between(t, short)
	waiting, err := net.Dial("tcp", addr)
	c := p.core()
	if time.Since(left) >= short {
		if err == nil {
			waiting.Close()
		}
		c.die()
		return false
	}
	if err != nil {
		t.Fatal(err)
	}
	c.mustServe(addr, "2")
	if got := answerOf(t, waiting); got != "2" {
		t.Errorf("%q", got)
	}
	for end := time.Now().Add(short + short/2); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !alive(holder) {
			t.Fatal("the holder has ended though there is a core")
		}
	}
	c.die()
	for end := time.Now().Add(short + short/2); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if !alive(holder) {
			t.Fatal("after a crash the holder has ended as after a stop")
		}
	}
	return true
}

// TestFolderLost: somebody has cleaned up. The core goes on, and the next one
// finds the holder again.
func TestFolderLost(t *testing.T) {
	p := newPlace(t)
	addr := freePort(t)
	c := p.core()
	c.mustServe(addr, "1")
	old := p.pid()
	os.Remove(filepath.Join(p.dir, socketName))
	p.until("another holder", func() bool { n := p.pid(); return n != 0 && n != old && p.held(addr) })
	c.die()
	answer := dialed(t, addr)
	p.core().mustServe(addr, "2")
	if got := answer(); got != "2" {
		t.Errorf("%q", got)
	}
}
