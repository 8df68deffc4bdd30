package ports

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

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

// still is a core that looks at addresses when it is told to: those of eth, or of this machine.
func (p *place) still(eth *card) *core {
	ctx, cancel := context.WithCancel(p.t.Context())
	c := &core{p: p, Ports: Open(ctx, p.opt), cancel: cancel, done: make(chan error, 1)}
	if c.look = addressesOf; eth != nil {
		c.look = eth.look
	}
	go func() { c.done <- c.watch(ctx) }()
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
	return func() string { return answerOf(t, c) }
}

// answerOf reads what a core answers.
func answerOf(t *testing.T, c net.Conn) string {
	t.Helper()
	defer c.Close()
	c.SetDeadline(time.Now().Add(20 * time.Second))
	b, err := io.ReadAll(c)
	if err != nil {
		t.Errorf("read: %v", err)
	}
	return string(b)
}

func refused(address string) bool {
	c, err := net.Dial("tcp", address)
	if err == nil {
		c.Close()
	}
	return errors.Is(err, unix.ECONNREFUSED)
}

// between is a place whose core has left its one port for so long, and died.
func between(t *testing.T, short time.Duration) (p *place, addr string, holder int, left time.Time) {
	t.Helper()
	p = newPlace(t)
	p.opt.Linger = time.Hour
	addr = freePort(t)
	c := p.core()
	c.mustServe(addr, "1")
	holder, left = p.pid(), time.Now()
	c.Leave(short)
	c.die()
	return p, addr, holder, left
}
