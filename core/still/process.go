package still

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// Bounds of a run. A picture of 7680x4320 takes 400 MB of addresses.
const (
	mostMemory = 1 << 30 // bytes of address space
	mostCPU    = 10      // seconds of processor time
	mostOutput = 16 << 20
	mostSaid   = 2048 // bytes kept of what it complains of
	nice       = 10   // whatever records goes before
	closing    = time.Second
)

var errOutput = errors.New("it wrote more than a picture takes")

// run has a program read in from its standard input and gives what it wrote to its
// standard output. When it returns neither the program nor anything of its process
// group runs.
func run(ctx context.Context, exe string, args []string, in []byte) ([]byte, error) {
	// The kernel kills the child when the thread that started it ends (PDEATHSIG is
	// about threads): this one must not before the child does.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()

	limited := make(chan struct{})
	out, said := &bounded{most: mostOutput, err: errOutput}, &bounded{most: mostSaid}
	cmd := exec.Command(exe, args...)
	cmd.Env, cmd.Dir, cmd.WaitDelay = []string{}, "/", closing
	cmd.Stdin, cmd.Stdout, cmd.Stderr = &gated{open: limited, r: bytes.NewReader(in)}, out, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("ffmpeg does not start: %w", err)
	}
	pid := cmd.Process.Pid
	g := &processGroup{id: pid}
	stop := context.AfterFunc(ctx, g.kill)
	lerr := limit(pid)
	if lerr != nil {
		g.kill()
	}
	close(limited) // not a byte of a camera before
	awaitExit(pid)
	g.end()
	stop()
	err := cmd.Wait()
	switch {
	case lerr != nil:
		return nil, lerr
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return nil, errors.New("ffmpeg took too long")
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case out.full:
		return nil, fmt.Errorf("ffmpeg: %w", errOutput)
	case err != nil:
		return nil, fmt.Errorf("ffmpeg: %w%s", err, complaint(said.b))
	case len(out.b) == 0:
		return nil, fmt.Errorf("ffmpeg wrote nothing%s", complaint(said.b))
	}
	return out.b, nil
}

// limit bounds a child that has begun and waits for its input.
func limit(pid int) error {
	for _, l := range []struct {
		what int
		most uint64
	}{{unix.RLIMIT_AS, mostMemory}, {unix.RLIMIT_CPU, mostCPU}, {unix.RLIMIT_FSIZE, 0}, {unix.RLIMIT_CORE, 0}} {
		if err := unix.Prlimit(pid, l.what, &unix.Rlimit{Cur: l.most, Max: l.most}, nil); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("ffmpeg cannot be limited: prlimit: %w", err)
		}
	}
	// Neither is needed for safety: it may be refused where a sandbox says so.
	_ = unix.Setpriority(unix.PRIO_PROCESS, pid, nice)
	_ = os.WriteFile("/proc/"+strconv.Itoa(pid)+"/oom_score_adj", []byte("500"), 0)
	return nil
}

// awaitExit waits until the child has ended and leaves it unreaped: its pid, the name
// of its group, is nobody else's as long.
func awaitExit(pid int) {
	for {
		if err := unix.Waitid(unix.P_PID, pid, nil, unix.WEXITED|unix.WNOWAIT, nil); !errors.Is(err, unix.EINTR) {
			return
		}
	}
}

// processGroup kills a process group as long as its leader has not been reaped.
type processGroup struct {
	mu    sync.Mutex
	id    int
	ended bool
}

func (g *processGroup) kill() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.ended {
		_ = unix.Kill(-g.id, unix.SIGKILL)
	}
}

// end kills what the leader has left behind, for the last time.
func (g *processGroup) end() {
	g.kill()
	g.mu.Lock()
	g.ended = true
	g.mu.Unlock()
}

// gated is read from once open is closed.
type gated struct {
	open <-chan struct{}
	r    io.Reader
}

func (g *gated) Read(p []byte) (int, error) {
	<-g.open
	return g.r.Read(p)
}

// bounded keeps the first most bytes. What is beyond is dropped, or with err set ends
// the writing.
type bounded struct {
	b    []byte
	most int
	err  error
	full bool
}

func (w *bounded) Write(p []byte) (int, error) {
	n := min(len(p), w.most-len(w.b))
	w.b = append(w.b, p[:n]...)
	if n < len(p) && w.err != nil {
		w.full = true
		return n, w.err
	}
	return len(p), nil
}

// complaint is what a program said, fit for a line of a message.
func complaint(b []byte) string {
	s := strings.Map(func(r rune) rune {
		if r < ' ' || r == 127 || r == '�' {
			return ' '
		}
		return r
	}, string(b))
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 200 {
		s = strings.ToValidUTF8(s[:200], "") + "…"
	}
	if s == "" {
		return ""
	}
	return ": " + s
}
