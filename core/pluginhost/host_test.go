package pluginhost

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/process"
	"media-server/plugins/sdk/pb"
)

// rig is a host with folders of its own, all its plugins ended by the test.
type rig struct {
	t     *testing.T
	opt   Options
	host  *Host
	stop  func()
	mu    sync.Mutex
	notes []Notice
}

func newRig(t *testing.T) *rig {
	t.Helper()
	dir := shortDir(t)
	r := &rig{t: t, opt: Options{
		Dirs: []string{filepath.Join(dir, "plugins")}, RunDir: filepath.Join(dir, "r"), Epoch: 1, Node: "n",
		ScanEvery: 50 * time.Millisecond, HealthEvery: 100 * time.Millisecond, HealthWithin: 500 * time.Millisecond,
		AckEvery: 100 * time.Millisecond, Plugins: map[string]Plugin{},
		Log: slog.New(slog.NewTextHandler(testWriter{t}, &slog.HandlerOptions{Level: slog.LevelWarn})),
	}}
	r.opt.Notify = func(n Notice) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.notes = append(r.notes, n)
	}
	if err := os.Mkdir(r.opt.Dirs[0], 0o755); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		r.down()
		if err := StopRecorded(r.opt.RunDir); err != nil {
			t.Error(err)
		}
	})
	return r
}

type testWriter struct{ t *testing.T }

func (w testWriter) Write(p []byte) (int, error) {
	if testing.Verbose() {
		fmt.Fprintf(os.Stderr, "%s %s", w.t.Name(), p)
	}
	return len(p), nil
}

// up runs a host of the present options.
func (r *rig) up() *Host {
	r.t.Helper()
	r.host = New(r.opt)
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	h := r.host
	go func() { defer close(done); h.Run(ctx) }()
	r.stop = func() { cancel(); <-done }
	return r.host
}

func (r *rig) down() {
	if stop := r.stop; stop != nil {
		r.stop = nil
		stop()
	}
}

// toy makes a plugin folder whose plugin is the test binary in that role.
func (r *rig) toy(name, role string, env ...string) {
	r.t.Helper()
	r.opt.Plugins[name] = Plugin{Env: append([]string{"TOY_ROLE=" + role, "GORACE=atexit_sleep_ms=0"}, env...)}
	self, err := os.Executable()
	if err != nil {
		r.t.Fatal(err)
	}
	kind := "driver"
	if role == "storage" {
		kind = "storage"
	}
	// A script of the plugin's own that becomes the test binary.
	r.files(name, fmt.Sprintf("[plugin]\nname = %s\nversion = 1.0\nkind = %s\nprotocol = 1\nexec = run\nschemes = toy\n", name, kind),
		map[string]string{"run": "#!/bin/sh\nexec " + self + "\n"})
}

func (r *rig) files(name, ini string, files map[string]string) {
	r.t.Helper()
	dir := filepath.Join(r.opt.Dirs[0], name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		r.t.Fatal(err)
	}
	for f, text := range files {
		if err := os.WriteFile(filepath.Join(dir, f), []byte(text), 0o755); err != nil {
			r.t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "plugin.ini"), []byte(ini), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

// eventually waits for what other processes do; it is no measurement.
func eventually(t *testing.T, what string, f func() bool) {
	t.Helper()
	for end := time.Now().Add(15 * time.Second); !f(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("never: %s", what)
		}
	}
}

func (r *rig) status(name string) Status {
	for _, s := range r.host.Plugins() {
		if s.Name == name {
			return s
		}
	}
	return Status{}
}

func (r *rig) serving(name string) Status {
	r.t.Helper()
	var st Status
	eventually(r.t, name+" serves", func() bool { st = r.status(name); return st.State == StateServing })
	return st
}

func (r *rig) noted(typ string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, n := range r.notes {
		if n.Type == typ {
			return true
		}
	}
	return false
}

func alive(pid int) bool {
	st, err := process.ReadStat(pid)
	return err == nil && st.State != 'Z'
}

func TestPluginLifecycle(t *testing.T) {
	r := newRig(t)
	r.up()
	if len(r.host.Plugins()) != 0 {
		t.Fatal("plugins out of nothing")
	}
	r.toy("toy", "driver", "TOY_VERSION=1.2.3") // dropped in while running
	r.host.Reload(r.opt)
	first := r.serving("toy")
	if first.PID == 0 || first.Version != "1.2.3" || first.Kind != "driver" || first.Attached {
		t.Errorf("status %+v", first)
	}
	if st, err := process.ReadStat(first.PID); err != nil || st.Session != first.PID {
		t.Errorf("the plugin has no session of its own: %+v %v", st, err)
	}
	if st, err := os.Stat(filepath.Join(r.opt.RunDir, "plugins", "toy")); err != nil || st.Mode().Perm() != 0o700 {
		t.Errorf("socket folder: %v %v", st, err)
	}

	// Killed: back at once.
	unix.Kill(first.PID, unix.SIGKILL)
	eventually(t, "a new process", func() bool { s := r.status("toy"); return s.State == StateServing && s.PID != first.PID })
	if s := r.status("toy"); s.Restarts != 1 || !strings.Contains(s.LastError, "SIGKILL") {
		t.Errorf("after a kill: %+v", s)
	}

	// Stopped: found by health, killed, started again.
	second := r.status("toy")
	unix.Kill(second.PID, unix.SIGSTOP)
	eventually(t, "a third process", func() bool { s := r.status("toy"); return s.State == StateServing && s.PID != second.PID })
	if alive(second.PID) || !r.noted("plugin.hung") {
		t.Error("the hung process lives, or nobody was told")
	}

	// Core restart: the same process goes on.
	third := r.status("toy")
	r.down()
	if !alive(third.PID) {
		t.Fatal("the plugin ended with its core")
	}
	r.opt.Epoch++
	r.up()
	if s := r.serving("toy"); s.PID != third.PID || !s.Attached {
		t.Errorf("not re-attached: %+v, was pid %d", s, third.PID)
	}

	// Executable changed: that plugin is started again.
	path := filepath.Join(r.opt.Dirs[0], "toy", "run")
	text, _ := os.ReadFile(path)
	os.WriteFile(path, append(text, "# changed\n"...), 0o755)
	eventually(t, "the changed plugin", func() bool { s := r.status("toy"); return s.State == StateServing && s.PID != third.PID })

	// Writable by everybody: the running one stays, the problem shows.
	fourth := r.status("toy")
	os.Chmod(path, 0o777)
	eventually(t, "the problem", func() bool { return r.status("toy").Problem != nil })
	if s := r.status("toy"); s.PID != fourth.PID || s.State != StateServing {
		t.Errorf("a refused change ended the running plugin: %+v", s)
	}
	os.Chmod(path, 0o755)
	eventually(t, "no problem", func() bool { return r.status("toy").Problem == nil })

	// Off, and on again.
	p := r.opt.Plugins["toy"]
	r.opt.Plugins["toy"] = Plugin{Disabled: true, Env: p.Env}
	r.host.Reload(r.opt)
	eventually(t, "off", func() bool { return r.status("toy").State == StateOff && !alive(fourth.PID) })
	r.opt.Plugins["toy"] = p
	r.host.Reload(r.opt)
	fifth := r.serving("toy")

	// Folder removed: the process ends.
	os.RemoveAll(filepath.Join(r.opt.Dirs[0], "toy"))
	eventually(t, "gone", func() bool { return len(r.host.Plugins()) == 0 && !alive(fifth.PID) })
}

func TestCrashLoopIsToldAndNeverEnds(t *testing.T) {
	r := newRig(t)
	r.opt.RestartMax = 50 * time.Millisecond
	r.toy("toy", "crash")
	r.up()
	eventually(t, "crash loop", func() bool { return r.noted("plugin.crash_loop") })
	s := r.status("toy")
	if !s.Looping || !strings.Contains(s.LastError, "no camera today") || !strings.Contains(s.LastError, "exit status 7") {
		t.Errorf("status %+v", s)
	}
	r.toy("toy", "driver")
	r.host.Reload(r.opt)
	r.serving("toy")
}

func TestRelativeFolders(t *testing.T) {
	r := newRig(t)
	base := filepath.Dir(r.opt.RunDir)
	t.Chdir(base)
	r.toy("toy", "driver")
	r.opt.RunDir, r.opt.Dirs, r.opt.DataDir = "r", []string{"plugins"}, "data"
	r.up()
	r.serving("toy")
	if _, err := os.Stat(filepath.Join(base, "data", "plugins", "toy")); err != nil {
		t.Error(err)
	}
	r.down()
	r.opt.RunDir = filepath.Join(base, "r") // for the clean-up
}

func TestStopAll(t *testing.T) {
	r := newRig(t)
	r.toy("one", "driver")
	r.toy("two", "storage", "TOY_DIR="+r.opt.RunDir)
	r.up()
	one, two := r.serving("one"), r.serving("two")
	if err := r.host.StopAll(context.Background()); err != nil {
		t.Fatal(err)
	}
	if alive(one.PID) || alive(two.PID) {
		t.Error("StopAll left a plugin running")
	}
}

func TestRefused(t *testing.T) {
	ini := "[plugin]\nkind = driver\nprotocol = 1\nexec = run\nschemes = toy\n"
	for _, c := range []struct {
		name, ini string
		change    func(dir string)
		p         Plugin
		want      string
	}{
		{"world", ini, func(d string) { os.Chmod(filepath.Join(d, "run"), 0o777) }, Plugin{}, "writable by everybody"},
		{"folder", ini, func(d string) { os.Chmod(d, 0o777) }, Plugin{}, "writable by everybody"},
		{"sum", ini + "sha256 = " + strings.Repeat("ab", 32) + "\n", nil, Plugin{}, "SHA-256"},
		{"sumkey", ini, nil, Plugin{SHA256: strings.Repeat("ab", 32)}, "SHA-256"},
		{"missing", strings.Replace(ini, "= run", "= nothing", 1), nil, Plugin{}, "no such executable"},
		{"mode", ini, func(d string) { os.Chmod(filepath.Join(d, "run"), 0o644) }, Plugin{}, "not executable"},
		{"outside", strings.Replace(ini, "= run", "= ../x/run", 1), nil, Plugin{}, "outside"},
		{"key", ini + "colour = red\n", nil, Plugin{}, `plugin.ini:6:1: unknown key "colour"`},
		{"protocol", strings.Replace(ini, "protocol = 1", "protocol = 2", 1), nil, Plugin{}, "protocol"},
		{"endpoint", ini, nil, Plugin{Endpoint: "tcp:1"}, "unix:/absolute/path"},
		{"env", ini, nil, Plugin{Env: []string{"x"}}, "NAME=value"},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.opt.Plugins[c.name] = c.p
			r.files(c.name, c.ini, map[string]string{"run": "#!/bin/sh\nexit 1\n"})
			if c.change != nil {
				c.change(filepath.Join(r.opt.Dirs[0], c.name))
			}
			var f finder
			f.scan(&r.opt)
			specs, _ := f.scan(&r.opt)
			if len(specs) != 1 || specs[0].problem == nil || !strings.Contains(specs[0].problem.Error(), c.want) {
				t.Errorf("%+v, want a problem with %q", specs, c.want)
			}
		})
	}
}

func TestStaleRecords(t *testing.T) {
	bystander := exec.Command("sleep", "60")
	if err := bystander.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { bystander.Process.Kill(); bystander.Wait() }()
	st, err := process.ReadStat(bystander.Process.Pid)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		r    record
	}{
		{"pid reused", record{PID: bystander.Process.Pid, Start: st.Start - 1, Boot: process.BootID(), Protocol: 1}},
		{"other boot", record{PID: bystander.Process.Pid, Start: st.Start, Boot: "another", Protocol: 1}},
		{"nobody", record{PID: 1 << 21, Start: 1, Boot: process.BootID(), Protocol: 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			r := newRig(t)
			r.toy("toy", "driver")
			if err := prepare(r.opt.RunDir, "toy"); err != nil {
				t.Fatal(err)
			}
			c.r.Name, c.r.Socket = "toy", filepath.Join(r.opt.RunDir, "plugins", "toy", "plugin1")
			if err := writeRecord(pathsOf(r.opt.RunDir, "toy").record, c.r); err != nil {
				t.Fatal(err)
			}
			r.up()
			if s := r.serving("toy"); s.Attached || s.PID == bystander.Process.Pid {
				t.Errorf("status %+v", s)
			}
			if bystander.Process.Signal(syscall.Signal(0)) != nil || !alive(bystander.Process.Pid) {
				t.Error("a bystander was killed")
			}
		})
	}
}

func TestSocketGoneMeansANewProcess(t *testing.T) {
	r := newRig(t)
	r.toy("toy", "driver")
	r.up()
	first := r.serving("toy")
	r.down()
	os.RemoveAll(filepath.Join(r.opt.RunDir, "plugins", "toy"))
	r.up()
	if s := r.serving("toy"); s.PID == first.PID || s.Attached {
		t.Errorf("status %+v", s)
	}
	if alive(first.PID) {
		t.Error("the unreachable process was left running")
	}
}

func TestProcessWithoutRecordIsEnded(t *testing.T) {
	r := newRig(t)
	r.toy("toy", "driver")
	r.up()
	first := r.serving("toy")
	r.down()
	os.Remove(pathsOf(r.opt.RunDir, "toy").record) // as if the core had died between fork and record
	r.up()
	r.serving("toy")
	if alive(first.PID) {
		t.Error("two instances of one plugin run")
	}
}

func TestNewerEpochWins(t *testing.T) {
	r := newRig(t)
	r.toy("toy", "driver")
	old := r.up()
	pid := r.serving("toy").PID
	sink := newTestSink()
	subscribe(t, old, "cam", sink)
	eventually(t, "units", func() bool { return sink.count() > 0 })
	stopOld := r.stop
	defer stopOld()

	r.opt.Epoch = 2
	newer := r.up()
	sink2 := newTestSink()
	subscribe(t, newer, "cam", sink2)
	eventually(t, "units at the newer core", func() bool { return sink2.count() > 0 })
	if s := r.serving("toy"); s.PID != pid || !s.Attached {
		t.Errorf("newer: %+v", s)
	}
	eventually(t, "the older core lets go", func() bool { return old.Plugins()[0].State == StateTaken })
	n := sink2.count()
	eventually(t, "more units at the newer core", func() bool { return sink2.count() > n+5 })
	if !alive(pid) {
		t.Error("the older core killed the plugin")
	}
}

func TestEndpoint(t *testing.T) {
	d := newToyDriver()
	e := serveEndpoint(t, pb.InfoReply_DRIVER, d)
	r := newRig(t)
	r.opt.Plugins["outside"] = Plugin{Endpoint: "unix:" + e.socket, Settings: map[string]string{"a": "b"}}
	r.up()
	s := r.serving("outside")
	if !s.Attached || s.PID != os.Getpid() {
		t.Errorf("status %+v", s)
	}
	r.opt.Plugins["outside"] = Plugin{Endpoint: "unix:" + e.socket, Settings: map[string]string{"a": "c"}}
	r.host.Reload(r.opt)
	eventually(t, "the new setting", func() bool { m, _ := e.base.settings.Load().(map[string]string); return m["a"] == "c" })
	if e.base.configured.Load() != 2 {
		t.Errorf("configured %d times", e.base.configured.Load())
	}
}
