package archive

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// leftovers ends moves and groomings that belong to no mover and no groomer in
// force: settings changed while they were under way, or a rebuild began them
// where nothing is moved. Nothing is begun here: a move whose row was not
// switched is undone. While it runs no pool and no mover changes.
func (a *Archive) leftovers(ctx context.Context) {
	if a.Opened(ctx) != nil {
		return
	}
	p, every := a.places.Load(), moveEvery
	if a.o.MoveEvery > 0 {
		every = a.o.MoveEvery
	}
	var moved, groomed []string // spaces of movers and groomers
	for _, m := range p.movers {
		moved = append(moved, m.to.Spaces...)
	}
	for _, g := range p.groomers {
		groomed = append(groomed, g.pool.Spaces...)
	}
	others := newGroomer(a, &Pool{}) // of the other spaces: it only finishes
	told := ""
	for sleep(ctx, every) {
		a.endMoves()
		if a.cat.incomplete.Load() || !a.knowsLocks.Load() {
			continue // what is listed where, or kept, is not known
		}
		err := errors.Join(a.leftMoves(ctx, moved), a.leftGrooms(ctx, others, groomed))
		if err != nil && ctx.Err() == nil && err.Error() != told {
			told = err.Error()
			a.log.Warn("what is left of moves and groomings cannot be ended now, it is tried again", "err", err)
		}
	}
}

// leftMoves ends moves into spaces that no mover has, one by one: a rebuild, or
// the wiping of a space, comes in between.
func (a *Archive) leftMoves(ctx context.Context, movers []string) error {
	left, err := a.state.allMoves()
	if err != nil {
		return fmt.Errorf("read what was being moved: %w", err)
	}
	for _, in := range left {
		if slices.Contains(movers, in.target) {
			continue
		}
		if !a.rebuild.TryLock() {
			return nil // it may be just what is moving it
		}
		e := a.finishLeft(ctx, in, nil)
		a.rebuild.Unlock()
		err = errors.Join(err, e)
	}
	return err
}

// leftGrooms ends groomings in spaces that no groomer has.
func (a *Archive) leftGrooms(ctx context.Context, g *groomer, groomers []string) error {
	if !a.rebuild.TryLock() {
		return nil
	}
	defer a.rebuild.Unlock()
	left, err := a.state.allGrooms()
	if err != nil {
		return fmt.Errorf("read what was being groomed: %w", err)
	}
	g.pool.Spaces = nil
	for _, in := range left {
		switch {
		case slices.Contains(groomers, in.space) || slices.Contains(g.pool.Spaces, in.space):
		case a.space(in.space) == nil:
			if a.answers(in.space) { // removed, with all that was in it
				a.state.endGroom(in)
			}
		default:
			g.pool.Spaces = append(g.pool.Spaces, in.space)
		}
	}
	return errors.Join(g.finish(ctx), g.release(ctx))
}

// startLeftovers and endLeftovers are called around changes of the places;
// a.change is held.
func (a *Archive) startLeftovers() {
	if a.front == nil {
		return // Run starts it
	}
	ctx, stop := context.WithCancel(a.front)
	a.leftStop = stop
	a.leftEnds.Go(func() { a.leftovers(ctx) })
}

func (a *Archive) endLeftovers() {
	if a.leftStop != nil {
		a.leftStop()
		a.leftEnds.Wait()
	}
}
