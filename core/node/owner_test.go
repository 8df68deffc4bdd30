package node

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"
)

// TestGiveBack: what root makes in another user's folder is that user's in the
// end, but for what has a second name, and for what lies outside.
func TestGiveBack(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("giving files to another user needs root")
	}
	const other = 65534
	base := t.TempDir()
	dir := filepath.Join(base, "data")
	if err := os.MkdirAll(filepath.Join(dir, "keys", "public"), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(path string) string {
		t.Helper()
		if err := os.WriteFile(path, []byte("x"), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	owner := func(path string) uint32 {
		t.Helper()
		fi, err := os.Lstat(path)
		if err != nil {
			t.Fatal(err)
		}
		return fi.Sys().(*syscall.Stat_t).Uid
	}
	made, deep := write(filepath.Join(dir, "epoch")), write(filepath.Join(dir, "keys", "public", "a.pem"))
	outside := write(filepath.Join(base, "shadow"))
	twice, link, third := filepath.Join(dir, "twice"), filepath.Join(dir, "link"), write(filepath.Join(dir, "third"))
	if err := os.Link(outside, twice); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(outside, link); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(third, 1234, 1234); err != nil {
		t.Fatal(err)
	}
	if err := giveBack(dir); err != nil { // root's own folder
		t.Fatal(err)
	}
	if owner(made) != 0 {
		t.Error("given away though the folder is root's")
	}
	if err := os.Chown(dir, other, other); err != nil {
		t.Fatal(err)
	}
	if err := giveBack(dir); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]uint32{made: other, deep: other, filepath.Dir(deep): other, outside: 0, link: 0, third: 1234} {
		if got := owner(path); got != want {
			t.Errorf("%s is of user %d, not %d", path, got, want)
		}
	}
	if err := giveBack(filepath.Join(base, "none")); err != nil {
		t.Errorf("a folder that is not there: %v", err)
	}
}
