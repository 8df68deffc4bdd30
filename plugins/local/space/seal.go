package space

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
)

// Seal gives a finished file its final name once its bytes are durable. The
// new name itself becomes durable with the next round: when a power cut takes
// it back, the file is whole and lies in open/ under its old name. Repeating a
// Seal whose answer was lost is harmless.
func (s *Space) Seal(epoch uint64, name, final string, size int64) error {
	for _, n := range []string{name, final} {
		if err := CheckName(n); err != nil {
			return err
		}
	}
	if err := s.begin(epoch); err != nil {
		return err
	}
	defer s.gate.leave()
	f, _, err := s.open(name, false)
	if err != nil {
		if ReasonOf(err) == NotFound {
			fi, serr := s.root.Stat(final)
			if serr == nil && fi.Mode().IsRegular() && fi.Size() == size {
				return nil
			}
			if serr != nil && !errors.Is(serr, fs.ErrNotExist) {
				return wrap(final, "look", serr) // it may have the final name already
			}
		}
		return err
	}
	defer f.mu.Unlock()
	if e := s.check(f); e != nil {
		s.tell(e)
		return e
	}
	if f.size != size {
		return &Error{Reason: BadOffset, Name: name, Size: f.size, What: "the file has " + strconv.FormatInt(f.size, 10) +
			" good bytes, not " + strconv.FormatInt(size, 10)}
	}
	if f.failed {
		return &Error{Reason: SyncFailed, Name: name, Size: f.size, What: "what may be lost has not been sent again"}
	}
	if _, err := s.root.Lstat(final); !errors.Is(err, fs.ErrNotExist) {
		if err != nil {
			return wrap(final, "look", err)
		}
		return refuse(Exists, final, "a file of this name exists")
	}
	if err := s.finish(f); err != nil {
		return err
	}
	return s.rename(f, final)
}

// finish trims and syncs. Needs f.mu.
func (s *Space) finish(f *file) error {
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	// Also where the size is right: it frees the blocks behind the end.
	if err := f.fd.Truncate(f.size); err != nil {
		return wrap(f.name, "trim", err)
	}
	if s.set.Load().Fsync > 0 {
		s.calls.Add(1)
		f.syncing.Lock()
		err := s.disk.fdatasync(f.fd)
		if err == nil {
			err = f.doubt
		}
		f.syncing.Unlock()
		if err != nil {
			return s.distrust(f, err)
		}
		f.synced = f.size
		if !f.named { // sealed before the first round saw it
			s.calls.Add(1)
			if err := syncDir(s.disk, s.root, folder(f.name)); err != nil {
				return s.distrust(f, err)
			}
			f.named = true
		}
	}
	s.recount(f)
	return nil
}

// rename moves the name and what is booked for it. Needs f.mu.
func (s *Space) rename(f *file, final string) error {
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	s.meta.Lock()
	defer s.meta.Unlock()
	if err := s.mkdirs(folder(final)); err != nil {
		return wrap(final, "make the folder", err)
	}
	if err := s.root.Rename(f.name, final); err != nil {
		return wrap(f.name, "rename", err)
	}
	n := f.counted
	if fi, err := f.fd.Stat(); err == nil {
		n = blocks(fi)
	}
	s.account(f, 0)
	s.adjust(final, n)
	s.use.freeLeft.Add(-n) // account gave it back, but nothing was freed
	s.touchDir(folder(f.name))
	s.touchDir(folder(final))
	s.forget(f)
	return nil
}

// Truncate cuts a file to size; it never grows it.
func (s *Space) Truncate(epoch uint64, name string, size int64) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := s.begin(epoch); err != nil {
		return err
	}
	defer s.gate.leave()
	f, _, err := s.open(name, false)
	if err != nil {
		return err
	}
	defer f.mu.Unlock()
	fi, err := f.fd.Stat()
	if err != nil {
		return wrap(name, "stat", err)
	}
	if size < 0 || size > fi.Size() {
		return &Error{Reason: BadOffset, Name: name, Size: fi.Size(), What: "a file is not made longer"}
	}
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	if err := f.fd.Truncate(size); err != nil {
		return wrap(name, "truncate", err)
	}
	f.size = size
	if f.synced < 0 {
		f.synced = size
	}
	f.synced = min(f.synced, size)
	f.failed = false
	s.recount(f)
	s.markDirty(f)
	return nil
}

// Write replaces a small file whole and durably. It does not look at
// size-limit: records and ledgers must be written when media may not be.
func (s *Space) Write(epoch uint64, name string, payload []byte) error {
	if err := CheckName(name); err != nil {
		return err
	}
	if err := s.begin(epoch); err != nil {
		return err
	}
	defer s.gate.leave()
	s.mu.Lock()
	_, growing := s.files[name]
	s.mu.Unlock()
	if growing {
		return refuse(Exists, name, "the file is being appended to")
	}
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	s.meta.Lock()
	defer s.meta.Unlock()
	var made []string
	for d := folder(name); ; d = folder(d) {
		made = append(made, d)
		if _, err := s.root.Lstat(d); err == nil || d == "." {
			break
		}
	}
	if err := s.root.MkdirAll(folder(name), 0o750); err != nil {
		return wrap(name, "make the folder", err)
	}
	var before int64
	if fi, err := s.root.Stat(name); err == nil {
		before = blocks(fi)
	}
	s.tmp++
	s.calls.Add(1 + uint64(len(made)))
	tmp := tmpDir + "/w" + strconv.FormatUint(s.tmp, 10)
	err := replace(s.disk, s.root, tmp, name, payload)
	if errors.Is(err, fs.ErrNotExist) { // somebody removed .space/tmp
		_ = s.root.MkdirAll(tmpDir, 0o700) // the next line tells
		err = replace(s.disk, s.root, tmp, name, payload)
	}
	if err != nil {
		return wrap(name, "write", err)
	}
	for _, d := range made {
		if err := syncDir(s.disk, s.root, d); err != nil {
			return wrap(name, "sync the folder", err)
		}
	}
	if fi, err := s.root.Stat(name); err == nil {
		s.adjust(name, blocks(fi)-before)
	}
	return nil
}

// Delete removes files and the folders that become empty. What was not there
// is returned. One that cannot be removed keeps none of the others: the error
// names those that stay, and its reason is that of the first. Removal becomes
// durable with the next round.
func (s *Space) Delete(ctx context.Context, epoch uint64, names []string) (missing []string, err error) {
	if err := s.begin(epoch); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	var stay []error
	for _, n := range names {
		if ctx.Err() != nil {
			return missing, ctx.Err()
		}
		gone, err := s.remove(n)
		if err != nil {
			stay = append(stay, err)
		} else if gone {
			missing = append(missing, n)
		}
	}
	return missing, undeleted(stay)
}

// tellMost is how many files an error names; how many more there are it counts.
const tellMost = 10

// undeleted is one error of files that could not be removed.
func undeleted(stay []error) error {
	if len(stay) < 2 {
		return errors.Join(stay...)
	}
	var text []string
	for _, err := range stay[:min(len(stay), tellMost)] {
		text = append(text, err.Error())
	}
	if more := len(stay) - len(text); more > 0 {
		text = append(text, strconv.Itoa(more)+" more")
	}
	return &Error{Reason: ReasonOf(stay[0]), What: strconv.Itoa(len(stay)) + " files cannot be removed: " + strings.Join(text, "; ")}
}

func (s *Space) remove(name string) (missing bool, err error) {
	if err := CheckName(name); err != nil {
		return false, &Error{Reason: ReasonOf(err), Name: strconv.Quote(name), What: err.Error()}
	}
	s.mu.Lock()
	f := s.files[name]
	s.mu.Unlock()
	if f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.gone {
			f = nil
		}
	}
	s.use.count.RLock()
	defer s.use.count.RUnlock()
	s.meta.Lock()
	defer s.meta.Unlock()
	fi, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	if err == nil && !fi.Mode().IsRegular() {
		return false, refuse(BadName, name, "not a regular file")
	}
	if err == nil {
		err = s.root.Remove(name)
	}
	if err != nil {
		return false, wrap(name, "remove", err)
	}
	if f != nil {
		s.account(f, 0)
		s.forget(f)
	} else {
		s.adjust(name, -blocks(fi))
		s.use.freeLeft.Add(blocks(fi))
	}
	s.touchDir(folder(name))
	s.prune(folder(name))
	return false, nil
}

// prune removes empty folders upwards. Needs meta.
func (s *Space) prune(dir string) {
	for dir != "." && dir+"/" != openPrefix && s.root.Remove(dir) == nil {
		s.mu.Lock()
		delete(s.dirs, dir)
		s.mu.Unlock()
		dir = folder(dir)
		s.touchDir(dir)
	}
}

// OpenFile opens a file for reading. It follows no link out of the space.
func (s *Space) OpenFile(name string) (*os.File, int64, error) {
	if err := CheckName(name); err != nil {
		return nil, 0, err
	}
	f, err := s.root.Open(name)
	if err != nil {
		return nil, 0, wrap(name, "open", err)
	}
	fi, err := f.Stat()
	if err == nil && !fi.Mode().IsRegular() {
		err = refuse(NotFound, name, "not a regular file")
	}
	if err != nil {
		f.Close()
		return nil, 0, wrap(name, "stat", err)
	}
	return f, fi.Size(), nil
}
