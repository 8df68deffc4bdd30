package space

import (
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"
)

// file is one growing file with its descriptor kept open.
type file struct {
	name string

	mu       sync.Mutex
	fd       *os.File
	size     int64 // bytes that count; after a failed sync less than the file has
	reserved int64 // blocks are reserved up to here
	counted  int64 // what usage holds for it
	synced   int64 // bytes that survive a power cut; -1 = not known (opened, not yet written)
	dirty    bool  // in Space.dirty
	named    bool  // its name survives a power cut
	failed   bool  // drop messages past size without a word
	gone     bool  // sealed, deleted or closed: look it up again
	last     time.Time

	// The kernel tells each failed write once for a descriptor: of two syncs at a
	// time one is told that all is well. Taken after mu.
	syncing sync.Mutex
	doubt   error // what a round was told, until it has acted on it
}

// close needs f.mu.
func (f *file) close() {
	f.gone = true
	f.fd.Close()
}

// open gives the file locked; the caller unlocks it. create makes it where it
// does not exist.
func (s *Space) open(name string, create bool) (f *file, made bool, err error) {
	for {
		s.mu.Lock()
		f := s.files[name]
		s.mu.Unlock()
		if f == nil {
			if f, made, err = s.load(name, create); err != nil {
				return nil, false, err
			}
		}
		f.mu.Lock()
		if !f.gone {
			return f, made, nil
		}
		f.mu.Unlock()
	}
}

// load opens a file that is not in the table. Two callers at once agree on
// one entry.
func (s *Space) load(name string, create bool) (*file, bool, error) {
	fd, made, err := s.openFile(name, create)
	if err != nil {
		return nil, false, wrap(name, "open", err)
	}
	fi, err := fd.Stat()
	if err != nil || !fi.Mode().IsRegular() {
		fd.Close()
		if err == nil {
			return nil, false, refuse(NotFound, name, "not a regular file")
		}
		return nil, false, wrap(name, "stat", err)
	}
	f := &file{name: name, fd: fd, size: fi.Size(), reserved: blocks(fi), synced: -1}
	f.counted = blocks(fi)
	s.mu.Lock()
	if other := s.files[name]; other != nil {
		s.mu.Unlock()
		fd.Close()
		return other, false, nil
	}
	s.files[name] = f
	// Also for one that was there: the process before may have died between
	// making it and the sync of its folder.
	s.dirs[folder(name)] = struct{}{}
	s.mu.Unlock()
	// Sealed or deleted between open and the table: not this name any more.
	if at, err := s.root.Lstat(name); err != nil || !os.SameFile(at, fi) {
		f.mu.Lock()
		s.forget(f)
		f.mu.Unlock()
		return nil, false, refuse(NotFound, name, "no such file")
	}
	return f, made, nil
}

func (s *Space) openFile(name string, create bool) (*os.File, bool, error) {
	fd, err := s.root.OpenFile(name, os.O_RDWR, 0)
	if err == nil || !create || !errors.Is(err, fs.ErrNotExist) {
		return fd, false, err
	}
	s.meta.Lock()
	defer s.meta.Unlock()
	fd, err = s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
	if errors.Is(err, fs.ErrNotExist) {
		if err = s.mkdirs(folder(name)); err == nil {
			fd, err = s.root.OpenFile(name, os.O_RDWR|os.O_CREATE, 0o640)
		}
	}
	return fd, true, err
}

// mkdirs makes a folder and marks those above it as changed. Needs meta.
func (s *Space) mkdirs(dir string) error {
	if dir == "." {
		return nil
	}
	if _, err := s.root.Lstat(dir); err == nil {
		return nil
	}
	if err := s.mkdirs(folder(dir)); err != nil {
		return err
	}
	if err := s.root.Mkdir(dir, 0o750); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	s.touchDir(folder(dir))
	return nil
}

func (s *Space) touchDir(dir string) {
	s.mu.Lock()
	s.dirs[dir] = struct{}{}
	s.mu.Unlock()
	s.wake()
}

// forget drops a file from the table and closes it. Needs f.mu.
func (s *Space) forget(f *file) {
	s.mu.Lock()
	if s.files[f.name] == f {
		delete(s.files, f.name)
	}
	if f.dirty { // with fsync = off no round would ever take it out
		s.dirty = slices.DeleteFunc(s.dirty, func(d *file) bool { return d == f })
	}
	s.mu.Unlock()
	f.close()
}

// markDirty needs f.mu.
func (s *Space) markDirty(f *file) {
	if f.dirty {
		return
	}
	f.dirty = true
	s.mu.Lock()
	s.dirty = append(s.dirty, f)
	s.mu.Unlock()
	s.wake()
}

func (s *Space) wake() {
	select {
	case s.kick <- struct{}{}:
	default:
	}
}

// idleAfter is how long a file stays open that nobody appends to.
const idleAfter = 5 * time.Minute

// closeIdle gives back descriptors of files that were left alone. Called by
// the sync loop, so that it needs no wake-up of its own.
func (s *Space) closeIdle(now time.Time) {
	s.mu.Lock()
	var idle []*file
	for _, f := range s.files {
		idle = append(idle, f)
	}
	s.mu.Unlock()
	for _, f := range idle {
		if !f.mu.TryLock() {
			continue
		}
		// What lies behind size is in doubt, which nobody else remembers.
		fi, err := f.fd.Stat()
		doubt := err != nil || fi.Size() > f.size
		if !f.gone && !f.dirty && !f.failed && !doubt && now.Sub(f.last) > idleAfter {
			s.forget(f)
		}
		f.mu.Unlock()
	}
}
