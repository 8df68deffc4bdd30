package space

import (
	"context"
	"io/fs"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// usage is how many bytes the space's files take, reserved blocks included.
//
// It is counted once after Open, a folder at a time, while appends go on; no
// request waits for it. Changes below a folder that is still to be counted are
// not booked: counting will see them.
type usage struct {
	bytes   atomic.Int64
	exact   atomic.Bool  // counting has ended
	count   sync.RWMutex // held for writing while one folder is counted
	pending map[string]struct{}

	freeAt    atomic.Int64 // when free was asked for, Unix ns
	freeLeft  atomic.Int64 // what was free then, minus what was written since
	fullTotal atomic.Int64
}

// countAll walks the folder. Needs no order and holds no more than the names
// of the folders still to do.
func (s *Space) countAll(ctx context.Context) {
	s.use.count.Lock()
	s.use.pending = map[string]struct{}{".": {}}
	s.use.bytes.Store(0)
	s.mu.Lock()
	for _, f := range s.files { // booked before the count began: will be seen
		f.counted = 0
	}
	s.mu.Unlock()
	s.use.count.Unlock()
	for ctx.Err() == nil {
		s.use.count.Lock()
		dir, some := "", false
		for dir = range s.use.pending {
			some = true
			break
		}
		if !some {
			s.use.exact.Store(true)
			s.use.count.Unlock()
			return
		}
		s.countFolder(dir)
		s.use.count.Unlock()
	}
}

// countFolder needs use.count for writing.
func (s *Space) countFolder(dir string) {
	delete(s.use.pending, dir)
	entries, err := fs.ReadDir(s.root.FS(), dir)
	if err != nil {
		return
	}
	var sum int64
	for _, e := range entries {
		name := e.Name()
		if dir != "." {
			name = dir + "/" + name
		}
		switch {
		case e.IsDir():
			if name != private && name != "lost+found" {
				s.use.pending[name] = struct{}{}
			}
		case e.Type().IsRegular():
			if fi, err := e.Info(); err == nil {
				sum += s.booked(name, blocks(fi))
			}
		}
	}
	s.use.bytes.Add(sum)
}

// booked tells an open file what the count has booked for it.
func (s *Space) booked(name string, n int64) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	if f := s.files[name]; f != nil {
		n = max(n, f.reserved)
		f.counted = n
	}
	return n
}

// isPending tells whether a file will still be counted. Needs use.count.
func (s *Space) isPending(name string) bool {
	if len(s.use.pending) == 0 {
		return false
	}
	for dir := folder(name); ; dir = folder(dir) {
		if _, ok := s.use.pending[dir]; ok {
			return true
		}
		if dir == "." {
			return false
		}
	}
}

// account books a file's new size. Needs f.mu and use.count for reading.
func (s *Space) account(f *file, n int64) {
	delta := n - f.counted
	if delta == 0 {
		return
	}
	if !s.isPending(f.name) {
		s.use.bytes.Add(delta)
		f.counted = n
	}
	s.use.freeLeft.Add(-delta)
}

// recount looks what a file really takes. Needs f.mu and use.count.
func (s *Space) recount(f *file) {
	if fi, err := f.fd.Stat(); err == nil {
		f.reserved = blocks(fi)
		s.account(f, blocks(fi))
	}
}

// adjust books a file that is not in the table. Needs use.count.
func (s *Space) adjust(name string, delta int64) {
	if !s.isPending(name) {
		s.use.bytes.Add(delta)
	}
}

// limit is size-limit in bytes; 0 = none.
func (s *Space) limit() int64 {
	set := s.set.Load()
	if set.SizeLimit.Percent > 0 {
		return set.SizeLimit.Of(s.total())
	}
	return set.SizeLimit.Bytes
}

func (s *Space) total() int64 {
	if t := s.use.fullTotal.Load(); t > 0 {
		return t
	}
	c, err := s.capacity()
	if err != nil {
		return 0
	}
	s.use.fullTotal.Store(c.total)
	return c.total
}

// room refuses what would break size-limit or reserve. The free space is
// asked for once a second, not with every message. Needs f.mu, use.count.
func (s *Space) room(f *file, end int64) error {
	grow := end - max(f.counted, f.size, f.reserved)
	if grow <= 0 {
		return nil
	}
	if limit := s.limit(); limit > 0 && s.use.bytes.Load()+grow > limit {
		return &Error{Reason: Limit, Name: f.name, Size: f.size, What: "size-limit is reached"}
	}
	set := s.set.Load()
	if set.Reserve == (Size{}) {
		return nil
	}
	if now := time.Now().UnixNano(); now-s.use.freeAt.Load() > int64(time.Second) {
		c, err := s.capacity()
		if err != nil {
			return wrap(f.name, "look at the file system", err)
		}
		s.use.freeAt.Store(now)
		s.use.freeLeft.Store(c.free)
	}
	if s.use.freeLeft.Load()-grow < set.Reserve.Of(s.total()) {
		return &Error{Reason: Limit, Name: f.name, Size: f.size, What: "no more than reserve is free"}
	}
	return nil
}

// Usage is the state of the space in bytes.
type Usage struct {
	Total    int64 // the file system, or size-limit when smaller
	Free     int64 // may still be written
	Used     int64 // by this space, reserved blocks included
	Reserved int64 // reserved and not yet written
	ReadOnly bool
	Exact    bool // Used has been counted since Open
}

// Usage asks the file system, and whether the space is still there.
func (s *Space) Usage() (Usage, error) {
	if err := s.Present(); err != nil {
		return Usage{}, err
	}
	c, err := s.capacity()
	if err != nil {
		return Usage{}, wrap("", "look at the file system", err)
	}
	s.use.fullTotal.Store(c.total)
	if c.readOnly {
		s.readOnly.Store(true)
	}
	set := s.set.Load()
	u := Usage{Total: c.total, Free: c.free - set.Reserve.Of(c.total), Used: s.use.bytes.Load(),
		ReadOnly: s.readOnly.Load(), Exact: s.use.exact.Load()}
	if s.fs.ownMount && !u.Exact {
		u.Used = c.total - c.free
	}
	if l := s.limit(); l > 0 {
		u.Total = min(u.Total, l)
		u.Free = min(u.Free, l-u.Used)
	}
	u.Free = max(u.Free, 0)
	s.mu.Lock()
	files := make([]*file, 0, len(s.files))
	for _, f := range s.files {
		files = append(files, f)
	}
	s.mu.Unlock()
	for _, f := range files {
		if f.mu.TryLock() { // a stuck write must not hang this
			u.Reserved += max(0, f.reserved-f.size)
			f.mu.Unlock()
		}
	}
	return u, nil
}

func hidden(name string) bool {
	return name == private || strings.HasPrefix(name, private+"/") || name == "lost+found" || strings.HasPrefix(name, "lost+found/")
}
