package disk

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"syscall"
	"time"

	"github.com/hanwen/go-fuse/v2/fs"
	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// FS is a mounted file system.
type FS struct {
	dir     string
	server  *fuse.Server
	closing chan struct{}
	close   sync.Once

	mu       sync.Mutex
	rng      *rand.PCG
	root     *inode
	last     uint64 // inode numbers
	log      []op
	frozen   bool
	readOnly bool
	space    int64 // most bytes; 0 = no limit
	used     int64
	faults   []*fault
	hits     int
	counts   map[Op]uint64
}

// Mount mounts an empty file system at dir. The same seed draws the same
// survivors from the same history. Close ends it.
func Mount(dir string, seed uint64) (*FS, error) {
	f := &FS{dir: dir, closing: make(chan struct{}), rng: rand.NewPCG(seed, seed), counts: map[Op]uint64{}}
	f.root = f.newInode(true, 0o755)
	zero := time.Duration(0)
	server, err := fs.Mount(dir, &node{fs: f, n: f.root}, &fs.Options{
		EntryTimeout: &zero, AttrTimeout: &zero, NegativeTimeout: &zero,
		MountOptions: fuse.MountOptions{FsName: "power-cut", Name: "disktest", DirectMount: true, MaxWrite: 1 << 20},
	})
	if err != nil {
		return nil, fmt.Errorf("mount FUSE (needs root and /dev/fuse): %w", err)
	}
	f.server = server
	return f, nil
}

// Close unmounts, also when files are still open, and waits for the server.
func (f *FS) Close() error {
	f.close.Do(func() { close(f.closing) })
	if err := unix.Unmount(f.dir, unix.MNT_DETACH); err != nil && err != unix.EINVAL {
		return err
	}
	f.server.Wait()
	return nil
}

// Dir is where it is mounted.
func (f *FS) Dir() string { return f.dir }

// SetReadOnly makes every change fail with EROFS.
func (f *FS) SetReadOnly(on bool) {
	f.mu.Lock()
	f.readOnly = on
	f.mu.Unlock()
}

// SetSpace is the most bytes all files may have together; 0 = no limit.
func (f *FS) SetSpace(bytes int64) {
	f.mu.Lock()
	f.space = bytes
	f.mu.Unlock()
}

// Calls counts the calls of these kinds so far.
func (f *FS) Calls(ops Op) (n uint64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for op, c := range f.counts {
		if op&ops != 0 {
			n += c
		}
	}
	return n
}

// Syncs counts fsync and fdatasync calls, of files and folders.
func (f *FS) Syncs() uint64 { return f.Calls(Fsync | FsyncDir) }

func (f *FS) newInode(dir bool, mode uint32) *inode {
	f.last++
	n := &inode{id: f.last, isDir: dir, mode: mode, mtime: time.Now().UnixNano()}
	if dir {
		n.children, n.names = map[string]*inode{}, map[string]*inode{}
	}
	return n
}

// node is an inode as the FUSE library wants it.
type node struct {
	fs.Inode
	fs *FS
	n  *inode
}

var (
	_ fs.NodeCreater   = (*node)(nil)
	_ fs.NodeMkdirer   = (*node)(nil)
	_ fs.NodeUnlinker  = (*node)(nil)
	_ fs.NodeRmdirer   = (*node)(nil)
	_ fs.NodeRenamer   = (*node)(nil)
	_ fs.NodeOpener    = (*node)(nil)
	_ fs.NodeReader    = (*node)(nil)
	_ fs.NodeWriter    = (*node)(nil)
	_ fs.NodeFsyncer   = (*node)(nil)
	_ fs.NodeSetattrer = (*node)(nil)
	_ fs.NodeGetattrer = (*node)(nil)
	_ fs.NodeStatfser  = (*node)(nil)
)

func (x *node) path() string { return x.Path(nil) }

func (x *node) fill(a *fuse.Attr) {
	n := x.n
	a.Ino, a.Mode, a.Nlink, a.Blksize = n.id, n.mode|syscall.S_IFREG, 1, pageSize
	if n.isDir {
		a.Mode = n.mode | syscall.S_IFDIR
	}
	a.Size = uint64(len(n.data))
	a.Blocks = (a.Size + pageSize - 1) / pageSize * (pageSize / 512)
	a.Mtime, a.Mtimensec = uint64(n.mtime/1e9), uint32(n.mtime%1e9)
}

// add makes a child; needs the lock.
func (x *node) add(ctx context.Context, name string, dir bool, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	if x.n.children[name] != nil {
		return nil, syscall.EEXIST
	}
	n := x.fs.newInode(dir, mode&0o7777)
	x.n.children[name] = n
	x.fs.log = append(x.fs.log, op{kind: opCreate, node: n, dir: x.n, name: name})
	child := &node{fs: x.fs, n: n}
	child.fill(&out.Attr)
	typ := uint32(syscall.S_IFREG)
	if dir {
		typ = syscall.S_IFDIR
	}
	return x.NewPersistentInode(ctx, child, fs.StableAttr{Mode: typ, Ino: n.id}), 0
}

func (x *node) Create(ctx context.Context, name string, flags, mode uint32, out *fuse.EntryOut) (*fs.Inode, fs.FileHandle, uint32, syscall.Errno) {
	errno := x.fs.enter(ctx, Create, x.path()+"/"+name)
	defer x.fs.mu.Unlock()
	if errno != 0 {
		return nil, nil, 0, errno
	}
	n, errno := x.add(ctx, name, false, mode, out)
	return n, nil, 0, errno
}

func (x *node) Mkdir(ctx context.Context, name string, mode uint32, out *fuse.EntryOut) (*fs.Inode, syscall.Errno) {
	errno := x.fs.enter(ctx, Create, x.path()+"/"+name)
	defer x.fs.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	return x.add(ctx, name, true, mode, out)
}

func (x *node) Unlink(ctx context.Context, name string) syscall.Errno {
	errno := x.fs.enter(ctx, Unlink, x.path()+"/"+name)
	defer x.fs.mu.Unlock()
	n := x.n.children[name]
	switch {
	case errno != 0:
		return errno
	case n == nil:
		return syscall.ENOENT
	case n.isDir && len(n.children) > 0:
		return syscall.ENOTEMPTY
	}
	x.drop(name, n)
	return 0
}

// drop takes a name away; needs the lock.
func (x *node) drop(name string, n *inode) {
	delete(x.n.children, name)
	x.fs.used -= int64(len(n.data))
	x.fs.log = append(x.fs.log, op{kind: opUnlink, node: n, dir: x.n, name: name})
}

func (x *node) Rmdir(ctx context.Context, name string) syscall.Errno { return x.Unlink(ctx, name) }

func (x *node) Rename(ctx context.Context, name string, to fs.InodeEmbedder, newName string, flags uint32) syscall.Errno {
	errno := x.fs.enter(ctx, Rename, x.path()+"/"+name)
	defer x.fs.mu.Unlock()
	if errno != 0 {
		return errno
	}
	n, t := x.n.children[name], to.(*node)
	old := t.n.children[newName]
	switch {
	case n == nil:
		return syscall.ENOENT
	case flags&unix.RENAME_EXCHANGE != 0:
		return syscall.EINVAL
	case old != nil && flags&unix.RENAME_NOREPLACE != 0:
		return syscall.EEXIST
	case old != nil && old.isDir != n.isDir:
		return syscall.EISDIR
	case old != nil && len(old.children) > 0:
		return syscall.ENOTEMPTY
	}
	if old != nil {
		x.fs.used -= int64(len(old.data))
	}
	delete(x.n.children, name)
	t.n.children[newName] = n
	x.fs.log = append(x.fs.log, op{kind: opRename, node: n, dir: x.n, name: name, to: t.n, rname: newName})
	return 0
}

func (x *node) Open(ctx context.Context, flags uint32) (fs.FileHandle, uint32, syscall.Errno) {
	x.fs.mu.Lock()
	defer x.fs.mu.Unlock()
	switch {
	case x.fs.frozen:
		return nil, 0, syscall.EIO
	case x.fs.readOnly && flags&(syscall.O_WRONLY|syscall.O_RDWR) != 0:
		return nil, 0, syscall.EROFS
	}
	return nil, 0, 0
}

func (x *node) Read(ctx context.Context, _ fs.FileHandle, dest []byte, off int64) (fuse.ReadResult, syscall.Errno) {
	errno := x.fs.enter(ctx, Read, x.path())
	defer x.fs.mu.Unlock()
	if errno != 0 {
		return nil, errno
	}
	if off >= int64(len(x.n.data)) {
		return fuse.ReadResultData(nil), 0
	}
	return fuse.ReadResultData(dest[:copy(dest, x.n.data[off:])]), 0
}

func (x *node) Write(ctx context.Context, _ fs.FileHandle, data []byte, off int64) (uint32, syscall.Errno) {
	errno := x.fs.enter(ctx, Write, x.path())
	defer x.fs.mu.Unlock()
	if errno != 0 {
		return 0, errno
	}
	if n := off + int64(len(data)) - int64(len(x.n.data)); n > 0 {
		if x.fs.space > 0 && x.fs.used+n > x.fs.space {
			return 0, syscall.ENOSPC
		}
		x.fs.used += n
	}
	x.n.write(data, off)
	x.n.mtime = time.Now().UnixNano()
	return uint32(len(data)), 0
}

func (x *node) Fsync(ctx context.Context, _ fs.FileHandle, flags uint32) syscall.Errno {
	op := Fsync
	if x.n.isDir {
		op = FsyncDir
	}
	errno := x.fs.enter(ctx, op, x.path())
	defer x.fs.mu.Unlock()
	switch {
	case errno != 0:
		x.n.lose()
	case x.n.isDir:
		x.fs.syncDir(x.n)
	default:
		x.n.sync()
	}
	return errno
}

func (x *node) Setattr(ctx context.Context, _ fs.FileHandle, in *fuse.SetAttrIn, out *fuse.AttrOut) syscall.Errno {
	if size, ok := in.GetSize(); ok {
		errno := x.fs.enter(ctx, Truncate, x.path())
		defer x.fs.mu.Unlock()
		if errno != 0 {
			return errno
		}
		x.fs.used += int64(size) - int64(len(x.n.data))
		x.n.truncate(int64(size))
	} else {
		x.fs.mu.Lock()
		defer x.fs.mu.Unlock()
		if mode, ok := in.GetMode(); ok {
			x.n.mode = mode & 0o7777
		}
	}
	x.fill(&out.Attr)
	return 0
}

func (x *node) Getattr(ctx context.Context, _ fs.FileHandle, out *fuse.AttrOut) syscall.Errno {
	errno := x.fs.enter(ctx, Look, "")
	defer x.fs.mu.Unlock()
	if errno != 0 {
		return errno
	}
	x.fill(&out.Attr)
	return 0
}

func (x *node) Statfs(ctx context.Context, out *fuse.StatfsOut) syscall.Errno {
	errno := x.fs.enter(ctx, Look, "")
	defer x.fs.mu.Unlock()
	if errno != 0 {
		return errno
	}
	total := x.fs.space
	if total == 0 {
		total = 1 << 40
	}
	out.Bsize, out.Frsize, out.NameLen = pageSize, pageSize, 255
	out.Blocks = uint64(total) / pageSize
	out.Bfree = uint64(max(0, total-x.fs.used)) / pageSize
	out.Bavail = out.Bfree
	return 0
}
