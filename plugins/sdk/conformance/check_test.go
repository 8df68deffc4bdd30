package conformance

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"
)

func build(t *testing.T, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin")
	if b, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, b)
	}
	return out
}

func TestTemplate(t *testing.T) {
	t.Parallel()
	r := Check(t.Context(), build(t, "media-server/plugins/examples/template"), Options{Settings: map[string]string{"interval": "100ms"}})
	t.Log("\n" + r.String())
	if !r.OK() || len(r.Results) != len(checks) {
		t.Fail()
	}
}

func TestPython(t *testing.T) {
	t.Parallel()
	driver := pythonDriver(t)
	r := Check(t.Context(), driver, Options{Command: []string{"/usr/bin/python3", driver}})
	t.Log("\n" + r.String())
	if !r.OK() || len(r.Results) != len(checks) {
		t.Fail()
	}
}

func pythonDriver(t *testing.T) string {
	t.Helper()
	if err := exec.Command("/usr/bin/python3", "-c", "import grpc, google.protobuf").Run(); err != nil {
		t.Fatal("needs the Debian packages python3-grpcio and python3-protobuf")
	}
	driver, err := filepath.Abs("../../examples/python-clock/driver.py")
	if err != nil {
		t.Fatal(err)
	}
	return driver
}

// A kit that never fails proves nothing: each mutant breaks one rule, and the
// check of that name must say so.
func TestMutants(t *testing.T) {
	t.Parallel()
	binary := build(t, "media-server/plugins/sdk/conformance/testdata/mutant")
	var wg sync.WaitGroup // they mostly wait, so more at once than processors
	for _, c := range checks {
		switch c.name {
		case "health", "schema": // too plain to break by chance
			continue
		}
		if c.of == storages { // the local plugin's tests have theirs
			continue
		}
		wg.Go(func() {
			r := Check(t.Context(), binary, Options{Command: []string{binary, c.name}, Only: []string{c.name}, Wait: 3 * time.Second})
			if f := r.Failed(); len(f) != 1 || f[0] != c.name {
				t.Errorf("mutant %s, failed: %v\n%s", c.name, f, r)
			}
		})
	}
	wg.Wait()
}

func TestNoPluginAtAll(t *testing.T) {
	r := Check(context.Background(), "/bin/false", Options{})
	if r.OK() {
		t.Error("passed")
	}
	if f := r.Failed(); len(f) != 1 || f[0] != "handshake" {
		t.Errorf("failed: %v", f)
	}
	if _, err := os.Stat(r.Path); err != nil {
		t.Error(err)
	}
}
