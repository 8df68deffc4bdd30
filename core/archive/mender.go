package archive

import (
	"context"
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
		if name != "" && a.space(name) == nil {
			err = a.hasRead(ctx, name) // removed meanwhile
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
