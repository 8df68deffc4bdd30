package main

import (
	"os/exec"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"media-server/plugins/sdk/conformance"
)

func build(t *testing.T, pkg string) string {
	t.Helper()
	out := filepath.Join(t.TempDir(), "plugin")
	if b, err := exec.Command("go", "build", "-o", out, pkg).CombinedOutput(); err != nil {
		t.Fatalf("build %s: %v\n%s", pkg, err, b)
	}
	return out
}

func TestConformance(t *testing.T) {
	t.Parallel()
	r := conformance.Check(t.Context(), build(t, "media-server/plugins/local"), conformance.Options{})
	t.Log("\n" + r.String())
	if !r.OK() {
		t.Fail()
	}
}

// Each mutant breaks one rule of storage, and the check of that name must say
// so.
func TestMutants(t *testing.T) {
	t.Parallel()
	binary := build(t, "media-server/plugins/local/testdata/mutant")
	var wg sync.WaitGroup
	for _, name := range []string{"space", "space-epoch", "append", "resend", "offset", "absent", "names", "truncate", "seal", "write", "read", "list",
		"delete", "usage", "descriptors", "descriptors-many"} {
		wg.Go(func() {
			r := conformance.Check(t.Context(), binary, conformance.Options{Command: []string{binary, name}, Only: []string{"schema", name}, Wait: 2 * time.Second})
			if f := r.Failed(); len(f) != 1 || f[0] != name {
				t.Errorf("mutant %s, failed: %v\n%s", name, f, r)
			}
		})
	}
	wg.Wait()
}
