package disk

import (
	"context"
	"strings"
	"syscall"
	"time"
)

// Op is a kind of call that can go wrong.
type Op uint

const (
	Read Op = 1 << iota
	Write
	Fsync    // of a file; fdatasync too
	FsyncDir // of a folder
	Create   // and mkdir
	Rename
	Unlink // and rmdir
	Truncate
	Look                                                                         // at attributes and free space
	Any  = Read | Write | Fsync | FsyncDir | Create | Rename | Unlink | Truncate // that changes or reads
	All  = Any | Look
)

// Fault is what happens to calls. The first After matching calls pass, the
// next Count (0 = all) are hit.
type Fault struct {
	Ops   Op
	Match string        // only names that contain it
	After int           //
	Count int           //
	Stall time.Duration // wait so long first
	Err   syscall.Errno // then fail with this; 0 = go on
}

type fault struct {
	Fault
	seen int
	ends chan struct{}
}

// Inject adds a fault; the returned function takes it away and lets calls go
// on that are stalled by it.
func (f *FS) Inject(x Fault) (clear func()) {
	e := &fault{Fault: x, ends: make(chan struct{})}
	f.mu.Lock()
	f.faults = append(f.faults, e)
	f.mu.Unlock()
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		for i, o := range f.faults {
			if o == e {
				f.faults = append(f.faults[:i], f.faults[i+1:]...)
				close(e.ends)
				return
			}
		}
	}
}

// Hits tells how many calls faults have hit.
func (f *FS) Hits() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.hits
}

// enter takes the lock, counts a call and lets faults have it. The caller
// unlocks whatever is returned. While a call is stalled the lock is free.
func (f *FS) enter(ctx context.Context, op Op, name string) syscall.Errno {
	f.mu.Lock()
	if f.frozen {
		return syscall.EIO
	}
	f.counts[op]++
	for _, e := range f.faults {
		if e.Ops&op == 0 || !strings.Contains(name, e.Match) {
			continue
		}
		e.seen++
		if e.seen <= e.After || e.Count > 0 && e.seen > e.After+e.Count {
			continue
		}
		f.hits++
		if e.Stall > 0 {
			f.mu.Unlock()
			f.wait(ctx, e)
			f.mu.Lock()
		}
		if e.Err != 0 {
			return e.Err
		}
		break
	}
	switch {
	case f.frozen:
		return syscall.EIO
	case f.readOnly && op&(Write|Create|Rename|Unlink|Truncate) != 0:
		return syscall.EROFS
	}
	return 0
}

func (f *FS) wait(ctx context.Context, e *fault) {
	t := time.NewTimer(e.Stall)
	defer t.Stop()
	select {
	case <-t.C:
	case <-e.ends:
	case <-f.closing:
	case <-ctx.Done(): // the caller was killed
	}
}
