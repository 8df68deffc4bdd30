package node

import (
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"media-server/core/config"
)

const (
	shippedServer  = "../../conf/media-server.ini"
	shippedStreams = "../../streams.d"
	shippedUnit    = "../../conf/media-server.service"
)

func TestShippedFilesLoad(t *testing.T) {
	s, ps := Load(shippedServer)
	// The path of a checkout may be long; that alone is no fault of the files.
	for _, p := range ps {
		if p.Key != "run-dir" {
			t.Error(p)
		}
	}
	demo := s.Streams["demo"]
	if demo == nil || demo.Config.URL != "sim://" || demo.Config.Access != "public" || !demo.Config.DVR.Enable {
		t.Errorf("demo: %+v", demo)
	}
	root, _ := filepath.Abs("../..")
	if s.Server.DataDir != root+"/var" || s.Server.StreamsDir != root+"/streams.d" {
		t.Errorf("%+v", s.Server)
	}
}

var offLine = regexp.MustCompile(`(?m)^;(\[[a-z0-9.-]+\]|[a-z0-9-]+ =)`)

// uncommented returns a shipped file with every key it shows switched on.
func uncommented(t *testing.T, path string) *config.File {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	f, ps := config.Parse(path, offLine.ReplaceAll(data, []byte("$1")))
	if ps != nil {
		t.Fatal(ps)
	}
	return f
}

// TestShippedFilesAreTheManual: every key of the schema stands in the shipped
// files under its section, with its default and with a comment above it, and
// nothing else stands there.
func TestShippedFilesAreTheManual(t *testing.T) {
	server := uncommented(t, shippedServer)
	example := map[string]string{"space.NAME": "space.main", "pool.NAME": "pool.default", "plugin.NAME": "plugin.rtsp", "address-map.NAME": "address-map.1"}
	set := map[string]bool{"data-dir": true, "streams-dir": true, "plugins-dir": true, "run-dir": true, "path": true, "spaces": true,
		"inner": true, "outer": true, "clients": true}
	for _, sec := range Schema() {
		name := sec.Name
		if e, ok := example[name]; ok {
			name = e
		}
		on := maps.Clone(set)
		on["enable"] = name == "rtsp" // a checkout serves it; an older file does not begin to by an upgrade
		compare(t, server, name, sec, on)
	}
	compare(t, uncommented(t, shippedStreams+"/_defaults.ini"), "defaults", StreamSchema(), map[string]bool{"stream-access": true})
}

func compare(t *testing.T, f *config.File, block string, sec *config.Section, set map[string]bool) {
	t.Helper()
	b := f.Block(block)
	if b == nil {
		t.Errorf("%s: no section [%s]", f.Path, block)
		return
	}
	lines := strings.Split(string(f.Bytes()), "\n")
	for _, k := range sec.Keys {
		e := b.Entry(k.Name)
		switch {
		case e == nil:
			t.Errorf("%s: no key %s in [%s]", f.Path, k.Name, block)
		case e.Value != k.Default && !set[k.Name]:
			t.Errorf("%s:%d: %s = %s, the default is %q", f.Path, e.Line, k.Name, e.Value, k.Default)
		case !strings.HasPrefix(lines[e.Line-2], "# "):
			t.Errorf("%s:%d: %s has no comment above it", f.Path, e.Line, k.Name)
		}
	}
	for _, e := range b.Entries {
		if sec.Key(e.Key) == nil {
			t.Errorf("%s:%d: %s is no key of [%s]", f.Path, e.Line, e.Key, block)
		}
	}
}

// TestShippedFilesSwitchedOn: taking every ";" away gives files that load.
func TestShippedFilesSwitchedOn(t *testing.T) {
	dir := t.TempDir()
	for from, to := range map[string]string{shippedServer: "conf/media-server.ini", shippedStreams + "/_defaults.ini": "streams.d/_defaults.ini", shippedStreams + "/demo.ini": "streams.d/demo.ini"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, to)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, to), uncommented(t, from).Bytes(), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	s, ps := Load(dir + "/conf/media-server.ini")
	if ps.HasErrors() || s.Archive.Spaces[0].Path != "/srv/media" || s.Streams["demo"] == nil {
		t.Errorf("%v %+v", ps, s.Archive)
	}
}

// TestUnitVerifies checks the unit as systemd would, with a program that is
// there in place of the installed one.
func TestUnitVerifies(t *testing.T) {
	data, err := os.ReadFile(shippedUnit)
	if err != nil {
		t.Fatal(err)
	}
	unit := string(data)
	for _, line := range []string{"Type=notify", "KillMode=process", "RuntimeDirectoryPreserve=restart", "WatchdogSec=20s", "RestartPreventExitStatus=78"} {
		if !strings.Contains(unit, "\n"+line+"\n") {
			t.Errorf("the unit lacks %s", line)
		}
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Fatal("systemd-analyze is not there: install the Debian package systemd")
	}
	path := filepath.Join(t.TempDir(), "media-server.service")
	if err := os.WriteFile(path, []byte(strings.Replace(unit, "/usr/bin/media-server", "/bin/true", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	// It exits 0 on unknown keys; only silence is praise.
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v\n%s", err, out)
	}
}
