package space

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
)

// Put is one file that comes whole. It grows under a temporary name that no
// list shows; Finish gives it its own. It is used from one goroutine. What a
// crash leaves is swept at the next Open.
type Put struct {
	space *Space
	epoch uint64
	name  string // final
	tmp   string
	size  int64
	at    int64
	fd    *os.File
}

// Put begins a file of size bytes. Every step asks the gate anew, so that a
// newer epoch does not wait for a file that is slow to come.
func (s *Space) Put(epoch uint64, name string, size int64) (*Put, error) {
	if err := CheckName(name); err != nil {
		return nil, err
	}
	if size <= 0 || size > maxFile {
		return nil, &Error{Reason: BadOffset, Name: name, Size: -1, What: "a file has 1 byte or more"}
	}
	if err := s.begin(epoch); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	if err := s.vacant(name); err != nil {
		return nil, err
	}
	p := &Put{space: s, epoch: epoch, name: name, size: size}
	if err := p.room(); err != nil {
		return nil, err
	}
	s.meta.Lock()
	defer s.meta.Unlock()
	s.tmp++
	p.tmp = tmpDir + "/p" + strconv.FormatUint(s.tmp, 10)
	if err := s.root.MkdirAll(tmpDir, 0o700); err != nil {
		return nil, wrap(name, "make the folder", err)
	}
	fd, err := s.root.OpenFile(p.tmp, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o640)
	if err != nil {
		return nil, wrap(name, "make", err)
	}
	p.fd = fd
	return p, nil
}

// vacant refuses a name that is taken.
func (s *Space) vacant(name string) error {
	_, err := s.root.Lstat(name)
	if err == nil {
		return refuse(Exists, name, "a file of this name exists")
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return wrap(name, "look", err)
	}
	return nil
}

// room asks as for a file that grows by what is still to come.
func (p *Put) room() error {
	s := p.space
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	return s.room(&file{name: p.name, size: p.at}, p.size)
}

// Write adds bytes. After an error only Abort is left.
func (p *Put) Write(b []byte) error {
	s := p.space
	if err := s.begin(p.epoch); err != nil {
		return err
	}
	defer s.gate.leave()
	if p.at+int64(len(b)) > p.size {
		return &Error{Reason: BadOffset, Name: p.name, Size: p.at, What: "more bytes came than the file was said to have"}
	}
	if _, err := s.disk.pwrite(p.fd, b, p.at); err != nil {
		return wrap(p.name, "write", err)
	}
	p.at += int64(len(b))
	s.use.freeLeft.Add(-int64(len(b)))
	return nil
}

// Finish makes the file durable and gives it its name.
func (p *Put) Finish() error {
	s := p.space
	if err := s.begin(p.epoch); err != nil {
		return err
	}
	defer s.gate.leave()
	if p.at != p.size {
		return &Error{Reason: BadOffset, Name: p.name, Size: p.at, What: "fewer bytes came than the file was said to have"}
	}
	if err := p.room(); err != nil { // others have written meanwhile
		return err
	}
	if s.set.Load().Fsync > 0 {
		s.calls.Add(1)
		if err := s.disk.fsync(p.fd); err != nil {
			return &Error{Reason: SyncFailed, Name: p.name, Size: -1, What: "sync", Err: err}
		}
	}
	fi, err := p.fd.Stat()
	if err != nil {
		return wrap(p.name, "stat", err)
	}
	return p.rename(blocks(fi))
}

// rename books the file and syncs the folders that were made for it: whoever
// is answered deletes the original next.
func (p *Put) rename(taken int64) error {
	s := p.space
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	s.meta.Lock()
	defer s.meta.Unlock()
	if err := s.vacant(p.name); err != nil {
		return err
	}
	var made []string
	for d := folder(p.name); ; d = folder(d) {
		made = append(made, d)
		if _, err := s.root.Lstat(d); err == nil || d == "." {
			break
		}
	}
	if err := s.mkdirs(folder(p.name)); err != nil {
		return wrap(p.name, "make the folder", err)
	}
	if err := s.root.Rename(p.tmp, p.name); err != nil {
		return wrap(p.name, "rename", err)
	}
	p.tmp = ""
	s.adjust(p.name, taken)
	if s.set.Load().Fsync <= 0 {
		return nil
	}
	s.calls.Add(uint64(len(made)))
	for _, d := range made {
		if err := syncDir(s.disk, s.root, d); err != nil {
			return wrap(p.name, "sync the folder", err)
		}
	}
	return nil
}

// Abort lets go; after Finish nothing of the file is touched.
func (p *Put) Abort() {
	p.fd.Close()
	if p.tmp != "" {
		p.space.root.Remove(p.tmp)
	}
}
