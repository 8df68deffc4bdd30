package space

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"syscall"
)

// check tells whether a growing file is still what this process made of it.
// Another program may have deleted or renamed it: then the descriptor leads to
// bytes that no name leads to, and all that is written goes with them. Or it
// was cut: then a write behind the end leaves a hole of zeros. Both would be
// taken for footage until somebody played it. Needs f.mu.
func (s *Space) check(f *file) *Error {
	fi, err := f.fd.Stat()
	if err != nil {
		return nil //nolint:nilerr // the sync that follows tells
	}
	if at, err := s.root.Lstat(f.name); errors.Is(err, fs.ErrNotExist) || err == nil && !os.SameFile(at, fi) {
		return s.taken(f)
	}
	return s.checkSize(f, fi)
}

// checkOpen is the part of check that costs one look at the descriptor, and
// has to come before each write: afterwards the file is long again. Needs f.mu.
func (s *Space) checkOpen(f *file) *Error {
	fi, err := f.fd.Stat()
	if err != nil {
		return nil //nolint:nilerr // the write that follows tells
	}
	if st, ok := fi.Sys().(*syscall.Stat_t); ok && st.Nlink == 0 {
		return s.taken(f)
	}
	return s.checkSize(f, fi)
}

func (s *Space) checkSize(f *file, fi os.FileInfo) *Error {
	if fi.Size() >= f.size {
		return nil
	}
	s.log.Error("a growing file was cut by another program", "space", s.name, "file", f.name, "size", fi.Size(), "was", f.size)
	e := &Error{Reason: BadOffset, Name: f.name, Size: fi.Size(),
		What: "another program cut the file from " + strconv.FormatInt(f.size, 10) + " to " + strconv.FormatInt(fi.Size(), 10) + " bytes while it grew"}
	f.size, f.synced, f.failed = fi.Size(), min(f.synced, fi.Size()), true
	s.use.count.RLock()
	s.recount(f)
	s.use.count.RUnlock()
	return e
}

// taken drops a file that its name does not lead to any more.
func (s *Space) taken(f *file) *Error {
	s.log.Error("a growing file was deleted, renamed or replaced by another program", "space", s.name, "file", f.name)
	s.use.count.RLock()
	s.account(f, 0)
	s.use.count.RUnlock()
	s.forget(f)
	return refuse(NotFound, f.name, "another program deleted, renamed or replaced the file while it grew")
}
