package storagetest

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"media-server/core/archive"
)

// appender answers in order; its answers wait in a slice.
type appender struct {
	d     *Dir
	epoch uint64
	wg    sync.WaitGroup
	stop  chan struct{}

	// d.mu guards the rest.
	answers []archive.AppendResult
	wake    chan struct{}
	err     error
	seq     uint64 // last one written
	synced  uint64
	closed  bool
	files   map[string]*os.File
}

// Append implements archive.Storage.
func (d *Dir) Append(ctx context.Context) (archive.Appender, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if err := d.alive(); err != nil {
		return nil, err
	}
	if d.NoAppend {
		return nil, errors.ErrUnsupported
	}
	a := &appender{d: d, epoch: d.epoch, stop: make(chan struct{}), wake: make(chan struct{}, 1), files: map[string]*os.File{}}
	d.apps[a] = struct{}{}
	if d.SyncEvery > 0 {
		a.wg.Go(a.syncLoop)
	}
	return a, nil
}

func (a *appender) breakLocked(err error) {
	if a.err == nil {
		a.err = err
	}
	a.poke()
}

func (a *appender) poke() {
	select {
	case a.wake <- struct{}{}:
	default:
	}
}

func (a *appender) push(r archive.AppendResult) {
	a.answers = append(a.answers, r)
	a.poke()
}

func (a *appender) syncLoop() {
	t := time.NewTicker(a.d.SyncEvery)
	defer t.Stop()
	for {
		select {
		case <-a.stop:
			return
		case <-t.C:
			a.d.mu.Lock()
			a.syncLocked()
			a.d.mu.Unlock()
		}
	}
}

func (a *appender) syncLocked() {
	if a.err != nil || a.synced == a.seq {
		return
	}
	if a.d.syncBad > 0 {
		a.d.syncBad--
		for name, u := range a.d.dirty { // what was not durable is gone
			if info, err := os.Stat(a.d.path(name)); err == nil && info.Size() > u.durable && os.Truncate(a.d.path(name), u.durable) == nil {
				a.d.used -= info.Size() - u.durable
			}
		}
		a.d.dirty = map[string]*unsynced{}
		a.push(archive.AppendResult{Kind: archive.Failed, Sequence: a.synced + 1, Reason: archive.FailSync, Message: "made to fail"})
		a.err = errors.New("storagetest: sync failed")
		return
	}
	a.d.syncLocked()
	a.synced = a.seq
	a.push(archive.AppendResult{Kind: archive.Synced, Sequence: a.seq, Took: a.d.takes})
}

// Send implements archive.Appender.
func (a *appender) Send(m archive.AppendData) error {
	d := a.d
	if d.BeforeAppend != nil {
		d.BeforeAppend(m.Name)
	}
	d.mu.Lock()
	stalled := d.stalled
	d.mu.Unlock()
	if stalled != nil {
		select {
		case <-stalled:
		case <-a.stop:
		}
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if a.err != nil || a.closed {
		return errors.Join(errors.New("storagetest: append stream is over"), a.err)
	}
	if reason := a.writeLocked(m); reason != 0 {
		a.push(archive.AppendResult{Kind: archive.Failed, Sequence: m.Sequence, Name: m.Name, Reason: reason, Message: "made to fail"})
		a.err = errors.New("storagetest: append failed")
		return nil
	}
	d.Appends++
	a.seq = m.Sequence
	a.push(archive.AppendResult{Kind: archive.Written, Sequence: m.Sequence})
	if d.SyncEvery == 0 {
		a.syncLocked()
	}
	return nil
}

func (a *appender) writeLocked(m archive.AppendData) archive.FailReason {
	d := a.d
	if d.fail != nil {
		if r := d.fail(m); r != 0 {
			return r
		}
	}
	f := a.files[m.Name]
	if f == nil {
		flags := os.O_RDWR
		if m.Create {
			flags |= os.O_CREATE
			os.MkdirAll(filepath.Dir(d.path(m.Name)), 0o755)
		}
		var err error
		if f, err = os.OpenFile(d.path(m.Name), flags, 0o644); errors.Is(err, fs.ErrNotExist) {
			return archive.FailNotFound
		} else if err != nil {
			return archive.FailIO
		}
		a.files[m.Name] = f
	}
	info, err := f.Stat()
	if err != nil {
		return archive.FailIO
	}
	if m.Offset > info.Size() {
		return archive.FailBadOffset
	}
	end := m.Offset
	for _, p := range m.Payload {
		end += int64(len(p))
	}
	grows := max(0, end-info.Size())
	if d.limit > 0 && !d.lifted && d.used+grows > d.limit {
		return archive.FailNoSpace
	}
	at := m.Offset
	for _, p := range m.Payload {
		if _, err := f.WriteAt(p, at); err != nil {
			return archive.FailIO
		}
		at += int64(len(p))
	}
	d.used += grows
	u := d.dirty[m.Name]
	if u == nil {
		u = &unsynced{durable: info.Size()}
		if m.Create {
			u.durable = 0
		}
		d.dirty[m.Name] = u
	}
	u.size = max(u.size, end, info.Size())
	return 0
}

// Recv implements archive.Appender.
func (a *appender) Recv() (archive.AppendResult, error) {
	for {
		a.d.mu.Lock()
		if len(a.answers) > 0 {
			r := a.answers[0]
			a.answers = a.answers[1:]
			a.d.mu.Unlock()
			return r, nil
		}
		err := a.err
		if a.closed && err == nil {
			err = os.ErrClosed
		}
		a.d.mu.Unlock()
		if err != nil {
			return archive.AppendResult{}, err
		}
		<-a.wake
	}
}

// Close implements archive.Appender.
func (a *appender) Close() error {
	a.d.mu.Lock()
	if a.closed {
		a.d.mu.Unlock()
		return nil
	}
	a.closed = true
	a.answers = nil
	delete(a.d.apps, a)
	close(a.stop)
	for _, f := range a.files {
		f.Close()
	}
	a.poke()
	a.d.mu.Unlock()
	a.wg.Wait()
	return nil
}
