package keys

import (
	"bytes"
	"crypto/ed25519"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

func TestKeyStays(t *testing.T) {
	for _, pass := range []string{"", "correct horse"} {
		dir := filepath.Join(t.TempDir(), "keys")
		a, err := Open(dir, pass)
		if err != nil {
			t.Fatal(err)
		}
		b, err := Open(dir, pass)
		if err != nil || a.KeyID() != b.KeyID() {
			t.Fatalf("another key at the second start: %v", err)
		}
		if !ed25519.Verify(b.Public(), []byte("x"), a.Sign([]byte("x"))) {
			t.Error("the signature does not verify")
		}
		fi, err := os.Stat(filepath.Join(dir, signingFile))
		if err != nil || fi.Mode().Perm() != 0o600 {
			t.Errorf("mode %v %v", fi.Mode(), err)
		}
		if d, err := os.Stat(dir); err != nil || d.Mode().Perm() != 0o700 {
			t.Errorf("mode of the folder %v %v", d.Mode(), err)
		}
		raw, _ := os.ReadFile(filepath.Join(dir, signingFile))
		if _, err := unwrap(raw, ""); (err == nil) != (pass == "") {
			t.Errorf("passphrase %q: readable without it: %v", pass, err)
		}
	}
}

func TestWrongPassphrase(t *testing.T) {
	dir := t.TempDir()
	if _, err := Open(dir, "one"); err != nil {
		t.Fatal(err)
	}
	before, _ := os.ReadFile(filepath.Join(dir, signingFile))
	for _, pass := range []string{"", "two"} {
		if _, err := Open(dir, pass); err == nil || !strings.Contains(err.Error(), "passphrase") {
			t.Errorf("%q: %v", pass, err)
		}
	}
	after, _ := os.ReadFile(filepath.Join(dir, signingFile))
	if !bytes.Equal(before, after) {
		t.Error("the key was overwritten")
	}
	// Any byte changed: refused, not misread.
	for i := 30; i < len(before); i += 23 { // argon2 takes its time
		bad := bytes.Clone(before)
		bad[i] ^= 1
		if seed, err := unwrap(bad, "one"); err == nil && !bytes.Equal(signer(seed).pub, mustOpen(t, dir).pub) {
			t.Fatalf("byte %d changed: another key", i)
		}
	}
}

func mustOpen(t *testing.T, dir string) *Signer {
	t.Helper()
	s, err := Open(dir, "one")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func TestRotateAndList(t *testing.T) {
	dir := t.TempDir()
	a, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Export(dir, "", "take away"); err != nil || !Exported(dir) {
		t.Fatal(err)
	}
	b, err := Rotate(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	if Exported(dir) {
		t.Error("a new key counts as saved")
	}
	ps, err := List(dir)
	if err != nil || len(ps) != 2 {
		t.Fatal(ps, err)
	}
	seen := map[ID]bool{}
	for _, p := range ps {
		seen[p.ID] = p.InForce
	}
	if seen[a.id] || !seen[b.id] || len(seen) != 2 {
		t.Errorf("%+v", ps)
	}
	if _, err := Export(dir, "", ""); err == nil {
		t.Error("an export without a passphrase")
	}
}

// TestOpenSSL: what we call a public key and a signature, openssl does too.
func TestOpenSSL(t *testing.T) {
	openssl, err := exec.LookPath("openssl")
	if err != nil {
		t.Fatal("openssl is part of every Debian machine: ", err)
	}
	dir := t.TempDir()
	s, err := Open(dir, "")
	if err != nil {
		t.Fatal(err)
	}
	msg, sig := filepath.Join(dir, "msg"), filepath.Join(dir, "sig")
	if err := os.WriteFile(msg, []byte("evidence"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(sig, s.Sign([]byte("evidence")), 0o600); err != nil {
		t.Fatal(err)
	}
	pub := filepath.Join(dir, publicFolder, s.id.String()+".pem")
	if out, err := exec.Command(openssl, "pkeyutl", "-verify", "-pubin", "-inkey", pub, "-rawin", "-in", msg, "-sigfile", sig).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func FuzzParsePublic(f *testing.F) {
	s := signer(make([]byte, ed25519.SeedSize))
	b, _ := PublicPEM(s.pub)
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) { _, _ = ParsePublic(b) })
}
