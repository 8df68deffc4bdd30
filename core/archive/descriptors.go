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
	defer d.mu.Unlock()
	x := d.m[id]
	if x == nil || x.sp != sp {
		return nil
	}
	if time.Since(x.since) > descriptorAge {
		d.unlist(id, x)
		return nil
	}
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
	x.users++
	return x
}

// add lists a descriptor for its first reader and those who come later, in place of an
// older one.
func (d *descriptors) add(id FileID, sp *space, fd *os.File) *descriptor {
	d.mu.Lock()
	defer d.mu.Unlock()
	x := &descriptor{fd: fd, sp: sp, since: time.Now(), users: 1, kept: true}
	if old := d.m[id]; old != nil {
		d.unlist(id, old)
	}
	if d.m == nil {
		d.m = map[FileID]*descriptor{}
	}
	d.m[id] = x
	return x
}

// give ends a reader's use.
func (d *descriptors) give(id FileID, x *descriptor) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x.users--; x.users > 0 {
		return
	}
	if !x.kept {
		x.fd.Close()
		return
	}
	var t *time.Timer
	t = time.AfterFunc(descriptorIdle, func() {
		d.mu.Lock()
		defer d.mu.Unlock()
		if x.idle == t { // else somebody took it meanwhile
			d.unlist(id, x)
		}
	})
	x.idle = t
}

// unlist lets nobody else come to a descriptor; without readers it is closed. d.mu is held.
func (d *descriptors) unlist(id FileID, x *descriptor) {
	if !x.kept {
		return
	}
	x.kept = false
	if d.m[id] == x {
		delete(d.m, id)
	}
	if x.idle != nil {
		x.idle.Stop()
		x.idle = nil
	}
	if x.users == 0 {
		x.fd.Close()
	}
}

// drop closes the descriptor of a file, behind those who read through it.
func (d *descriptors) drop(id FileID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if x := d.m[id]; x != nil {
		d.unlist(id, x)
	}
}

// close drops all of them.
func (d *descriptors) close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for id, x := range d.m {
		d.unlist(id, x)
	}
}
