package timeline

import (
	"os"

	"media-server/core/archive"
)

// lazyPins is how many files of one response are held at a time: a day of
// footage is hundreds of files, and a response reads them one after the other.
const lazyPins = 4

// Lazy gives the files of one response, each pinned when its first byte is
// read and let go when the response has moved on. One response reads with one
// goroutine; the files must not be shared.
type Lazy struct {
	pin  func(id archive.FileID) (File, error)
	held []*lazyFile
	slab []lazyFile
}

// NewLazy makes the files of a response about a stream.
func (t *Timeline) NewLazy(uid string) *Lazy {
	return &Lazy{pin: func(id archive.FileID) (File, error) { return t.Pin(uid, id) }}
}

// lazySlab is how many files' names are made at a time.
const lazySlab = 64

// File names a file; nothing is opened yet.
func (l *Lazy) File(id archive.FileID) File {
	if len(l.slab) == 0 {
		l.slab = make([]lazyFile, lazySlab)
	}
	f := &l.slab[0]
	l.slab = l.slab[1:]
	f.set, f.id = l, id
	return f
}

// Release lets go of all files.
func (l *Lazy) Release() {
	for _, f := range l.held {
		f.Release()
	}
	l.held = nil
}

type lazyFile struct {
	set *Lazy
	id  archive.FileID
	f   File
}

func (l *lazyFile) open() error {
	if l.f != nil {
		return nil
	}
	f, err := l.set.pin(l.id)
	if err != nil {
		return err
	}
	l.f = f
	held := append(l.set.held, l)
	if len(held) > lazyPins {
		held[0].Release()
		held = held[1:]
	}
	l.set.held = held
	return nil
}

func (l *lazyFile) ReadAt(p []byte, off int64) (int, error) {
	if err := l.open(); err != nil {
		return 0, err
	}
	return l.f.ReadAt(p, off)
}

func (l *lazyFile) File() (*os.File, int64, bool) {
	if l.open() != nil {
		return nil, 0, false
	}
	return l.f.File()
}

func (l *lazyFile) Release() {
	if l.f != nil {
		l.f.Release()
		l.f = nil
	}
}

// NewLazyOf makes the files of a response that pin opens.
func NewLazyOf(pin func(id archive.FileID) (File, error)) *Lazy { return &Lazy{pin: pin} }
