package ports

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/fault"
	"media-server/core/process"
)

// TestMain makes this program a holder where a test has started it as one.
func TestMain(m *testing.M) {
	if n := len(os.Args); n >= 3 && os.Args[n-2] == Verb {
		if err := Serve(os.Args[n-1]); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		return
	}
	os.Exit(m.Run())
}

// said keeps what is logged.
type said struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *said) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *said) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

// place is a run-dir, and cores that come and go in it.
type place struct {
	t    *testing.T
	dir  string
	said *said
	opt  Options
}

func newPlace(t *testing.T) *place {
	t.Helper()
	dir, err := os.MkdirTemp("", "p") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	p := &place{t: t, dir: dir, said: &said{}}
	p.opt = Options{RunDir: dir, Command: []string{os.Args[0]}, Linger: 30 * time.Second, Log: slog.New(slog.NewTextHandler(p.said, nil))}
	t.Cleanup(func() {
		if pid := p.pid(); pid != 0 {
			unix.Kill(pid, unix.SIGCONT)
			unix.Kill(pid, unix.SIGKILL)
			p.until("the holder to be gone", func() bool { return !alive(pid) })
		}
		os.RemoveAll(dir)
		if t.Failed() {
			t.Log(p.said)
		}
	})
	return p
}

func (p *place) until(what string, is func() bool) {
	p.t.Helper()
	for end := time.Now().Add(30 * time.Second); !is(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			p.t.Fatalf("waited in vain for %s", what)
		}
	}
}

// pid finds the holder of the folder; 0 = there is none.
func (p *place) pid() int {
	dirs, _ := filepath.Glob("/proc/[0-9]*")
	for _, d := range dirs {
		pid, _ := strconv.Atoi(filepath.Base(d))
		if pid != os.Getpid() && userOf(d, pid).runDir == p.dir && alive(pid) {
			return pid
		}
	}
	return 0
}

// signal sends a signal to the holder, which must be there: kill(2) with 0 would
// end the test.
func (p *place) signal(sig unix.Signal) (pid int) {
	p.t.Helper()
	if pid = p.pid(); pid == 0 {
		p.t.Fatal("there is no holder")
	}
	if err := unix.Kill(pid, sig); err != nil {
		p.t.Fatal(err)
	}
	return pid
}

func alive(pid int) bool {
	st, err := process.ReadStat(pid)
	return err == nil && st.State != 'Z'
}

// core is one life of a core: Ports, its Run, listeners that answer a name.
type core struct {
	*Ports
	p      *place
	cancel context.CancelFunc
	done   chan error
	wg     sync.WaitGroup
	ls     []net.Listener
}

func (p *place) core() *core {
	ctx, cancel := context.WithCancel(p.t.Context())
	c := &core{p: p, Ports: Open(ctx, p.opt), cancel: cancel, done: make(chan error, 1)}
	go func() { c.done <- c.Run(ctx) }()
	p.t.Cleanup(c.die)
	return c
}

// serve listens and answers each connection with a word.
func (c *core) serve(address, word string) error {
	l, err := c.Listen(address)
	if err != nil {
		return err
	}
	c.ls = append(c.ls, l)
	c.wg.Go(func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, word)
			conn.Close()
		}
	})
	return nil
}

func (c *core) mustServe(address, word string) {
	c.p.t.Helper()
	if err := c.serve(address, word); err != nil {
		c.p.t.Fatal(err)
	}
}

// die ends a core as a crash does: without a word to the holder.
func (c *core) die() {
	if c.cancel == nil {
		return
	}
	c.cancel()
	c.cancel = nil
	<-c.done
	for _, l := range c.ls {
		l.Close()
	}
	c.wg.Wait()
	c.Close()
}

func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// dial connects, and reads the answer.
func dialed(t *testing.T, address string) func() string {
	t.Helper()
	c, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	return func() string {
		defer c.Close()
		c.SetDeadline(time.Now().Add(20 * time.Second))
		b, err := io.ReadAll(c)
		if err != nil {
			t.Errorf("read: %v", err)
		}
		return string(b)
	}
}

func refused(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

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
			c.end(p, core)
			if !c.gone && refused(addr) {
				t.Error("let go at once")
			}
			p.until("the port to be let go", func() bool { return refused(addr) })
			p.until("the holder to be gone", func() bool { return !alive(pid) })
			if _, err := os.Lstat(filepath.Join(p.dir, socketName)); err == nil {
				t.Error("its socket is left")
			}
		})
	}
}

// TestRestart: the times that ran when a core had gone do not run on when the
// next one is there.
func TestRestart(t *testing.T) {
	p := newPlace(t)
	p.opt.Linger = 30 * time.Second
	addr := freePort(t)
	c := p.core()
	c.mustServe(addr, "1")
	holder := p.pid()
	const short = time.Second
	c.Leave(short)
	c.die()
	answer := dialed(t, addr)
	c = p.core()
	c.mustServe(addr, "2")
	if got := answer(); got != "2" {
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

// TestTaken: a port that is not to be had is named, and who has it.
func TestTaken(t *testing.T) {
	p, other := newPlace(t), newPlace(t)
	addr := freePort(t)
	c := p.core()
	c.mustServe(addr, "1")
	o := other.core()
	err := o.serve(addr, "2")
	if err == nil || !strings.Contains(err.Error(), addr) || !strings.Contains(err.Error(), "address already in use") {
		t.Errorf("%v", err)
	}
	pid := p.pid()
	c.die()
	err = o.serve(addr, "2")
	want := fmt.Sprintf("listen tcp %s: bind: address already in use: process %d holds the port for a server with run-dir %s that does not run at the moment; start that server, or let the port go with: kill %d (it does so by itself after [plugins] linger)", addr, pid, p.dir, pid)
	if err == nil || err.Error() != want || !errors.Is(err, unix.EADDRINUSE) {
		t.Errorf("%v, want\n%s", err, want)
	}
	p.signal(unix.SIGTERM) // as told
	o.mustServe(addr, "2")
}

func TestAccuse(t *testing.T) {
	bind := errors.New("listen tcp :80: bind: address already in use")
	for _, c := range []struct {
		users []user
		want  string
	}{
		{nil, "listen tcp :80: bind: address already in use"},
		{[]user{{pid: 7, name: "nginx"}}, "listen tcp :80: bind: address already in use: process 7 (nginx) uses the port; end it, or change listen in media-server.ini"},
		{[]user{{pid: 6, runDir: "/run/x"}, {pid: 7, name: "media-server"}}, "listen tcp :80: bind: address already in use: process 7 (media-server) uses the port; end it, or change listen in media-server.ini"},
	} {
		if got := fault.Wrap(accuse(bind, c.users), "", "", ""); got.Error() != c.want {
			t.Errorf("%v, want %s", got, c.want)
		}
	}
}

// TestWithout: no holder is wanted, or none can be started.
func TestWithout(t *testing.T) {
	p := newPlace(t)
	for _, command := range [][]string{nil, {"/nonexistent"}, {"/bin/false"}} {
		p.opt.Command = command
		addr := freePort(t)
		c := p.core()
		c.mustServe(addr, "a")
		if got := dialed(t, addr)(); got != "a" {
			t.Errorf("%q", got)
		}
		c.Leave(time.Hour)
		c.die()
		if !refused(addr) {
			t.Error("somebody listens")
		}
	}
	if n := strings.Count(p.said.String(), "listeners cannot be held"); n < 2 {
		t.Errorf("told of %d times", n)
	}
}

// TestAnyPort: nobody could find a socket whose port the kernel chose, and two
// of them are not one.
func TestAnyPort(t *testing.T) {
	p := newPlace(t)
	c := p.core()
	c.mustServe("127.0.0.1:0", "a")
	c.mustServe("127.0.0.1:0", "b")
	a, b := c.ls[0].Addr().String(), c.ls[1].Addr().String()
	if dialed(t, a)() != "a" || dialed(t, b)() != "b" {
		t.Error("mixed up")
	}
	c.die()
	if !refused(a) || !refused(b) {
		t.Error("held")
	}
}

// TestForms: every way of writing an address is found again.
func TestForms(t *testing.T) {
	for _, host := range []string{"", "0.0.0.0", "127.0.0.1", "localhost"} {
		t.Run(host, func(t *testing.T) {
			p := newPlace(t)
			_, port, _ := net.SplitHostPort(freePort(t))
			addr := net.JoinHostPort(host, port)
			c := p.core()
			c.mustServe(addr, "1")
			c.die()
			answer := dialed(t, net.JoinHostPort(cmp.Or(host, "localhost"), port))
			c = p.core()
			c.mustServe(addr, "2")
			c.Settle()
			if got := answer(); got != "2" {
				t.Errorf("%q", got)
			}
			if n := strings.Count(p.said.String(), "not used"); n > 0 {
				t.Error("bound anew")
			}
		})
	}
}
