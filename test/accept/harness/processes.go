package harness

import (
	"bytes"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
)

// Process is a plugin process of a server.
type Process struct {
	PID  int
	Name string // of the plugin
}

// Processes finds the plugin processes of this server, detached or not, by
// their environment, which names the run-dir. Zombies do not count.
func (s *Server) Processes() []Process {
	var out []Process
	dirs, _ := filepath.Glob("/proc/[0-9]*/environ")
	for _, f := range dirs {
		b, err := os.ReadFile(f)
		if err != nil || len(b) == 0 {
			continue
		}
		p, ours := Process{}, false
		for kv := range bytes.SplitSeq(b, []byte{0}) {
			k, v, _ := strings.Cut(string(kv), "=")
			switch k {
			case "MEDIA_SERVER_PLUGIN_NAME":
				p.Name = v
			case "PLUGIN_UNIX_SOCKET_DIR":
				ours = strings.HasPrefix(v, s.Run+"/")
			}
		}
		if p.PID, _ = strconv.Atoi(filepath.Base(filepath.Dir(f))); ours && p.PID > 0 {
			out = append(out, p)
		}
	}
	return out
}

// Holder is the process that keeps the core's listeners open; 0 = none.
func (s *Server) Holder() int {
	files, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	for _, f := range files {
		b, err := os.ReadFile(f)
		if err != nil || !bytes.HasSuffix(b, []byte("\x00hold-ports\x00"+s.Run+"\x00")) {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(f))); err == nil {
			return pid
		}
	}
	return 0
}

// SignalHolder sends a signal to the holder, which must be there: kill(2) with 0
// would end the test.
func (s *Server) SignalHolder(sig syscall.Signal) (pid int) {
	s.T.Helper()
	if pid = s.Holder(); pid == 0 {
		s.T.Fatal("there is no holder")
	}
	_ = syscall.Kill(pid, sig)
	return pid
}

// KillHolder ends the holder as a crash does, and waits until there is another
// that has sockets TCP sockets.
func (s *Server) KillHolder(sockets int) {
	s.T.Helper()
	old := s.SignalHolder(syscall.SIGKILL)
	s.Until("another holder", func() bool { n := s.Holder(); return n != 0 && n != old && s.Held(n) == sockets })
}

// Held is how many listening TCP sockets a process has.
func (s *Server) Held(pid int) (n int) {
	listening := map[string]bool{}
	for _, f := range []string{"/proc/net/tcp", "/proc/net/tcp6"} {
		b, _ := os.ReadFile(f)
		for l := range strings.Lines(string(b)) {
			if f := strings.Fields(l); len(f) > 9 && f[3] == "0A" {
				listening["socket:["+f[9]+"]"] = true
			}
		}
	}
	fds, _ := filepath.Glob(filepath.Join("/proc", strconv.Itoa(pid), "fd/*"))
	for _, fd := range fds {
		if to, err := os.Readlink(fd); err == nil && listening[to] {
			n++
		}
	}
	return n
}

// Plugin is the process of a plugin; 0 = none.
func (s *Server) Plugin(name string) int {
	for _, p := range s.Processes() {
		if p.Name == name {
			return p.PID
		}
	}
	return 0
}

// KillPlugin ends a plugin's process as a crash does; false = there was none.
func (s *Server) KillPlugin(name string) bool {
	pid := s.Plugin(name)
	return pid != 0 && syscall.Kill(pid, syscall.SIGKILL) == nil
}

// Pause stops a plugin's process until the returned function is called.
func (s *Server) Pause(name string) (resume func()) {
	s.T.Helper()
	pid := s.Plugin(name)
	if pid == 0 {
		s.T.Fatalf("plugin %s does not run", name)
	}
	_ = syscall.Kill(pid, syscall.SIGSTOP)
	return func() { _ = syscall.Kill(pid, syscall.SIGCONT) }
}

// Serving waits until every plugin found serves and every space takes data.
func (s *Server) Serving() {
	s.T.Helper()
	s.Until("all plugins and spaces", func() bool {
		var v struct{ Plugins, Spaces []struct{ State string } }
		if _, err := s.Call("GET", "server", &v); err != nil || len(v.Plugins) == 0 || len(v.Spaces) == 0 {
			return false
		}
		for _, p := range v.Plugins {
			if p.State != "serving" {
				return false
			}
		}
		for _, p := range v.Spaces {
			if p.State != "normal" {
				return false
			}
		}
		return true
	})
}
