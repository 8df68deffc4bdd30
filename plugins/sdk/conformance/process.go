package conformance

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"google.golang.org/grpc"

	"media-server/plugins/sdk"
)

const startWait = 15 * time.Second

// process is a plugin that was started as the host does it: a session of its
// own, both outputs in one file, the socket folder given.
type process struct {
	cmd    *exec.Cmd
	log    string
	socket string
	ended  chan struct{}
	err    error // of Wait; after ended
	conn   *grpc.ClientConn
}

func launch(o *Options, dir, cookie string) (*process, error) {
	command := o.Command
	p := &process{log: filepath.Join(dir, fmt.Sprintf("log%d", time.Now().UnixNano())), ended: make(chan struct{})}
	out, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p.cmd = exec.Command(command[0], command[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	p.cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "PYTHONDONTWRITEBYTECODE=1",
		sdk.SocketDirEnv + "=" + dir, sdk.NameEnv + "=conformance"}
	if cookie != "" {
		p.cmd.Env = append(p.cmd.Env, sdk.CookieKey+"="+cookie)
	}
	p.cmd.Dir = o.Dir
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start: %w", err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.ended)
	}()
	return p, nil
}

// start launches the plugin and reads its handshake line.
func start(ctx context.Context, o *Options, dir string) (*process, error) {
	p, err := launch(o, dir, sdk.CookieValue)
	if err != nil {
		return nil, err
	}
	line, err := p.line(ctx)
	if err == nil {
		err = p.parse(line)
	}
	if err == nil {
		p.conn, err = sdk.Dial(p.socket, 0)
	}
	if err != nil {
		p.kill()
		return nil, err
	}
	return p, nil
}

// line waits for the handshake line; log lines may come before it.
func (p *process) line(ctx context.Context) (string, error) {
	deadline := time.Now().Add(startWait)
	for {
		b, err := os.ReadFile(p.log)
		if err != nil {
			return "", err
		}
		for l := range bytes.Lines(b) {
			if bytes.HasPrefix(l, []byte("1|")) && bytes.HasSuffix(l, []byte("\n")) {
				return strings.TrimSpace(string(l)), nil
			}
		}
		select {
		case <-p.ended:
			return "", fmt.Errorf("it ended before the handshake: %w; it said: %s", p.how(), tail(b))
		case <-ctx.Done():
			return "", ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
		if time.Now().After(deadline) {
			return "", fmt.Errorf("no handshake line within %v; it said: %s", startWait, tail(b))
		}
	}
}

func tail(b []byte) string {
	if len(b) > 500 {
		b = b[len(b)-500:]
	}
	return strings.TrimSpace(string(b))
}

func (p *process) parse(line string) error {
	f := strings.Split(line, "|")
	if len(f) < 5 || f[0] != "1" || f[1] != "1" || f[2] != "unix" || f[4] != "grpc" {
		return fmt.Errorf("the line is %q, want 1|1|unix|/path|grpc", line)
	}
	p.socket = f[3]
	return nil
}

// exited waits for the end of the process.
func (p *process) exited(d time.Duration) error {
	select {
	case <-p.ended:
		return nil
	case <-time.After(d):
		return errors.New("it still runs after " + d.String())
	}
}

func (p *process) alive() error {
	select {
	case <-p.ended:
		b, _ := os.ReadFile(p.log)
		return fmt.Errorf("it has ended: %w; it said: %s", p.how(), tail(b))
	default:
		return nil
	}
}

// how it ended, never nil.
func (p *process) how() error {
	if p.err == nil {
		return errors.New("exit status 0")
	}
	return p.err
}

func (p *process) kill() {
	if p.conn != nil {
		_ = p.conn.Close()
	}
	_ = p.cmd.Process.Kill()
	<-p.ended
}
