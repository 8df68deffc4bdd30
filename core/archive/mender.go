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
	for {
		name, ok := a.nextToMend()
		if !ok {
			select {
			case <-ctx.Done():
				return
			case <-a.mend:
			}
			continue
		}
		if name != "" && a.space(name) == nil {
			continue // removed meanwhile
		}
		if err := a.Rebuild(ctx, name, nil); err != nil && ctx.Err() == nil {
			a.log.Warn("rebuild did not finish, it is tried again", "space", name, "err", err)
			if !sleep(ctx, 30*time.Second) {
				return
			}
			a.wantRebuild(name)
		}
		if ctx.Err() != nil {
			return
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
