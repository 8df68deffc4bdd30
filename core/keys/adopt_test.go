package keys

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestVaultAdopt: a file of before a restore gives the keys made since the
// backup, and what was destroyed since stays so.
func TestVaultAdopt(t *testing.T) {
	dir, kept := t.TempDir(), filepath.Join(t.TempDir(), "000-encryption.keys")
	path := filepath.Join(dir, vaultName)
	v := vaultOf(t, dir, "words")
	first, kf := key(t, v, "gate", 1)
	dead, _ := key(t, v, "yard", 1)
	backup, _ := os.ReadFile(path)
	late, kl := key(t, v, "gate", 2)
	if _, err := v.Destroy("yard", 1, "anna"); err != nil {
		t.Fatal(err)
	}
	if _, err := v.Rotate(); err != nil { // under another master key, too
		t.Fatal(err)
	}
	if err := os.Rename(path, kept); err != nil {
		t.Fatal(err)
	}
	os.WriteFile(path, backup, 0o600) // the restore
	v = vaultOf(t, dir, "words")
	if _, err := v.Key(dead); err != nil {
		t.Fatal("the test proves nothing: the backup lacks the key")
	}
	if added, ended, err := v.Adopt(kept); added != 1 || ended != 1 || err != nil {
		t.Fatal(added, ended, err)
	}
	for _, v := range []*Vault{v, vaultOf(t, dir, "words")} {
		if k, err := v.Key(late); err != nil || k != kl {
			t.Error(err)
		}
		if k, err := v.Key(first); err != nil || k != kf {
			t.Error(err)
		}
		if _, err := v.Key(dead); err == nil {
			t.Error("a restore brought a destroyed key back")
		}
	}
	if id, _ := key(t, v, "gate", 2); id != late {
		t.Error("the day has another key now")
	}
	before, _ := os.ReadFile(path)
	if added, ended, err := v.Adopt(kept); added != 0 || ended != 0 || err != nil {
		t.Error("again:", added, ended, err)
	}
	if after, _ := os.ReadFile(path); string(after) != string(before) {
		t.Error("written for nothing")
	}
	os.WriteFile(kept, []byte("rubbish"), 0o600)
	if _, _, err := v.Adopt(kept); err == nil {
		t.Error("rubbish was taken")
	}
}

// TestImport: the keys of another server's export are taken over by a vault of
// another master key and passphrase, or by none; what was destroyed stays so.
func TestImport(t *testing.T) {
	there := vaultOf(t, t.TempDir(), "inner")
	first, k1 := key(t, there, "gate", 20000)
	second, _ := key(t, there, "gate", 20001)
	if n, err := there.Destroy("gate", 20001, "anna"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	early, err := there.Export("outer")
	if err != nil {
		t.Fatal(err)
	}
	third, k3 := key(t, there, "yard", 20002)
	out, err := there.Export("outer")
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	here := vaultOf(t, dir, "here")
	own, kOwn := key(t, here, "gate", 20000)
	if _, err := here.Import(out, "inner"); err == nil || !strings.Contains(err.Error(), "passphrase") {
		t.Errorf("another passphrase: %v", err)
	}
	if _, err := here.Import([]byte("no keys"), "outer"); err == nil {
		t.Error("what is no export was imported")
	}
	for i, x := range []struct {
		b    []byte
		want int
	}{{early, 1}, {out, 1}, {out, 0}} {
		if n, err := here.Import(x.b, "outer"); n != x.want || err != nil {
			t.Fatalf("import %d: %d keys, %v", i, n, err)
		}
	}
	check := func(v *Vault) {
		t.Helper()
		for id, want := range map[KeyID][keySize]byte{first: k1, third: k3, own: kOwn} {
			if got, err := v.Key(id); err != nil || got != want {
				t.Errorf("key %s: %v", id, err)
			}
		}
		var gone *GoneError
		if _, err := v.Key(second); !errors.As(err, &gone) || gone.Key.Who != "anna" {
			t.Errorf("the destroyed one: %v", err)
		}
		if id, _ := key(t, v, "gate", 20000); id != own {
			t.Error("what is recorded goes on with another key")
		}
	}
	check(here)
	check(vaultOf(t, dir, "here"))

	empty := OpenVault(VaultOptions{Dir: t.TempDir(), Passphrase: "new"}) // nothing encrypts here
	if n, err := empty.Import(out, "outer"); n != 2 || err != nil {
		t.Fatal(n, err)
	}
	if got, err := vaultOf(t, empty.o.Dir, "new").Key(third); err != nil || got != k3 {
		t.Error(err)
	}

	// What was destroyed there and is held here stays.
	if n, err := there.Destroy("yard", 20002, "anna"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if out, err = there.Export("outer"); err != nil {
		t.Fatal(err)
	}
	if n, err := here.Import(out, "outer"); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	check(here)
}

// TestSplit: an export in pieces imports as the whole does, and what could not be
// saved was not imported.
func TestSplit(t *testing.T) {
	there := vaultOf(t, t.TempDir(), "")
	ids := map[KeyID][keySize]byte{}
	for day := range uint32(200) {
		id, k := key(t, there, "gate", 20000+day)
		ids[id] = k
	}
	out, err := there.Export("outer")
	if err != nil {
		t.Fatal(err)
	}
	parts, err := Split(out, 8<<10)
	if err != nil || len(parts) < 4 {
		t.Fatalf("%d parts, %v", len(parts), err)
	}
	dir := t.TempDir()
	here := vaultOf(t, dir, "")
	key(t, here, "yard", 1)
	path := filepath.Join(dir, vaultName)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil { // nothing can be renamed to it
		t.Fatal(err)
	}
	if n, err := here.Import(parts[0], "outer"); err == nil || n != 0 {
		t.Errorf("saved into a folder: %d, %v", n, err)
	}
	if err := errors.Join(os.Remove(path), os.Rename(path+".away", path)); err != nil {
		t.Fatal(err)
	}
	sum := 0
	for i, p := range parts {
		if len(p) > 8<<10 {
			t.Errorf("part %d has %d bytes", i, len(p))
		}
		n, err := here.Import(p, "outer")
		if err != nil {
			t.Fatal(err)
		}
		sum += n
	}
	if sum != len(ids) {
		t.Errorf("%d keys of %d", sum, len(ids))
	}
	again := vaultOf(t, dir, "")
	for id, want := range ids {
		if got, err := again.Key(id); err != nil || got != want {
			t.Fatalf("key %s: %v", id, err)
		}
	}
	if whole, err := Split(out, 1<<20); err != nil || len(whole) != 1 || string(whole[0]) != string(out) {
		t.Error("a small export was changed")
	}
}
