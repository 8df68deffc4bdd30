package archive

import (
	"os"
	"sync"
	"time"
)

// Who plays the same file at about the same time reads through one descriptor: asking
// the storage for another one costs a message to its process and back, as much as
// sending a second of video. It stays open a little behind the last reader, for the next one.
//
// It never keeps a file: where one is to be deleted, or has moved, its descriptor goes
// with the last reader, or before it.

// descriptorIdle is how long a descriptor stays open that nobody reads through. A space
// that somebody wants to unmount is held up no longer.
const descriptorIdle = 2 * time.Second

// descriptorAge is how old one may be that a new reader gets: a share that was mounted
// anew answers under its name, and no more where it was open.
const descriptorAge = 10 * time.Second

// descriptors are those of files that are read, or were just now.
type descriptors struct {
	mu sync.Mutex
	m  map[FileID]*descriptor
}

// descriptor is an open file; its offset is nobody's.
type descriptor struct {
	fd    *os.File
	sp    *space
	since time.Time
	users int
	idle  *time.Timer // closes it; nil = somebody reads, or it is not kept
	kept  bool        // listed, for the next reader
}

// take gives the descriptor of a file in a space, nil if none is open.
func (d *descriptors) take(id FileID, sp *space) *descriptor {
	d.mu.Lock()
	x := d.m[id]
	if x == nil || x.sp != sp {
		d.mu.Unlock()
		return nil
	}
	if time.Since(x.since) > descriptorAge {
		over := d.unlist(id, x)
		d.mu.Unlock()
		shut(over)
		return nil
	}
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
	x.users++
	d.mu.Unlock()
	return x
}

// add lists a descriptor for its first reader and those who come later, in place of an
// older one.
func (d *descriptors) add(id FileID, sp *space, fd *os.File) *descriptor {
	d.mu.Lock()
	x := &descriptor{fd: fd, sp: sp, since: time.Now(), users: 1, kept: true}
	var over *os.File
	if old := d.m[id]; old != nil {
		over = d.unlist(id, old)
	}
	if d.m == nil {
		d.m = map[FileID]*descriptor{}
	}
	d.m[id] = x
	d.mu.Unlock()
	shut(over)
	return x
}

// give ends a reader's use.
func (d *descriptors) give(id FileID, x *descriptor) {
	d.mu.Lock()
	var over *os.File
	switch x.users--; {
	case x.users > 0:
	case !x.kept:
		over = x.fd
	default:
		x.idle = time.AfterFunc(descriptorIdle, func() { d.dropIdle(id, x) })
	}
	d.mu.Unlock()
	shut(over)
}

func (d *descriptors) dropIdle(id FileID, x *descriptor) {
	d.mu.Lock()
	var over *os.File
	if x.users == 0 { // else somebody took it meanwhile
		over = d.unlist(id, x)
	}
	d.mu.Unlock()
	shut(over)
}

// unlist lets nobody else come to a descriptor; without readers it is returned, to be
// closed when d.mu, which is held, is not any more: over a network that takes time.
func (d *descriptors) unlist(id FileID, x *descriptor) *os.File {
	if !x.kept {
		return nil
	}
	x.kept = false
	if d.m[id] == x {
		delete(d.m, id)
	}
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
	if x.users > 0 {
		return nil
	}
	return x.fd
}

// shut closes what nobody reads any more; no lock is held.
func shut(fd *os.File) {
	if fd != nil {
		fd.Close()
	}
}

// drop closes the descriptor of a file, behind those who read through it. No lock is held.
func (d *descriptors) drop(id FileID) {
	d.mu.Lock()
	var over *os.File
	if x := d.m[id]; x != nil {
		over = d.unlist(id, x)
	}
	d.mu.Unlock()
	shut(over)
}

// cut closes a descriptor under its readers: who reads through it hears that the file is
// gone, as this one does.
func (d *descriptors) cut(id FileID, x *descriptor) {
	d.mu.Lock()
	d.unlist(id, x)
	x.users--
	d.mu.Unlock()
	shut(x.fd)
}

// close drops all of them.
func (d *descriptors) close() {
	d.mu.Lock()
	var over []*os.File
	for id, x := range d.m {
		over = append(over, d.unlist(id, x))
	}
	d.mu.Unlock()
	for _, fd := range over {
		shut(fd)
	}
}
