package disk

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"
)

func write(t *testing.T, f *os.File, p []byte, off int64) {
	t.Helper()
	if _, err := f.WriteAt(p, off); err != nil {
		t.Fatal(err)
	}
}

func syncFolder(t *testing.T, dir string) {
	t.Helper()
	d, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		t.Fatal(err)
	}
}

// What was synced survives every cut; what was not is lost in some and kept in
// others, whole or page by page.
func TestCutKeepsSyncedLosesSome(t *testing.T) {
	synced, tail := bytes.Repeat([]byte("s"), 10000), bytes.Repeat([]byte("t"), 10000)
	seen := map[string]bool{}
	for seed := range uint64(16) {
		func() {
			f := Fuse(t, seed)
			base := f.Dir()
			os.Mkdir(filepath.Join(base, "d"), 0o755)
			a, err := os.Create(filepath.Join(base, "d", "a"))
			if err != nil {
				t.Fatal(err)
			}
			defer a.Close()
			write(t, a, synced, 0)
			if err := a.Sync(); err != nil {
				t.Fatal(err)
			}
			syncFolder(t, filepath.Join(base, "d"))
			write(t, a, tail, int64(len(synced)))
			b, _ := os.Create(filepath.Join(base, "b"))
			write(t, b, synced, 0)
			b.Sync() // its name is not
			b.Close()
			image := t.TempDir()
			if _, _, _, err := f.Cut(image); err != nil {
				t.Fatal(err)
			}
			if _, err := a.WriteAt(tail, 0); err == nil {
				t.Error("writing after the cut")
			}
			got, err := os.ReadFile(filepath.Join(image, "d", "a"))
			if err != nil || !bytes.HasPrefix(got, synced) {
				t.Fatalf("seed %d: synced bytes are lost: %v, %d bytes", seed, err, len(got))
			}
			switch {
			case len(got) == len(synced):
				seen["tail lost"] = true
			case bytes.HasSuffix(got, tail):
				seen["tail kept"] = true
			default:
				seen["tail in pieces"] = true
			}
			_, err = os.Stat(filepath.Join(image, "b"))
			seen[fmt.Sprint("b kept ", err == nil)] = true
		}()
	}
	for _, want := range []string{"tail lost", "tail kept", "tail in pieces", "b kept true", "b kept false"} {
		if !seen[want] {
			t.Errorf("never drawn: %s", want)
		}
	}
}

func TestSameSeedSameImage(t *testing.T) {
	draw := func() string {
		f := Fuse(t, 7)
		for i := range 10 {
			os.WriteFile(filepath.Join(f.Dir(), fmt.Sprint("f", i)), bytes.Repeat([]byte{byte(i)}, 9000), 0o600)
		}
		image := t.TempDir()
		f.Cut(image)
		var s string
		names, _ := os.ReadDir(image)
		for _, e := range names {
			b, _ := os.ReadFile(filepath.Join(image, e.Name()))
			s += fmt.Sprintf("%s %x\n", e.Name(), b)
		}
		return s
	}
	if first, again := draw(), draw(); first != again {
		t.Fatal("the seed does not decide")
	}
}

func TestRenameIsWhole(t *testing.T) {
	seen := map[string]bool{}
	for seed := range uint64(12) {
		f := Fuse(t, seed)
		old, final := filepath.Join(f.Dir(), "old"), filepath.Join(f.Dir(), "new", "final")
		os.WriteFile(old, []byte("x"), 0o600)
		a, _ := os.OpenFile(old, os.O_RDWR, 0)
		a.Sync()
		a.Close()
		syncFolder(t, f.Dir())
		os.Mkdir(filepath.Dir(final), 0o755)
		if err := os.Rename(old, final); err != nil {
			t.Fatal(err)
		}
		if seed%2 == 0 {
			syncFolder(t, filepath.Dir(final)) // and so the making of the folder
		}
		image := t.TempDir()
		f.Cut(image)
		_, e1 := os.Stat(filepath.Join(image, "old"))
		_, e2 := os.Stat(filepath.Join(image, "new", "final"))
		if (e1 == nil) == (e2 == nil) {
			t.Fatalf("seed %d: old %v, new %v", seed, e1, e2)
		}
		if seed%2 == 0 && e2 != nil {
			t.Fatalf("seed %d: a synced rename is lost", seed)
		}
		seen[fmt.Sprint(seed%2 == 1 && e2 == nil)] = true
	}
	if len(seen) != 2 {
		t.Error("an unsynced rename never survives")
	}
}

// After a failed fsync the next one says yes, and the data is gone all the
// same.
func TestFailedFsyncLoses(t *testing.T) {
	f := Fuse(t, 1)
	a, err := os.Create(filepath.Join(f.Dir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	write(t, a, []byte("good"), 0)
	a.Sync()
	syncFolder(t, f.Dir())
	write(t, a, []byte("BAD!"), 0)
	f.Inject(Fault{Ops: Fsync, Err: syscall.EIO, Count: 1})
	if a.Sync() == nil {
		t.Fatal("no error")
	}
	if err := a.Sync(); err != nil {
		t.Fatal(err)
	}
	image := t.TempDir()
	f.Cut(image)
	if b, _ := os.ReadFile(filepath.Join(image, "a")); string(b) != "good" {
		t.Fatalf("%q", b)
	}
}

func TestFaults(t *testing.T) {
	f := Fuse(t, 1)
	a, err := os.Create(filepath.Join(f.Dir(), "a"))
	if err != nil {
		t.Fatal(err)
	}
	defer a.Close()
	clear := f.Inject(Fault{Ops: Write, Match: "a", After: 1, Count: 1, Err: syscall.EIO})
	for i, want := range []bool{true, false, true} {
		if _, err := a.WriteAt([]byte("x"), 0); (err == nil) != want {
			t.Errorf("write %d: %v", i, err)
		}
	}
	clear()
	clear = f.Inject(Fault{Ops: Fsync, Stall: time.Hour})
	done := make(chan error)
	go func() { done <- a.Sync() }()
	for f.Hits() < 2 {
		time.Sleep(time.Millisecond)
	}
	// Others go on. Not the file itself: the kernel holds it during a sync.
	if err := os.WriteFile(filepath.Join(f.Dir(), "other"), []byte("y"), 0o600); err != nil {
		t.Error(err)
	}
	clear()
	if err := <-done; err != nil {
		t.Error(err)
	}
	f.SetSpace(100)
	if _, err := a.WriteAt(make([]byte, 200), 0); err == nil {
		t.Error("no ENOSPC")
	}
	f.SetReadOnly(true)
	if _, err := os.Create(filepath.Join(f.Dir(), "b")); err == nil {
		t.Error("no EROFS")
	}
	if f.Syncs() != 1 {
		t.Errorf("%d syncs counted", f.Syncs())
	}
}

func TestMounts(t *testing.T) {
	small := Tmpfs(t, 1<<20)
	if err := os.WriteFile(filepath.Join(small, "x"), make([]byte, 2<<20), 0o600); err == nil {
		t.Error("no ENOSPC on tmpfs")
	}
	ext := Ext4(t, 16<<20)
	path := filepath.Join(ext, "x")
	if err := os.WriteFile(path, make([]byte, 1<<20), 0o600); err != nil {
		t.Fatal(err)
	}
	if n, err := Extents(path); err != nil || n < 1 || n > 2 {
		t.Errorf("%d extents, %v", n, err)
	}
	if err := Remount(ext, true); err != nil {
		t.Fatal(err)
	}
	if os.Remove(path) == nil {
		t.Error("not read-only")
	}
}
