package main

import (
	"bytes"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"media-server/plugins/sdk/conformance"
	"media-server/test/s3server"
)

// TestConformance: the kit passes against a real server.
func TestConformance(t *testing.T) {
	out := filepath.Join(t.TempDir(), "s3")
	if b, err := exec.Command("go", "build", "-o", out, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, b)
	}
	s := s3server.Start(t)
	r := conformance.Check(t.Context(), out, conformance.Options{Settings: s3server.Settings(s.Addr, "kit")})
	t.Log("\n" + r.String())
	if !r.OK() {
		t.Fail()
	}
	if bytes.Contains([]byte(r.String()), []byte(s3server.Secret)) {
		t.Fatal("the secret key is in the report")
	}
	if left, _ := filepath.Glob(filepath.Join(s.Dir, ".sgwtmp", "multipart", "*")); len(left) > 0 {
		t.Fatalf("uploads were left: %s", strings.Join(left, ", "))
	}
}
