package space

import (
	"errors"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// fsInfo is what matters of the file system below a space.
type fsInfo struct {
	magic    int64
	local    bool // reads never wait for another machine or process
	syncfs   bool // one syncfs covers the space and nothing else
	ownMount bool
}

// localTypes are file systems whose data lies in this machine. Network file
// systems and FUSE are left out on purpose: sendfile from a descriptor of
// theirs hangs the reader in the kernel when the far side hangs, where a read
// through the plugin can time out.
var localTypes = map[int64]bool{
	0xEF53:     true, // ext2, ext3, ext4
	0x58465342: true, // xfs
	0x9123683E: true, // btrfs
	0x01021994: true, // tmpfs
	0x858458f6: true, // ramfs
	0xF2F52010: true, // f2fs
	0x2FC12FC1: true, // zfs
	0xca451a4e: true, // bcachefs
	0x794c7630: true, // overlayfs
	0x2011BAB0: true, // exfat
	0x4d44:     true, // vfat
	0x7366746e: true, // ntfs3
}

// syncfsTypes are file systems where syncfs makes data durable and reports
// write errors. FUSE is not: the kernel does not pass syncfs on to it.
var syncfsTypes = map[int64]bool{0xEF53: true, 0x58465342: true, 0x9123683E: true, 0xF2F52010: true, 0x01021994: true}

func inspect(path string) (fsInfo, error) {
	var st unix.Statfs_t
	if err := unix.Statfs(path, &st); err != nil {
		return fsInfo{}, os.NewSyscallError("statfs", err)
	}
	here, err := os.Stat(path)
	if err != nil {
		return fsInfo{}, err
	}
	above, err := os.Stat(filepath.Join(path, ".."))
	if err != nil {
		return fsInfo{}, err
	}
	magic := int64(uint32(st.Type))
	own := here.Sys().(*syscall.Stat_t).Dev != above.Sys().(*syscall.Stat_t).Dev
	return fsInfo{magic: magic, local: localTypes[magic], ownMount: own, syncfs: own && syncfsTypes[magic]}, nil
}

// capacity is what statfs says, in bytes.
type capacity struct {
	total, free int64
	readOnly    bool
}

func (s *Space) capacity() (capacity, error) {
	var st unix.Statfs_t
	if err := s.disk.fstatfs(int(s.dir.Fd()), &st); err != nil {
		return capacity{}, os.NewSyscallError("fstatfs", err)
	}
	bs := st.Frsize
	if bs == 0 {
		bs = st.Bsize
	}
	return capacity{total: int64(st.Blocks) * bs, free: int64(st.Bavail) * bs,
		readOnly: st.Flags&unix.ST_RDONLY != 0}, nil
}

// blocks is what a file takes on the disk: its blocks, or its size where that
// is more (compression, or blocks not allocated yet).
func blocks(fi os.FileInfo) int64 {
	n := fi.Size()
	if st, ok := fi.Sys().(*syscall.Stat_t); ok {
		n = max(n, st.Blocks*512)
	}
	return n
}

// diskCalls holds the system calls that tests replace: to count, to fail, and to
// be the mutants that the power cut test must catch.
type diskCalls struct {
	pwrite    func(f *os.File, p []byte, off int64) (int, error)
	fdatasync func(f *os.File) error
	fsync     func(f *os.File) error
	syncfs    func(fd int) error
	fallocate func(f *os.File, off, n int64) error
	fstatfs   func(fd int, st *unix.Statfs_t) error
}

var realDisk = diskCalls{
	pwrite: func(f *os.File, p []byte, off int64) (int, error) { return f.WriteAt(p, off) },
	fdatasync: func(f *os.File) error {
		return control(f, func(fd int) error { return os.NewSyscallError("fdatasync", unix.Fdatasync(fd)) })
	},
	fsync:  func(f *os.File) error { return f.Sync() },
	syncfs: func(fd int) error { return os.NewSyscallError("syncfs", unix.Syncfs(fd)) },
	fallocate: func(f *os.File, off, n int64) error {
		return control(f, func(fd int) error { return unix.Fallocate(fd, unix.FALLOC_FL_KEEP_SIZE, off, n) })
	},
	fstatfs: unix.Fstatfs,
}

// control runs a call on the descriptor while it cannot be closed. Of a closed
// file it returns os.ErrClosed, which Control itself does not.
func control(f *os.File, call func(fd int) error) error {
	c, err := f.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := c.Control(func(fd uintptr) {
		for {
			if inner = call(int(fd)); !isEINTR(inner) {
				return
			}
		}
	}); err != nil {
		return os.ErrClosed // the one error there is: descriptors of files are valid until then
	}
	return inner
}

func isEINTR(err error) bool {
	return errors.Is(err, syscall.EINTR)
}
