package archive

import (
	"context"
	"reflect"
	"slices"
)

// groomersOf makes the groomers that pools want, keeps those whose pool has not
// changed, and ends the others: what one of them is doing stands in state.db,
// and its successor finishes it. fresh are to be started. a.change is held.
func (a *Archive) groomersOf(pools []Pool) (all, fresh []*groomer) {
	before := a.places.Load().groomers
	for i := range pools {
		p := &pools[i]
		if p.GroomAfter <= 0 {
			continue
		}
		old := slices.IndexFunc(before, func(g *groomer) bool { return g.pool.Name == p.Name })
		if old >= 0 && reflect.DeepEqual(*before[old].pool, *p) {
			all = append(all, before[old])
			continue
		}
		g := newGroomer(a, p)
		if old >= 0 {
			g.inherit(before[old])
		}
		all, fresh = append(all, g), append(fresh, g)
	}
	for _, g := range before {
		if !slices.Contains(all, g) {
			g.end()
		}
	}
	return all, fresh
}

func (a *Archive) startGroomer(g *groomer) {
	if a.front == nil {
		return // Run starts it
	}
	ctx, stop := context.WithCancel(a.front)
	g.stop = stop
	g.ends.Go(func() { g.run(ctx) })
}

func (g *groomer) end() {
	if g.stop != nil {
		g.stop()
		g.ends.Wait()
	}
}

// inherit takes over what an earlier groomer of the pool has counted.
func (g *groomer) inherit(old *groomer) {
	old.mu.Lock()
	defer old.mu.Unlock()
	g.st.Files, g.st.Bytes, g.st.Failures, g.st.Damaged = old.st.Files, old.st.Bytes, old.st.Failures, old.st.Damaged
	g.told = old.told
}
