package disk

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"time"
)

// Cut takes the power away: from now on every call fails with EIO, and what
// survived is written below dir, a plain folder, which can take a while. It
// returns the instant of the cut and what was drawn: how many changes of names
// were pending, and how many of them were kept.
func (f *FS) Cut(dir string) (off time.Time, pending, kept int, err error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.frozen, off = true, time.Now()
	copies := map[*inode]map[string]*inode{}
	names := func(n *inode) map[string]*inode {
		if copies[n] == nil {
			copies[n] = maps.Clone(n.names)
			if copies[n] == nil {
				copies[n] = map[string]*inode{}
			}
		}
		return copies[n]
	}
	pending = len(f.log)
	for _, o := range f.log {
		// A folder whose making was lost takes no names: a rename into it is
		// then lost too, and the file stays where it was.
		fits := reachable(f.root, o.dir, names) && (o.to == nil || reachable(f.root, o.to, names))
		if fits && f.coin() && o.apply(names) {
			kept++
		}
	}
	return off, pending, kept, f.write(dir, f.root, names)
}

func reachable(from, n *inode, names func(*inode) map[string]*inode) bool {
	if from == n {
		return true
	}
	if !from.isDir {
		return false
	}
	for _, c := range names(from) {
		if reachable(c, n, names) {
			return true
		}
	}
	return false
}

func (f *FS) write(path string, n *inode, names func(*inode) map[string]*inode) error {
	if !n.isDir {
		return os.WriteFile(path, f.survivor(n), 0o600)
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	children := names(n)
	for _, name := range slices.Sorted(maps.Keys(children)) {
		if err := f.write(filepath.Join(path, name), children[name], names); err != nil {
			return err
		}
	}
	return nil
}
