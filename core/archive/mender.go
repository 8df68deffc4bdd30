package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"
)

// wantRebuild asks for a rebuild in the background: of a space, "" = of all.
func (a *Archive) wantRebuild(space string) {
	a.mu.Lock()
	if !slices.Contains(a.toMend, space) {
		a.toMend = append(a.toMend, space)
	}
	a.mu.Unlock()
	poke(a.mend)
}

func (a *Archive) nextToMend() (space string, ok bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.toMend) == 0 {
		return "", false
	}
	space = a.toMend[0]
	a.toMend = a.toMend[1:]
	return space, true
}

// mender rebuilds what was found missing or damaged, in the background.
func (a *Archive) mender(ctx context.Context) {
	failed := map[string]time.Time{} // spaces whose rebuild did not finish: when it is tried again
	for ctx.Err() == nil {
		name, ok := a.nextToMend()
		if !ok {
			a.awaitMend(ctx, failed)
			continue
		}
		delete(failed, name)
		if name == "" {
			clear(failed)
		}
		var err error
		if name != "" && a.isNotOurs(name) {
			err = a.hasRead(ctx, name) // removed meanwhile, or it turned out to be a stranger's
		} else {
			err = a.Rebuild(ctx, name, nil)
		}
		if err == nil || ctx.Err() != nil {
			continue
		}
		a.log.Warn("rebuild did not finish, it is tried again", "space", name, "err", err)
		again := []string{name}
		if left := a.leftToRead(); name == "" && len(left) > 0 {
			again = left // those alone: what was read need not be read again
		}
		for _, name := range again {
			failed[name] = time.Now().Add(mendAgain)
		}
	}
}

// isNotOurs tells whether there is nothing to be read in a space: it was removed,
// or nobody has said yet that what lies there is to be taken.
func (a *Archive) isNotOurs(name string) bool {
	s := a.space(name)
	if s == nil {
		return true
	}
	stranger, err := a.isStranger(s)
	return err == nil && stranger && s.isLost()
}

// isKnown tells whether a space is the one that it should be, and what grew in it
// was recovered.
func (s *space) isKnown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.known
}

// mayScan refuses to list what lies in a space before it is known that it is the
// space, and before what grew in it was recovered: its last ledger is not listed
// until then, and recovery would not see that the space was read without. Who is
// refused is asked for again as soon as that is decided.
func (a *Archive) mayScan(s *space) error {
	a.mu.Lock()
	a.untold[s] = true
	a.mu.Unlock()
	s.mu.Lock()
	known, lost, why := s.known, s.lost, s.failing
	s.mu.Unlock()
	switch {
	case known:
		a.mu.Lock()
		delete(a.untold, s)
		a.mu.Unlock()
		return nil
	case lost:
		return errors.New("the space is lost")
	case why != "":
		return fmt.Errorf("the space is not open: %s", why)
	}
	return errors.New("the space is not open yet")
}

// isTold lets a scan that mayScan refused begin, or be refused for good.
func (a *Archive) isTold(s *space) {
	a.mu.Lock()
	waits := a.untold[s]
	delete(a.untold, s)
	a.mu.Unlock()
	if waits {
		a.wantRebuild(s.cfg.Name)
	}
}

const mendAgain = 30 * time.Second

// awaitMend waits until there is something to rebuild: asked for now, or to be
// tried again. One space that is lost keeps no other waiting.
func (a *Archive) awaitMend(ctx context.Context, failed map[string]time.Time) {
	next := time.Now().Add(time.Hour)
	for _, at := range failed {
		if at.Before(next) {
			next = at
		}
	}
	t := time.NewTimer(time.Until(next))
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-a.mend:
	case <-t.C:
		for name, at := range failed {
			if !time.Now().Before(at) {
				a.wantRebuild(name)
			}
		}
	}
}

// worker does what somebody asked for and did not wait for: there is one job a
// space at most.
func (a *Archive) worker(ctx context.Context) {
	var jobs sync.WaitGroup
	defer jobs.Wait()
	for {
		select {
		case <-ctx.Done():
			return
		case job := <-a.jobs:
			jobs.Go(func() { job(ctx) })
		}
	}
}
