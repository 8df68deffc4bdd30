package disk

import (
	"bytes"
	"slices"
)

const pageSize = 4096

// inode is a file or folder, with what the program sees and what a power cut
// would leave for certain.
type inode struct {
	id       uint64
	isDir    bool
	mode     uint32
	children map[string]*inode // live; folders
	names    map[string]*inode // stable; folders
	data     []byte            // live
	stable   []byte
	dirty    map[int64]struct{} // pages changed since the last sync that worked
	mtime    int64
}

// opKind is a change of names.
type opKind uint8

const (
	opCreate opKind = iota // also mkdir
	opUnlink               // also rmdir
	opRename
)

// op is a change of names that no sync has covered yet.
type op struct {
	kind        opKind
	node        *inode
	dir, to     *inode // to: rename only
	name, rname string
}

func (o op) touches(dir *inode) bool { return o.dir == dir || o.to == dir }

// slot is one place a name can be.
type slot struct {
	dir  *inode
	name string
}

func (o op) slots() []slot {
	s := []slot{{o.dir, o.name}}
	if o.kind == opRename {
		s = append(s, slot{o.to, o.rname})
	}
	return s
}

// after tells whether o cannot have happened without the earlier e.
func (o op) after(e op) bool {
	if e.node == o.node || e.node == o.dir || e.node == o.to {
		return true
	}
	for _, a := range o.slots() {
		if slices.Contains(e.slots(), a) {
			return true
		}
	}
	return false
}

// apply changes names; false where it does not fit.
func (o op) apply(names func(*inode) map[string]*inode) bool {
	d := names(o.dir)
	switch o.kind {
	case opCreate:
		if d[o.name] != nil {
			return false
		}
		d[o.name] = o.node
	case opUnlink:
		if d[o.name] != o.node || o.node.isDir && len(names(o.node)) > 0 {
			return false
		}
		delete(d, o.name)
	case opRename:
		if d[o.name] != o.node {
			return false
		}
		delete(d, o.name)
		names(o.to)[o.rname] = o.node
	}
	return true
}

func stableNames(n *inode) map[string]*inode { return n.names }

// syncDir makes the names in a folder stable, and what they depend on.
func (f *FS) syncDir(dir *inode) {
	need := make([]bool, len(f.log))
	for i := len(f.log) - 1; i >= 0; i-- {
		if !need[i] && f.log[i].touches(dir) {
			need[i] = true
		}
		if !need[i] {
			continue
		}
		for j := i - 1; j >= 0; j-- {
			if f.log[i].after(f.log[j]) {
				need[j] = true
			}
		}
	}
	rest := f.log[:0]
	for i, o := range f.log {
		if need[i] {
			o.apply(stableNames)
		} else {
			rest = append(rest, o)
		}
	}
	clear(f.log[len(rest):])
	f.log = rest
}

// syncFile makes the bytes of a file stable.
func (n *inode) sync() {
	n.stable = resize(n.stable, len(n.data))
	for p := range n.dirty {
		copyPage(n.stable, n.data, p)
	}
	n.dirty = nil
}

// lose is what a failed fsync does.
func (n *inode) lose() { n.dirty = nil }

func (n *inode) write(p []byte, off int64) {
	if end := off + int64(len(p)); end > int64(len(n.data)) {
		n.touch(int64(len(n.data)), end)
		n.data = resize(n.data, int(end))
	}
	copy(n.data[off:], p)
	n.touch(off, off+int64(len(p)))
}

func (n *inode) truncate(size int64) {
	old := int64(len(n.data))
	n.data = resize(n.data, int(size))
	n.touch(min(old, size), max(old, size)+1)
}

func (n *inode) touch(from, to int64) {
	if n.dirty == nil {
		n.dirty = map[int64]struct{}{}
	}
	for p := from / pageSize; p*pageSize < to; p++ {
		n.dirty[p] = struct{}{}
	}
}

// survivor draws what is left of a file: of what is pending all, nothing, or
// each page by itself.
func (f *FS) survivor(n *inode) []byte {
	if len(n.dirty) == 0 {
		return n.stable
	}
	switch f.rng.Uint64() % 4 {
	case 0:
		return n.stable
	case 1:
		b := resize(bytes.Clone(n.stable), len(n.data))
		for p := range n.dirty {
			copyPage(b, n.data, p)
		}
		return b
	}
	size := len(n.stable)
	if len(n.data) != size && f.coin() {
		size = len(n.data)
	}
	b := resize(bytes.Clone(n.stable), size)
	pages := make([]int64, 0, len(n.dirty))
	for p := range n.dirty {
		pages = append(pages, p)
	}
	slices.Sort(pages) // the same seed gives the same image
	for _, p := range pages {
		if f.coin() {
			copyPage(b, n.data, p)
		}
	}
	return b
}

func (f *FS) coin() bool { return f.rng.Uint64()&1 == 0 }

// copyPage copies what both have of a page; what only dst has becomes zero, as
// behind the end of a file.
func copyPage(dst, src []byte, page int64) {
	from := int(page * pageSize)
	if from >= len(dst) {
		return
	}
	to := min(from+pageSize, len(dst))
	k := 0
	if from < len(src) {
		k = copy(dst[from:to], src[from:])
	}
	clear(dst[from+k : to])
}

func resize(b []byte, n int) []byte {
	if n <= len(b) {
		return b[:n]
	}
	return append(b, make([]byte, n-len(b))...)
}
