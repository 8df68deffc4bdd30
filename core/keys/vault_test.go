package keys

import (
	"bytes"
	"context"
	"encoding/hex"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

func vaultOf(t *testing.T, dir, pass string) *Vault {
	t.Helper()
	v := OpenVault(VaultOptions{Dir: dir, Passphrase: pass, Make: true, Log: slog.New(slog.DiscardHandler)})
	if err := v.Err(); err != nil {
		t.Fatal(err)
	}
	return v
}

// key asks for the key of a day and makes it durable.
func key(t *testing.T, v *Vault, uid string, day uint32) (KeyID, [32]byte) {
	t.Helper()
	id, k, durable, err := v.ForDay(uid, day)
	if err != nil {
		t.Fatal(err)
	}
	if durable != nil {
		select {
		case <-durable:
			t.Fatal("durable before it was saved")
		default:
		}
		if err := v.flush(); err != nil {
			t.Fatal(err)
		}
		<-durable
	}
	return id, k
}

func TestVaultKeepsKeys(t *testing.T) {
	for _, pass := range []string{"", "correct horse"} {
		dir := filepath.Join(t.TempDir(), "keys")
		v := vaultOf(t, dir, pass)
		a, ka := key(t, v, "gate", 20000)
		b, kb := key(t, v, "gate", 20001)
		c, kc := key(t, v, "yard", 20000)
		if a == b || a == c || ka == kb || ka == kc || ka == [32]byte{} {
			t.Fatal("keys are not apart")
		}
		v = vaultOf(t, dir, pass)
		if id, k := key(t, v, "gate", 20000); id != a || k != ka {
			t.Error("another key after a restart")
		}
		if k, err := v.Key(c); err != nil || k != kc {
			t.Error(err)
		}
		if _, err := v.Key(KeyID{1}); err == nil {
			t.Error("a key that never was is found")
		}
		raw, _ := os.ReadFile(filepath.Join(dir, vaultName))
		for _, k := range [][32]byte{ka, kb, kc} {
			if bytes.Contains(raw, k[:]) {
				t.Error("a day's key lies there unwrapped")
			}
		}
		if fi, _ := os.Stat(filepath.Join(dir, vaultName)); fi.Mode() != 0o600 {
			t.Error(fi.Mode())
		}
	}
}

func TestVaultPassphrase(t *testing.T) {
	dir := t.TempDir()
	v := vaultOf(t, dir, "")
	id, k := key(t, v, "gate", 1)
	vaultOf(t, dir, "one") // set since: wrapped from now on
	for _, wrong := range []string{"", "two"} {
		v = OpenVault(VaultOptions{Dir: dir, Passphrase: wrong, Make: true})
		if v.Err() == nil || !strings.Contains(v.Err().Error(), "passphrase") || strings.Contains(v.Err().Error(), "two") {
			t.Errorf("%q: %v", wrong, v.Err())
		}
		if _, err := v.Key(id); err == nil {
			t.Error("a key without the passphrase")
		}
		if _, _, _, err := v.ForDay("gate", 2); err == nil {
			t.Error("a new key without the passphrase")
		}
	}
	v = vaultOf(t, dir, "one")
	if got, err := v.Key(id); err != nil || got != k {
		t.Error(err)
	}
}

// TestVaultMissing: keys that were there and are not any more are not made anew.
func TestVaultMissing(t *testing.T) {
	dir, note := t.TempDir(), filepath.Join(t.TempDir(), "note")
	o := VaultOptions{Dir: dir, Note: note, Make: true}
	if v := OpenVault(o); v.Err() != nil {
		t.Fatal(v.Err())
	}
	kept := filepath.Join(t.TempDir(), "kept")
	if err := os.Rename(filepath.Join(dir, vaultName), kept); err != nil {
		t.Fatal(err)
	}
	v := OpenVault(o)
	if v.Err() == nil {
		t.Fatal("new keys were made where old ones are missing")
	}
	os.Rename(kept, filepath.Join(dir, vaultName)) // the disk is mounted
	if v.retry(); v.Err() != nil {
		t.Error(v.Err())
	}
	v = OpenVault(VaultOptions{Dir: t.TempDir()})
	if v.retry(); !v.None() {
		t.Error(v.Err())
	}
	if _, _, _, err := v.ForDay("gate", 1); err == nil {
		t.Error("a key out of nothing")
	}
	if v.retry(); v.Err() != nil { // somebody needs one
		t.Error(v.Err())
	}
	v.Refuse(errors.New("closed"))
	if v.retry(); v.Err() == nil {
		t.Error("opened though it was refused")
	}
}

// TestVaultTornAnywhere: a file cut at any byte of what was added last opens
// with the keys before it; a byte changed anywhere is noticed.
func TestVaultTornAnywhere(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, vaultName)
	v := vaultOf(t, dir, "")
	a, ka := key(t, v, "gate", 1)
	whole, _ := os.ReadFile(path)
	key(t, v, "gate", 2)
	longer, _ := os.ReadFile(path)
	for n := len(whole); n < len(longer); n++ {
		os.WriteFile(path, longer[:n], 0o600)
		v := vaultOf(t, dir, "")
		if k, err := v.Key(a); err != nil || k != ka {
			t.Fatalf("cut at %d: %v", n, err)
		}
		key(t, v, "gate", 3)
		if in, _ := vaultOf(t, dir, "").Info(); in.Keys != 2 {
			t.Fatalf("cut at %d: %d keys", n, in.Keys)
		}
	}
	for at := range longer {
		bad := bytes.Clone(longer)
		bad[at] ^= 1
		f, err := parseVault(bad)
		if err == nil && (len(f.keys) == 2 || at < len(whole)) { // the last one may seem to be cut short
			t.Fatalf("byte %d changed is not noticed", at)
		}
	}
}

// TestVaultRotate: all keys open under the new master, the old file's do under
// the old; with the process killed between, either is whole.
func TestVaultRotate(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, vaultName)
	v := vaultOf(t, dir, "words")
	id, k := key(t, v, "gate", 1)
	late, kl, durable, _ := v.ForDay("gate", 2) // not yet saved
	before, _ := os.ReadFile(path)
	in, _ := v.Info()
	master, err := v.Rotate()
	if err != nil || master == in.Master {
		t.Fatal(err)
	}
	<-durable
	after, _ := os.ReadFile(path)
	third, k3 := key(t, v, "gate", 3) // wrapped under the new one
	for name, b := range map[string][]byte{"killed before": before, "killed behind": after} {
		os.WriteFile(path, b, 0o600)
		os.WriteFile(path+".tmp", after[:len(after)/2], 0o600)
		v := vaultOf(t, dir, "words")
		if got, err := v.Key(id); err != nil || got != k {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := v.Key(late); name == "killed behind" && (err != nil || got != kl) {
			t.Errorf("%s: %v", name, err)
		}
	}
	os.WriteFile(path, after, 0o600)
	f, err := parseVault(after)
	if err != nil {
		t.Fatal(err)
	}
	old, err := parseVault(before)
	if err != nil {
		t.Fatal(err)
	}
	oldKey, _ := old.master.unwrap("words")
	g, _ := masterGCM(&oldKey)
	for i := range f.keys {
		if _, err := f.keys[i].open(g); err == nil {
			t.Error("the old master opens what was put under the new one")
		}
	}
	_ = third
	_ = k3
}

// TestVaultRotateRace: keys made while the master changes are under the one
// that is in force.
func TestVaultRotateRace(t *testing.T) {
	dir := t.TempDir()
	v := vaultOf(t, dir, "")
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- v.Run(ctx) }()
	made := map[KeyID][32]byte{}
	for day := range uint32(200) {
		id, k, durable, err := v.ForDay("gate", day)
		if err != nil {
			t.Fatal(err)
		}
		made[id] = k
		if day%20 == 0 {
			if _, err := v.Rotate(); err != nil {
				t.Fatal(err)
			}
		}
		if day%7 == 0 && durable != nil {
			<-durable
		}
	}
	stop()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	v = vaultOf(t, dir, "")
	for id, k := range made {
		if got, err := v.Key(id); err != nil || got != k {
			t.Fatal(err)
		}
	}
}

func TestVaultDestroy(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, vaultName)
	v := vaultOf(t, dir, "")
	id, _ := key(t, v, "gate", 1)
	other, ko := key(t, v, "gate", 2)
	yard, _ := key(t, v, "yard", 1)
	held, err := os.Open(path) // as a reader of the old file
	if err != nil {
		t.Fatal(err)
	}
	defer held.Close()
	backup, _ := os.ReadFile(path)
	if n, err := v.Destroy("gate", 1, "anna"); n != 1 || err != nil {
		t.Fatal(n, err)
	}
	if n, err := v.Destroy("gate", 9, "anna"); n != 0 || err != nil {
		t.Fatal(n, err)
	}
	old := make([]byte, len(backup))
	if n, _ := held.ReadAt(old, 0); n != len(old) || !bytes.Equal(old, make([]byte, n)) {
		t.Error("the replaced file was not overwritten")
	}
	for _, v := range []*Vault{v, vaultOf(t, dir, "")} {
		var gone *GoneError
		if _, err := v.Key(id); !errors.As(err, &gone) || !gone.Destroyed() || !strings.Contains(err.Error(), "anna") {
			t.Errorf("the destroyed key: %v", err)
		}
		if k, err := v.Key(other); err != nil || k != ko {
			t.Error(err)
		}
		if _, err := v.Key(yard); err != nil {
			t.Error(err)
		}
		if in, _ := v.Info(); in.Keys != 2 || len(in.Destroyed) != 1 || in.Destroyed[0].UID != "gate" {
			t.Errorf("%+v", in)
		}
	}
	now, _ := os.ReadFile(path)
	f, _ := parseVault(now)
	if slices.ContainsFunc(f.keys, func(k vaultKey) bool { return k.id == id }) {
		t.Error("its wrapped key is still in the file")
	}
	// The documents say so: a backup made before holds the key.
	os.WriteFile(path, backup, 0o600)
	if _, err := vaultOf(t, dir, "").Key(id); err != nil {
		t.Error(err)
	}
}

// TestVaultExport: an export says what it opens, needs its passphrase, and is a
// vault when it is put in the place of one, by itself or behind a signing key.
func TestVaultExport(t *testing.T) {
	dir := t.TempDir()
	v := vaultOf(t, dir, "inner")
	id, k := key(t, v, "gate", 20000)
	key(t, v, "gate", 20003)
	if _, err := v.Export(""); err == nil {
		t.Error("an export without a passphrase")
	}
	out, err := v.Export("outer")
	if err != nil {
		t.Fatal(err)
	}
	in, _ := v.Info()
	for _, want := range []string{"Master: " + in.Master.String(), "Opens: 2024-10-04 to 2024-10-07", "Keys: 2"} {
		if !strings.Contains(string(out), want) {
			t.Errorf("%q is missing in\n%s", want, out)
		}
	}
	if err := os.MkdirAll(filepath.Join(dir, publicFolder), 0o700); err != nil {
		t.Fatal(err)
	}
	signing, err := Export(dir, "inner", "outer")
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range [][]byte{out, append(signing, out...)} {
		there := t.TempDir()
		os.WriteFile(filepath.Join(there, vaultName), b, 0o600)
		if v := OpenVault(VaultOptions{Dir: there, Passphrase: "inner", Make: true}); v.Err() == nil {
			t.Error("the passphrase of the server opens the export")
		}
		got, err := vaultOf(t, there, "outer").Key(id)
		if err != nil || got != k {
			t.Error(err)
		}
		key(t, vaultOf(t, there, "outer"), "yard", 5) // it grows on
		if in, _ := vaultOf(t, there, "outer").Info(); in.Keys != 3 {
			t.Error(in.Keys)
		}
	}
}

// TestVaultSaveFails: a key is not called durable before it is; the file is
// written anew after a failure.
func TestVaultSaveFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, vaultName)
	v := vaultOf(t, dir, "")
	_, _, durable, _ := v.ForDay("gate", 1)
	if err := os.Rename(path, path+".away"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(path, 0o700); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if v.flush() == nil {
			t.Fatal("saved into a folder")
		}
	}
	select {
	case <-durable:
		t.Fatal("durable without being saved")
	default:
	}
	os.Remove(path)
	os.WriteFile(path, []byte("half a fi"), 0o600)
	if err := v.flush(); err != nil {
		t.Fatal(err)
	}
	<-durable
	if in, _ := vaultOf(t, dir, "").Info(); in.Keys != 1 {
		t.Error(in.Keys)
	}
}

// TestVaultExample decodes the example of FORMAT.md.
func TestVaultExample(t *testing.T) {
	doc, err := os.ReadFile("FORMAT.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```vault\n(.*?)```").FindSubmatch(doc)
	if m == nil {
		t.Fatal("FORMAT.md has no example")
	}
	b, err := hex.DecodeString(strings.Join(strings.Fields(string(m[1])), ""))
	if err != nil {
		t.Fatal(err)
	}
	f, err := parseVault(b)
	if err != nil || f.good != len(b) {
		t.Fatal(err)
	}
	master, err := f.master.unwrap("example")
	if err != nil || master != [32]byte{1} {
		t.Fatalf("%x %v", master, err)
	}
	g, _ := masterGCM(&master)
	k, err := f.keys[0].open(g)
	if err != nil || k != [32]byte{2} || f.keys[0].uid != "gate" || f.keys[0].day != 20786 || f.keys[0].id != (KeyID{0xaa}) {
		t.Errorf("%x %+v %v", k, f.keys[0], err)
	}
	if d := f.gone[0]; d.ID != (KeyID{0xbb}) || d.UID != "yard" || d.Day != 20785 || d.Who != "anna" || d.At.UnixMilli() != 1796000000000 {
		t.Errorf("%+v", d)
	}
}

func FuzzVault(f *testing.F) {
	m, _ := wrapMaster(KeyID{1}, 5, &[32]byte{1}, "")
	k := vaultKey{id: KeyID{2}, uid: "gate", day: 7}
	d := GoneKey{ID: KeyID{3}, UID: "yard", Who: "anna"}
	f.Add(d.append(k.append(m.append([]byte(vaultMagic)))))
	f.Add([]byte("-----BEGIN MEDIA-SERVER ENCRYPTION KEYS-----\n-----END MEDIA-SERVER ENCRYPTION KEYS-----\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		v, err := parseVault(b)
		if err != nil {
			return
		}
		again := v.master.append([]byte(vaultMagic))
		for i := range v.keys {
			again = v.keys[i].append(again)
		}
		for i := range v.gone {
			again = v.gone[i].append(again)
		}
		w, err := parseVault(again)
		if err != nil || len(w.keys) != len(v.keys) || len(w.gone) != len(v.gone) {
			t.Fatal(err)
		}
	})
}
