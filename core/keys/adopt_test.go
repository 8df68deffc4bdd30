package keys

import (
	"os"
	"path/filepath"
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
