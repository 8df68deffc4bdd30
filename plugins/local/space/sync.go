package space

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"sync"
	"sync/atomic"
	"time"
)

// syncWorkers is the most fdatasync calls under way at a time. More of them
// only queue in the kernel; each holds a thread.
const syncWorkers = 16

// Run syncs until ctx ends, and once more then. One round runs at a time. A
// round begins no sooner than an interval after the one before began; where a
// sync outlasts the interval, no sooner than its own duration after its end,
// so that the disk has half of its time for other things.
func (s *Space) Run(ctx context.Context) error {
	defer close(s.done)
	var wg sync.WaitGroup
	defer wg.Wait()
	wg.Go(func() { s.countAll(ctx) })
	pause := time.NewTimer(0)
	if !pause.Stop() {
		<-pause.C
	}
	waiting, ready := false, true // pause is running; a round may begin
	idle := time.Now()
	for {
		kick := s.kick
		if !ready {
			kick = nil
		}
		var forced chan error
		select {
		case <-ctx.Done():
			if s.set.Load().Fsync > 0 {
				_, _ = s.round() // what failed is said to the session and the log
			}
			return nil
		case <-pause.C:
			waiting, ready = false, true
			continue
		case forced = <-s.force:
		case <-kick:
			if s.set.Load().Fsync == 0 {
				continue
			}
		}
		took, err := s.round()
		if forced != nil {
			forced <- err
		}
		if waiting {
			pause.Stop()
		}
		pause.Reset(rest(s.set.Load().Fsync, took))
		waiting, ready = true, false
		if now := time.Now(); now.Sub(idle) > idleAfter {
			idle = now
			s.closeIdle(now)
		}
	}
}

// rest is the time from the end of a round to the next.
func rest(interval, took time.Duration) time.Duration {
	if took <= interval/2 {
		return interval - took
	}
	return max(took, interval/2)
}

// Sync makes durable what was written before the call. Run must be running.
func (s *Space) Sync(ctx context.Context, epoch uint64) error {
	if err := s.begin(epoch); err != nil {
		return err
	}
	defer s.gate.leave()
	reply := make(chan error, 1)
	select {
	case s.force <- reply:
	case <-s.done:
		return refuse(NotReady, "", "the space is being closed")
	case <-ctx.Done():
		return ctx.Err()
	}
	select {
	case err := <-reply:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// snap is a file as it was when a round began.
type snap struct {
	f    *file
	size int64
	err  error
}

// round makes durable what is dirty and reports it to the session.
func (s *Space) round() (time.Duration, error) {
	s.mu.Lock()
	session := s.session
	var seq uint64
	if session != nil {
		// Before the files are looked at: all up to seq is in them.
		seq = session.seen()
	}
	files := s.dirty
	s.dirty = nil
	var dirs map[string]struct{}
	if len(s.dirs) > 0 {
		dirs, s.dirs = s.dirs, map[string]struct{}{}
	}
	s.mu.Unlock()
	snaps := make([]snap, 0, len(files))
	for _, f := range files {
		f.mu.Lock()
		f.dirty = false
		if !f.gone {
			if e := s.check(f); e != nil {
				s.tell(e) // taken by another program
			} else {
				snaps = append(snaps, snap{f: f, size: f.size})
			}
		}
		f.mu.Unlock()
	}
	if len(snaps) == 0 && len(dirs) == 0 && session == nil {
		return 0, nil
	}
	start := time.Now()
	first, wide := s.flush(snaps, dirs)
	took := time.Since(start)
	lost := s.settle(snaps)
	if wide {
		lost += s.distrustRest(snaps, first)
	}
	if first != nil {
		s.log.Error("sync failed", "space", s.name, "err", first, "files", lost)
	}
	s.mu.Lock()
	same := session == s.session // else another has taken its place, which is told what failed and sends everything again
	s.mu.Unlock()
	if session != nil && same {
		session.durable(seq, took, s.calls.Load())
	}
	return took, first
}

// flush calls the kernel; each snap gets its error. The first error is returned, and
// whether it concerns more than the snaps: what was written since they were taken.
func (s *Space) flush(snaps []snap, dirs map[string]struct{}) (first error, wide bool) {
	if s.fs.syncfs && len(snaps)+len(dirs) > 1 {
		s.calls.Add(1)
		err := s.disk.syncfs(int(s.dir.Fd()))
		if err != nil {
			return s.failAll(snaps, dirs, err), true
		}
		return nil, false
	}
	s.flushFiles(snaps)
	for i := range snaps {
		if snaps[i].err != nil {
			first = snaps[i].err
			break
		}
	}
	for d := range dirs {
		s.calls.Add(1)
		if err := syncDir(s.disk, s.root, d); err != nil && s.isFolder(d) {
			// Names are in doubt, so all files are.
			return s.failAll(snaps, dirs, err), true
		}
	}
	return first, false
}

// distrustRest takes back all else that is in doubt when a call failed that is for
// more than one file: the next such call succeeds, whatever it was that is lost.
func (s *Space) distrustRest(but []snap, err error) (lost int) {
	s.mu.Lock()
	files := make(map[*file]bool, len(s.files))
	for _, f := range s.files {
		files[f] = true
	}
	s.mu.Unlock()
	for _, sn := range but {
		delete(files, sn.f)
	}
	for f := range files {
		f.mu.Lock()
		if !f.gone && (f.dirty || f.synced >= 0 && (f.size > f.synced || !f.named)) {
			_ = s.distrust(f, err) // tells the session
			lost++
		}
		f.mu.Unlock()
	}
	return lost
}

// isFolder tells whether a folder that could not be synced is one. What another
// program has removed or put a link in the place of has no names of ours any
// more; to distrust every file of the space for it would stop all recording.
func (s *Space) isFolder(dir string) bool {
	fi, err := s.root.Lstat(dir)
	if errors.Is(err, fs.ErrNotExist) || err == nil && !fi.IsDir() {
		s.log.Warn("a folder was removed or replaced by another program", "space", s.name, "folder", dir)
		return false
	}
	return true
}

func (s *Space) failAll(snaps []snap, dirs map[string]struct{}, err error) error {
	for i := range snaps {
		snaps[i].err = err
	}
	s.mu.Lock()
	for d := range dirs {
		s.dirs[d] = struct{}{}
	}
	s.mu.Unlock()
	return err
}

func (s *Space) flushFiles(snaps []snap) {
	one := func(sn *snap) {
		sn.f.syncing.Lock()
		defer sn.f.syncing.Unlock()
		sn.err = s.disk.fdatasync(sn.f.fd)
		if errors.Is(sn.err, os.ErrClosed) {
			sn.err = nil // sealed meanwhile, which syncs; or deleted
			return       // no call was made
		}
		sn.f.doubt = sn.err
		s.calls.Add(1)
	}
	if len(snaps) == 1 {
		one(&snaps[0])
		return
	}
	var next atomic.Int64
	var wg sync.WaitGroup
	for range min(len(snaps), syncWorkers) {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= len(snaps) {
					return
				}
				one(&snaps[i])
			}
		})
	}
	wg.Wait()
}

// settle writes the outcome into the files, and returns how many are not durable.
func (s *Space) settle(snaps []snap) (lost int) {
	for _, sn := range snaps {
		f := sn.f
		f.mu.Lock()
		switch {
		case f.gone:
		case sn.err != nil:
			_ = s.distrust(f, sn.err) // tells the session
			f.syncing.Lock()
			f.doubt = nil
			f.syncing.Unlock()
			lost++
		default:
			if !f.failed || sn.size <= f.size {
				f.synced = max(f.synced, min(sn.size, f.size))
			}
			// The folder was in this round, or in an earlier one that worked:
			// a round that fails puts it back.
			f.named = true
		}
		f.mu.Unlock()
	}
	return lost
}

// distrust takes a file back to what was last known durable, and tells the session
// before anything else may pass for durable: the next sync succeeds, since the kernel
// tells of each failure once. Of a file that this process has not written to, only
// the sender knows what is in doubt; all of it counts until it is sent again. Needs
// f.mu.
func (s *Space) distrust(f *file, err error) *Error {
	known := f.synced >= 0
	if known {
		f.size = f.synced
	}
	e := &Error{Reason: SyncFailed, Name: f.name, Size: f.size, What: "sync failed; what was written since the last sync may be lost", Err: err}
	f.failed = s.tell(e) || known
	return e
}

// tell gives a failure to the session; false = there is none. Needs the mu of the
// file it is about, so that a session that begins is either told or sends again.
func (s *Space) tell(e *Error) bool {
	s.mu.Lock()
	c := s.session
	s.mu.Unlock()
	if c != nil {
		c.lose(e)
	}
	return c != nil
}
