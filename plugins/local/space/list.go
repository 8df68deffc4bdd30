package space

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sort"
	"strings"
	"time"
)

// Entry is one file.
type Entry struct {
	Name     string
	Size     int64
	Modified time.Time
}

// Stat describes a file. A growing file has the size that counts: less than it
// has on disk when its last sync failed.
func (s *Space) Stat(name string) (Entry, bool, error) {
	if err := CheckName(name); err != nil {
		return Entry{}, false, err
	}
	fi, err := s.root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return Entry{}, false, nil
	}
	if err != nil {
		return Entry{}, false, wrap(name, "stat", err)
	}
	if !fi.Mode().IsRegular() {
		return Entry{}, false, nil
	}
	return s.entry(name, fi), true, nil
}

func (s *Space) entry(name string, fi os.FileInfo) Entry {
	e := Entry{name, fi.Size(), fi.ModTime()}
	s.mu.Lock()
	f := s.files[name]
	s.mu.Unlock()
	if f != nil && f.mu.TryLock() { // a stuck write must not hang this
		e.Size = min(e.Size, f.size)
		f.mu.Unlock()
	}
	return e
}

// List calls each for every file whose name begins with prefix and comes
// behind after, sorted by the bytes of the name. Files and folders whose names
// the protocol cannot carry are left out, and so is .space. An error of each
// ends it.
func (s *Space) List(ctx context.Context, prefix, after string, each func(Entry) error) error {
	err := s.list(ctx, "", prefix, after, each)
	if err != nil && ReasonOf(err) == IOError {
		return wrap("", "list", err)
	}
	return err
}

func (s *Space) list(ctx context.Context, dir, prefix, after string, each func(Entry) error) error {
	at := "."
	if dir != "" {
		at = strings.TrimSuffix(dir, "/")
	}
	entries, err := fs.ReadDir(s.root.FS(), at)
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) { // removed meanwhile
			return nil
		}
		return err
	}
	// A folder sorts as its name with a slash, so that walking gives the order
	// of whole names: "a-b/x" before "a/x".
	keys := make([]string, len(entries))
	byKey := make(map[string]fs.DirEntry, len(entries))
	for i, e := range entries {
		keys[i] = dir + e.Name()
		if e.IsDir() {
			keys[i] += "/"
		}
		byKey[keys[i]] = e
	}
	sort.Strings(keys)
	for _, k := range keys {
		if err := ctx.Err(); err != nil {
			return err
		}
		e := byKey[k]
		if e.IsDir() {
			if skipFolder(k, prefix, after) {
				continue
			}
			if err := s.list(ctx, k, prefix, after, each); err != nil {
				return err
			}
			continue
		}
		if !e.Type().IsRegular() || k <= after || !strings.HasPrefix(k, prefix) || CheckName(k) != nil {
			continue
		}
		fi, err := e.Info()
		if err != nil {
			continue // removed meanwhile
		}
		if err := each(s.entry(k, fi)); err != nil {
			return err
		}
	}
	return nil
}

// skipFolder tells whether nothing below dir (with its slash) can be wanted.
func skipFolder(dir, prefix, after string) bool {
	if hidden(strings.TrimSuffix(dir, "/")) || CheckName(strings.TrimSuffix(dir, "/")) != nil {
		return true
	}
	if !strings.HasPrefix(dir, prefix) && !strings.HasPrefix(prefix, dir) {
		return true
	}
	return after > dir && !strings.HasPrefix(after, dir)
}
