package pluginhost

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/hashicorp/go-hclog"
	goplugin "github.com/hashicorp/go-plugin"
	"github.com/hashicorp/go-plugin/runner"

	"media-server/core/fault"
)

// Facts of the handshake; PROTOCOL.md fixes them.
const (
	cookieKey     = "MEDIA_SERVER_PLUGIN"
	cookieValue   = "c0ffee-free-frames-v1"
	envName       = "MEDIA_SERVER_PLUGIN_NAME"
	envSocketDir  = goplugin.EnvUnixSocketDir
	pluginPath    = "/usr/local/bin:/usr/bin:/bin"
	oomScore      = "300"
	maxSocketPath = 107 // bytes of sun_path, less the closing zero
)

// paths of one plugin below RunDir/plugins.
type paths struct {
	log, record, lock string
	sockets           string // folder given to the plugin
}

func pathsOf(runDir, name string) paths {
	base := filepath.Join(runDir, "plugins", name)
	return paths{log: base + ".log", record: base + ".json", lock: base + ".lock", sockets: base}
}

// launcher starts one plugin process by go-plugin, as its runner: go-plugin
// prepares the environment and understands the handshake line; starting,
// reading and waiting are ours, so that the process can be left alone when
// the core goes. go-plugin's Client is used for Start only: its Close and
// Kill ask the plugin to end, and its broker and stdio streams are for
// plugins whose output comes by RPC.
type launcher struct {
	spec  *spec
	paths paths
	tail  *tail
	born  func(*process) error // called right after the fork
	quiet func()               // ends the tail, once it has read everything

	cmd    *exec.Cmd
	proc   *process
	stdout *io.PipeReader
	feed   *io.PipeWriter
	once   sync.Once
	letGo  chan struct{}
}

// start runs the plugin and returns the process and its socket.
func (l *launcher) start(ctx context.Context, within time.Duration) (*process, string, error) {
	l.letGo = make(chan struct{})
	l.stdout, l.feed = io.Pipe()
	client := goplugin.NewClient(&goplugin.ClientConfig{
		HandshakeConfig: goplugin.HandshakeConfig{
			ProtocolVersion: protocolVersion, MagicCookieKey: cookieKey, MagicCookieValue: cookieValue,
		},
		VersionedPlugins: map[int]goplugin.PluginSet{protocolVersion: {}},
		AllowedProtocols: []goplugin.Protocol{goplugin.ProtocolGRPC},
		SkipHostEnv:      true,
		StartTimeout:     within,
		Logger:           hclog.NewNullLogger(),
		UnixSocketConfig: &goplugin.UnixSocketConfig{TempDir: l.paths.sockets},
		RunnerFunc: func(_ hclog.Logger, cmd *exec.Cmd, tmp string) (runner.Runner, error) {
			os.Remove(tmp) // the socket lies in the plugin's own folder: shorter
			l.cmd = l.command(cmd.Env)
			return l, nil
		},
	})
	stop := context.AfterFunc(ctx, l.release)
	addr, err := client.Start()
	stop()
	defer l.release()
	if err != nil {
		return nil, "", l.explain(err)
	}
	unix, ok := addr.(*net.UnixAddr)
	if !ok {
		l.Kill(ctx)
		l.proc.release()
		return nil, "", fault.New("plugin "+l.spec.name, fmt.Sprintf("serves on %s, not on a Unix socket", addr), "the socket goes into the folder that "+envSocketDir+" names")
	}
	return l.proc, unix.Name, nil
}

// command makes the detached process: a session of its own, no terminal, a
// small environment, its output in its log.
func (l *launcher) command(env []string) *exec.Cmd {
	cmd := exec.Command(l.spec.path, l.spec.args...)
	cmd.Dir = l.spec.dir
	cmd.Env = []string{"PATH=" + pluginPath}
	for _, k := range []string{"HOME", "TZ", "LANG", "LC_ALL", "TMPDIR", "SSL_CERT_FILE", "SSL_CERT_DIR"} {
		if v, ok := os.LookupEnv(k); ok {
			cmd.Env = append(cmd.Env, k+"="+v)
		}
	}
	cmd.Env = append(cmd.Env, env...)
	cmd.Env = append(cmd.Env, l.spec.env...)
	cmd.Env = append(cmd.Env, envName+"="+l.spec.name, envSocketDir+"="+l.paths.sockets)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	return cmd
}

// Start implements runner.Runner.
func (l *launcher) Start(context.Context) error {
	out, err := os.OpenFile(l.paths.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("plugin log: %w", err)
	}
	defer out.Close()
	l.cmd.Stdout, l.cmd.Stderr = out, out
	if err := l.cmd.Start(); err != nil {
		return err
	}
	pid := l.cmd.Process.Pid
	l.proc, err = openProcess(pid, 0)
	// The pidfd is ours alone now; os/exec must not wait for the child, as
	// the wait would outlive a host that leaves its plugins running.
	defer l.cmd.Process.Release()
	if err != nil {
		l.cmd.Process.Kill()
		_, _ = l.cmd.Process.Wait()
		return fmt.Errorf("process ended at once: %w", err)
	}
	// Where memory runs out, a plugin that leaks goes before the core does: it
	// is started again and its frames are resumed.
	if err := os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte(oomScore), 0); err != nil {
		l.tail.log.Debug("the plugin cannot be offered to the kernel before the core", "err", err)
	}
	if err := l.born(l.proc); err != nil {
		l.proc.kill(time.Second)
		return err
	}
	go l.forward()
	return nil
}

// forward hands the handshake line to go-plugin, once.
func (l *launcher) forward() {
	defer l.feed.Close()
	w := bufio.NewWriter(l.feed)
	select {
	case line := <-l.tail.handshake:
		fmt.Fprintln(w, line)
		_ = w.Flush() // a plugin that has ended says so by other means
	case <-l.proc.exited:
	case <-l.letGo:
	}
}

// otherProtocol is go-plugin's way to say so.
var otherProtocol = regexp.MustCompile(`[Ii]ncompatible API version with plugin\. Plugin version: (\d+)`)

// explain makes an operator's error of go-plugin's.
func (l *launcher) explain(err error) error {
	where := "plugin " + l.spec.name
	if l.proc == nil {
		return fault.Wrap(err, where, "start "+l.spec.path, "is it an executable for this machine?")
	}
	if m := otherProtocol.FindStringSubmatch(err.Error()); m != nil {
		l.proc.kill(2 * time.Second)
		l.proc.release()
		l.quiet()
		return fault.New(where, fmt.Sprintf("speaks plugin protocol %s, this server speaks %d", m[1], protocolVersion), "install a version of the plugin for this server")
	}
	dead := l.proc.dead()
	l.proc.kill(2 * time.Second)
	defer l.proc.release()
	l.quiet()
	select {
	case line := <-l.tail.handshake:
		return fault.New(where, fmt.Sprintf("handshake line %q cannot be used: %v", line, err), "")
	default:
	}
	what := "did not print its handshake line in time"
	if dead && !strings.Contains(err.Error(), "timeout") {
		what = l.proc.ended() + " before the handshake"
	}
	if last := l.tail.newest(); last != "" {
		what += "; it printed: " + last
	}
	if !strings.Contains(err.Error(), "Unrecognized") && !strings.Contains(err.Error(), "timeout") && !strings.Contains(err.Error(), "exited") {
		what = err.Error()
	}
	return fault.New(where, what, "see "+l.paths.log)
}

// Wait implements runner.Runner: until the process has ended or is left alone.
func (l *launcher) Wait(context.Context) error {
	select {
	case <-l.proc.exited:
	case <-l.letGo:
	}
	return nil
}

// Kill implements runner.Runner.
func (l *launcher) Kill(context.Context) error {
	if l.proc == nil {
		return nil
	}
	return l.proc.kill(2 * time.Second)
}

// release ends go-plugin's goroutines without touching the process.
func (l *launcher) release() { l.once.Do(func() { close(l.letGo) }) }

// Stdout implements runner.Runner: the handshake line, then the end.
func (l *launcher) Stdout() io.ReadCloser { return l.stdout }

// Stderr implements runner.Runner: nothing; the tail has it.
func (l *launcher) Stderr() io.ReadCloser { return io.NopCloser(strings.NewReader("")) }

// Name implements runner.Runner.
func (l *launcher) Name() string { return l.spec.name }

// ID implements runner.Runner.
func (l *launcher) ID() string { return fmt.Sprint(l.proc.pid) }

// Diagnose implements runner.Runner.
func (l *launcher) Diagnose(context.Context) string { return "" }

// PluginToHost implements runner.AddrTranslator.
func (l *launcher) PluginToHost(n, a string) (string, string, error) { return n, a, nil }

// HostToPlugin implements runner.AddrTranslator.
func (l *launcher) HostToPlugin(n, a string) (string, string, error) { return n, a, nil }

// prepare makes RunDir/plugins and the folder of sockets, both 0700 and ours,
// and refuses a path too long for a socket.
func prepare(runDir, name string) error {
	p := pathsOf(runDir, name)
	// go-plugin names a socket pluginNNNNNNNNNN.
	if n := len(p.sockets) + len("/plugin1234567890"); n > maxSocketPath {
		return fault.New("plugin "+name, fmt.Sprintf("run-dir is too long: sockets below it would have names of %d bytes, the kernel takes %d", n, maxSocketPath), "choose a shorter [server] run-dir")
	}
	for _, d := range []string{runDir, filepath.Dir(p.sockets), p.sockets} {
		if err := os.Mkdir(d, 0o700); err != nil && !errors.Is(err, os.ErrExist) {
			if err = os.MkdirAll(d, 0o700); err != nil {
				return fault.Wrap(err, "plugin "+name, "make run-dir", "")
			}
		}
	}
	for _, d := range []string{filepath.Dir(p.sockets), p.sockets} {
		st, err := os.Lstat(d)
		if err != nil {
			return fault.Wrap(err, "plugin "+name, "look at run-dir", "")
		}
		sys, _ := st.Sys().(*syscall.Stat_t)
		if !st.IsDir() || int(sys.Uid) != os.Geteuid() {
			return fault.New(d, "is not a folder of this server's user", "remove it")
		}
		if st.Mode().Perm() != 0o700 {
			if err := os.Chmod(d, 0o700); err != nil {
				return fault.Wrap(err, d, "close to others", "")
			}
		}
	}
	return nil
}

func pluginLog(log *slog.Logger, name string) *slog.Logger { return log.With("plugin", name) }
