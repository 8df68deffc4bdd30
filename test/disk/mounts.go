package disk

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
	"unsafe"

	"golang.org/x/sys/unix"
)

// Ext4 mounts a fresh ext4 of size bytes, in a file of the test's folder, and
// gives the folder it is mounted at. It is unmounted when the test ends.
func Ext4(t testing.TB, size int64) string {
	t.Helper()
	needRoot(t)
	for tool, pack := range map[string]string{"mkfs.ext4": "e2fsprogs", "mount": "mount"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Fatalf("%s is missing: install the Debian package %s", tool, pack)
		}
	}
	base := t.TempDir()
	image, dir := filepath.Join(base, "image"), filepath.Join(base, "mnt")
	run := func(name string, args ...string) {
		if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", name, err, out)
		}
	}
	if err := os.Mkdir(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, size); err != nil {
		t.Fatal(err)
	}
	run("mkfs.ext4", "-q", "-m", "0", "-F", image)
	run("mount", "-o", "loop", image, dir)
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// Tmpfs mounts a tmpfs of size bytes until the test ends.
func Tmpfs(t testing.TB, size int64) string {
	t.Helper()
	needRoot(t)
	dir := t.TempDir()
	if err := unix.Mount("tmpfs", dir, "tmpfs", 0, fmt.Sprintf("size=%d", size)); err != nil {
		t.Fatalf("mount tmpfs: %v", err)
	}
	t.Cleanup(func() { unmount(t, dir) })
	return dir
}

// Fuse mounts a file system of this package until the test ends.
func Fuse(t testing.TB, seed uint64) *FS {
	t.Helper()
	needRoot(t)
	if _, err := os.Stat("/dev/fuse"); err != nil {
		t.Skip("/dev/fuse is missing: load the kernel module fuse")
	}
	f, err := Mount(t.TempDir(), seed)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	})
	return f
}

// Remount turns a mount read-only or back.
func Remount(dir string, readOnly bool) error {
	flags := uintptr(unix.MS_REMOUNT)
	if readOnly {
		flags |= unix.MS_RDONLY
	}
	return unix.Mount("", dir, "", flags, "")
}

func needRoot(t testing.TB) {
	if os.Geteuid() != 0 {
		t.Skip("mounting needs root")
	}
}

func unmount(t testing.TB, dir string) {
	err := unix.Unmount(dir, 0)
	// A process that was killed holds its files until the kernel has taken it
	// apart; with dirty pages of an ext4 image below, that takes a while.
	for end := time.Now().Add(20 * time.Second); errors.Is(err, unix.EBUSY) && time.Now().Before(end); {
		time.Sleep(50 * time.Millisecond)
		err = unix.Unmount(dir, 0)
	}
	if err != nil { // a file is still open: say so, but leave nothing mounted
		t.Errorf("unmount %s: %v", dir, err)
		unix.Unmount(dir, unix.MNT_DETACH)
	}
}

// Extents tells in how many pieces a file lies on its disk.
func Extents(path string) (int, error) {
	f, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer f.Close()
	// struct fiemap of linux/fiemap.h, without room for extents: the kernel
	// then only counts them.
	var m struct {
		start, length         uint64
		flags, mapped, count_ uint32
		_                     uint32
	}
	m.length = ^uint64(0)
	m.flags = 1 // FIEMAP_FLAG_SYNC: blocks are chosen at write-back only
	const fsIocFiemap = 0xC020660B
	if _, _, errno := unix.Syscall(unix.SYS_IOCTL, f.Fd(), fsIocFiemap, uintptr(unsafe.Pointer(&m))); errno != 0 {
		return 0, fmt.Errorf("FIEMAP %s: %w", path, errno)
	}
	return int(m.mapped), nil
}
