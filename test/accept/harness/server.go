package harness

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// Patience bounds every wait for a fact. It is long on purpose: what is judged
// is what was recorded, never how fast this machine is.
const Patience = 90 * time.Second

// Options of a server; the zero value is a plain one.
type Options struct {
	Data    string   // data-dir; "" = in the test's folder
	Ini     string   // further sections of media-server.ini
	HTTP    string   // further lines of its [http]
	Linger  string   // [plugins] linger; "" = 20s
	Restart string   // [plugins] restart-max; "" = 30s
	Buffer  string   // [plugins] buffer; "" = 20s
	Plugins []string // folders of plugins beside those built
	Core    string   // the server's program; "" = the one built
}

// Server is one server with its folders.
type Server struct {
	T       testing.TB
	Dir     string // the test's folder: sent-ledgers, log
	Data    string
	Streams string
	Run     string // run-dir; short, for socket paths
	Conf    string
	HTTP    string // http://127.0.0.1:PORT
	Admin   string

	core string
	cmd  *exec.Cmd
	done chan struct{} // closed when cmd has ended
	log  string
}

// New makes the folders and settings of a server; Start runs it. Everything,
// plugin processes too, ends with the test.
func New(t testing.TB, o Options) *Server {
	t.Helper()
	dir := t.TempDir()
	run, err := os.MkdirTemp("", "ms")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{T: t, Dir: dir, Data: o.Data, Streams: filepath.Join(dir, "streams.d"), Run: run,
		Conf: filepath.Join(dir, "media-server.ini"), log: filepath.Join(dir, "server.log")}
	if s.core = o.Core; s.core == "" {
		s.core = filepath.Join(Bin, "media-server")
	}
	if s.Data == "" {
		s.Data = filepath.Join(dir, "data")
	}
	if o.Linger == "" {
		o.Linger = "20s"
	}
	if o.Restart == "" {
		o.Restart = "30s"
	}
	if o.Buffer == "" {
		o.Buffer = "20s"
	}
	http, admin := FreePort(t), FreePort(t)
	s.HTTP, s.Admin = "http://"+http, "http://"+admin
	text := fmt.Sprintf("[server]\nname = accept\ndata-dir = %s\nstreams-dir = %s\nplugins-dir = %s\nrun-dir = %s\n"+
		"[http]\nlisten = %s\n%s\n[https]\nenable = false\n[admin]\nlisten = %s\n[webrtc]\nlisten = %s\n[plugins]\nlinger = %s\nrestart-max = %s\nbuffer = %s\n%s\n",
		s.Data, s.Streams, strings.Join(append([]string{filepath.Join(Bin, "plugins")}, o.Plugins...), ", "), run, http, o.HTTP, admin, FreePort(t), o.Linger, o.Restart, o.Buffer, o.Ini)
	if err := errors.Join(os.MkdirAll(s.Streams, 0o755), os.WriteFile(s.Conf, []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
	watch(t) // before cleanup: what that finds counts
	t.Cleanup(s.cleanup)
	return s
}

// Start runs the server and waits until it is ready.
func (s *Server) Start() {
	s.T.Helper()
	s.Launch()
	s.Ready()
}

// Launch runs the server without waiting for it.
func (s *Server) Launch() {
	s.T.Helper()
	log, err := os.OpenFile(s.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		s.T.Fatal(err)
	}
	defer log.Close()
	cmd := exec.Command(s.core, "run", "-c", s.Conf)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		s.T.Fatal(err)
	}
	done := make(chan struct{})
	s.cmd, s.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }()
}

// Ready waits until the server says that it is ready.
func (s *Server) Ready() {
	s.T.Helper()
	s.Until("the server to be ready", func() bool {
		select {
		case <-s.done:
			s.T.Fatalf("the server ended: %v\n%s", s.cmd.ProcessState, s.Log(4000))
		default:
		}
		status, _ := s.Get(s.Admin + "/readyz")
		return status == 200
	})
}

// PID is the core's, 0 when it does not run.
func (s *Server) PID() int {
	if s.cmd == nil {
		return 0
	}
	select {
	case <-s.done:
		return 0
	default:
		return s.cmd.Process.Pid
	}
}

// Kill ends the core as a crash does.
func (s *Server) Kill() {
	if s.PID() != 0 {
		_ = s.cmd.Process.Kill()
		<-s.done
	}
}

// Stop asks the core to end, as systemd does; plugins are left.
func (s *Server) Stop() { s.T.Helper(); s.Signal(syscall.SIGTERM) }

// Signal asks the core to end by a signal, and waits until it has.
func (s *Server) Signal(sig os.Signal) {
	s.T.Helper()
	if s.PID() == 0 {
		return
	}
	_ = s.cmd.Process.Signal(sig)
	select {
	case <-s.done:
	case <-time.After(Patience):
		s.Kill()
		s.T.Errorf("the server did not end within %v of %v", Patience, sig)
	}
}

// Until polls for a fact.
func (s *Server) Until(what string, is func() bool) {
	s.T.Helper()
	for end := time.Now().Add(Patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(end) {
			s.T.Fatalf("waited %v in vain for %s\n%s", Patience, what, s.Log(4000))
		}
	}
}

// Log is the end of what the server has said, without goroutine dumps cut.
func (s *Server) Log(n int) string {
	b, _ := os.ReadFile(s.log)
	if i := strings.LastIndex(string(b), "panic:"); i >= 0 {
		return string(b[i:min(len(b), i+n)])
	}
	return string(b[max(0, len(b)-n):])
}

func (s *Server) cleanup() {
	if s.T.Failed() {
		s.T.Logf("the server's log:\n%s", s.Log(6000))
	}
	if strings.Contains(s.Log(1<<20), "panic:") {
		s.T.Errorf("the server panicked:\n%s", s.Log(3000))
	}
	s.Kill()
	for _, p := range s.Processes() {
		if err := syscall.Kill(p.PID, syscall.SIGCONT); err == nil {
			_ = syscall.Kill(p.PID, syscall.SIGKILL)
		}
	}
	if pid := s.Holder(); pid != 0 {
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	ctx, stop := context.WithTimeout(context.Background(), 20*time.Second)
	defer stop()
	for len(s.Processes()) > 0 || s.Holder() != 0 {
		if ctx.Err() != nil {
			s.T.Errorf("processes are left: %v, %d", s.Processes(), s.Holder())
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if keep := os.Getenv("MEDIA_SERVER_ACCEPT_KEEP"); keep != "" && s.T.Failed() {
		to := filepath.Join(keep, strings.ReplaceAll(s.T.Name(), "/", "-"))
		s.T.Logf("kept in %s: %v", to, errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(s.Dir))))
	}
	if err := os.RemoveAll(s.Run); err != nil {
		s.T.Error(err)
	}
}

// AddPlugins adds a folder of plugins before the start.
func (s *Server) AddPlugins(dir string) error {
	b, err := os.ReadFile(s.Conf)
	if err != nil {
		return err
	}
	return os.WriteFile(s.Conf, []byte(strings.Replace(string(b), "plugins-dir = ", "plugins-dir = "+dir+", ", 1)), 0o644)
}
