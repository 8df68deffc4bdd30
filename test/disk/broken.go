package disk

import (
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
)

// Broken is an ext4 on a block device whose medium can be made to fail: a loop
// device over a file of a Mount. What the kernel makes of it is what it makes
// of a dying disk: an aborted journal, a file system that turns read-only.
type Broken struct {
	Dir string // where it is mounted
	fs  *FS
}

// BrokenExt4 mounts one of size bytes, a few dozen megabytes, until the test
// ends.
func BrokenExt4(t testing.TB, size int64) *Broken {
	t.Helper()
	if _, err := os.Stat("/dev/loop-control"); err != nil {
		t.Skip("/dev/loop-control is missing: load the kernel module loop")
	}
	if _, err := exec.LookPath("mkfs.ext4"); err != nil {
		t.Fatal("mkfs.ext4 is missing: install the Debian package e2fsprogs")
	}
	b := &Broken{fs: Fuse(t, 1), Dir: filepath.Join(t.TempDir(), "mnt")}
	image := filepath.Join(b.fs.Dir(), "image")
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(b.Dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"mkfs.ext4", "-q", "-m", "0", "-F", image}, {"mount", "-o", "loop", image, b.Dir}} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", args[0], err, out)
		}
	}
	t.Cleanup(func() {
		b.fs.heal()
		unmount(t, b.Dir)
	})
	return b
}

// Break makes every write to the medium, and every flush of it, fail.
func (b *Broken) Break() { b.fs.Inject(Fault{Ops: Write | Fsync, Err: syscall.EIO}) }

// Hits tells how many calls have failed.
func (b *Broken) Hits() int { return b.fs.Hits() }

// heal takes all faults away.
func (f *FS) heal() {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, e := range f.faults {
		close(e.ends)
	}
	f.faults = nil
}
