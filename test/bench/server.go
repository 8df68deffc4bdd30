package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
)

// server is a server under test with folders of its own.
type server struct {
	dir, run, conf, streams string
	space                   string
	http, admin             string
	env                     []string
	bin                     string

	cmd  *exec.Cmd
	done chan struct{}
	end  sync.Once
}

// options of a server.
type options struct {
	bin   string // "" = the bench's
	dir   string // data, log and settings
	space string // folder of footage; "" = in dir
	fsync string // "" = the default
	ini   string // further sections
	env   string // NAME=value for core and plugins
}

// newServer writes the settings of a server; start runs it.
func (b *bench) newServer(o options) (*server, error) {
	run, err := os.MkdirTemp("", "bench")
	if err != nil {
		return nil, err
	}
	s := &server{dir: o.dir, run: run, conf: filepath.Join(o.dir, "media-server.ini"), streams: filepath.Join(o.dir, "streams.d"), bin: o.bin, space: o.space}
	if s.bin == "" {
		s.bin = b.bin
	}
	if s.space == "" {
		s.space = filepath.Join(o.dir, "space")
	}
	if o.fsync == "" {
		o.fsync = "500ms"
	}
	web, err := freePort()
	admin, err2 := freePort()
	if err := errors.Join(err, err2, os.MkdirAll(s.streams, 0o755), os.MkdirAll(s.space, 0o755)); err != nil {
		return nil, err
	}
	s.http, s.admin = web, admin
	env := ""
	if o.env != "" {
		s.env = []string{o.env}
		env = "[plugin.rtsp]\nenv = " + o.env + "\n[plugin.local]\nenv = " + o.env + "\n"
	}
	text := fmt.Sprintf("[server]\nname = bench\ndata-dir = %s\nstreams-dir = %s\nplugins-dir = %s\nrun-dir = %s\n"+
		"[http]\nlisten = %s\n[https]\nenable = false\n[admin]\nlisten = %s\n[plugins]\nlinger = 10s\n"+
		"[space.main]\npath = %s\nfsync = %s\n%s%s\n",
		filepath.Join(o.dir, "data"), s.streams, filepath.Join(s.bin, "plugins"), run, web, admin, s.space, o.fsync, env, o.ini)
	return s, os.WriteFile(s.conf, []byte(text), 0o644)
}

func freePort() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// stream writes a stream file.
func (s *server) stream(uid string, lines ...string) error {
	return os.WriteFile(filepath.Join(s.streams, uid+".ini"), []byte("["+uid+"]\nstream-access = public\n"+strings.Join(lines, "\n")+"\n"), 0o644)
}

// start runs the server and waits until it is ready.
func (s *server) start(ctx context.Context) (took time.Duration, err error) {
	log, err := os.OpenFile(filepath.Join(s.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return 0, err
	}
	defer log.Close()
	cmd := exec.Command(filepath.Join(s.bin, "media-server"), "run", "-c", s.conf)
	cmd.Stdout, cmd.Stderr, cmd.Env = log, log, append(os.Environ(), s.env...)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	begin := time.Now()
	if err := cmd.Start(); err != nil {
		return 0, err
	}
	done := make(chan struct{})
	s.cmd, s.done, s.end = cmd, done, sync.Once{}
	go func() { _ = cmd.Wait(); close(done) }()
	started(s)
	return s.ready(ctx, begin)
}

func (s *server) ready(ctx context.Context, begin time.Time) (time.Duration, error) {
	for {
		select {
		case <-s.done:
			return 0, fmt.Errorf("the server ended: %v: %s", s.cmd.ProcessState, s.log())
		case <-ctx.Done():
			return 0, fmt.Errorf("the server did not get ready: %w: %s", ctx.Err(), s.log())
		case <-time.After(2 * time.Millisecond):
		}
		if resp, err := http.Get("http://" + s.admin + "/readyz"); err == nil {
			resp.Body.Close()
			if resp.StatusCode == 200 {
				return time.Since(begin), nil
			}
		}
	}
}

func (s *server) log() string {
	b, _ := os.ReadFile(filepath.Join(s.dir, "log"))
	return string(b[max(0, len(b)-2000):])
}

// stop ends the core as systemd does, then its plugins.
func (s *server) stop() {
	s.end.Do(func() {
		_ = s.cmd.Process.Signal(syscall.SIGTERM)
		select {
		case <-s.done:
		case <-time.After(30 * time.Second):
			_ = s.cmd.Process.Kill()
			<-s.done
		}
		s.endPlugins()
	})
}

// endPlugins ends the processes that a core leaves behind on purpose, and waits
// until they have let go of the space.
func (s *server) endPlugins() {
	for _, pid := range s.plugins() {
		_ = syscall.Kill(pid, syscall.SIGTERM)
	}
	for end := time.Now().Add(10 * time.Second); len(s.plugins()) > 0; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(end) {
			for _, pid := range s.plugins() {
				_ = syscall.Kill(pid, syscall.SIGKILL)
			}
		}
	}
}

// plugins finds the plugin processes by their environment, which names run-dir.
func (s *server) plugins() map[string]int {
	out := map[string]int{}
	list, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range list {
		b, err := os.ReadFile(f)
		if err != nil || !strings.Contains(string(b), "PLUGIN_UNIX_SOCKET_DIR="+s.run+"/") {
			continue
		}
		_, name, _ := strings.Cut(string(b), "MEDIA_SERVER_PLUGIN_NAME=")
		name, _, _ = strings.Cut(name, "\x00")
		pid := 0
		if _, err := fmt.Sscanf(f, "/proc/%d/", &pid); err == nil {
			out[name] = pid
		}
	}
	return out
}

// pids are all processes of the server by name.
func (s *server) pids() map[string]int {
	m := s.plugins()
	m["core"] = s.cmd.Process.Pid
	return m
}

// stream as the API tells it.
type streamState struct {
	UID, State, Reason string
	Recording          bool
	LastFrame          int64 `json:"last_frame_ms"`
	Counters           map[string]uint64
}

// api asks over the control socket.
func (s *server) api(path string, out any) error {
	c := http.Client{Timeout: 30 * time.Second, Transport: &http.Transport{DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, "unix", filepath.Join(s.run, "control.sock"))
		}}}
	resp, err := c.Get("http://server/api/v1/" + path)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != 200 {
		return fmt.Errorf("%s: %s %s %w", path, resp.Status, b, err)
	}
	return json.Unmarshal(b, out)
}

func (s *server) states() ([]streamState, error) {
	var l struct{ Items []streamState }
	err := s.api("streams?limit=10000", &l)
	return l.Items, err
}

// recording waits until n streams record.
func (s *server) recording(ctx context.Context, n int) error {
	for {
		l, err := s.states()
		if err != nil {
			return err
		}
		k := 0
		for _, st := range l {
			if st.Recording && st.Counters["units"] > 0 {
				k++
			}
		}
		if k == n {
			return nil
		}
		if sleep(ctx, 200*time.Millisecond) != nil {
			return fmt.Errorf("%d of %d streams record: %w", k, n, ctx.Err())
		}
	}
}

// discard removes what the server has written.
func (s *server) discard() {
	_ = os.RemoveAll(s.run)
	_ = os.RemoveAll(s.dir)
}
