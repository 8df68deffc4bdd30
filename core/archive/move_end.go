package archive

import (
	"slices"
	"sync"
)

// endings are moves that are done but for the ledgers: what the spaces' ledgers
// say of them is on its way, in an object store for a second. Who is killed
// before it is there finds the intent again, and says it again: a file that
// nobody has said to be there could be taken away from there unnoticed.
type endings struct {
	mu  sync.Mutex
	all []ending
}

type ending struct {
	in    *moving
	notes []noted
}

// noted is a fact on its way into the ledger of a space.
type noted struct {
	s *space
	n uint64 // space.note; 0 = nothing was to be said
}

// written tells whether all facts up to n are in the space's ledger for good.
func (s *space) written(n uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !slices.ContainsFunc(s.q, func(c *chunk) bool { return c.led != nil && c.note <= n })
}

// has tells whether a move is only waiting for the ledgers.
func (e *endings) has(in *moving) bool {
	e.mu.Lock()
	defer e.mu.Unlock()
	return slices.ContainsFunc(e.all, func(x ending) bool {
		y := x.in
		return y.source == in.source && y.name == in.name && y.target == in.target && y.final == in.final
	})
}

// endMove forgets a move once the ledgers say what came of it, and others that
// have waited for that.
func (a *Archive) endMove(in *moving, notes ...noted) {
	a.endings.mu.Lock()
	a.endings.all = append(a.endings.all, ending{in, notes})
	a.endings.mu.Unlock()
	a.endMoves()
}

func (a *Archive) endMoves() {
	a.endings.mu.Lock()
	defer a.endings.mu.Unlock()
	a.endings.all = slices.DeleteFunc(a.endings.all, func(x ending) bool {
		for _, k := range x.notes {
			if k.s != nil && k.n > 0 && a.space(k.s.cfg.Name) == k.s && !k.s.written(k.n) {
				return false
			}
		}
		a.state.endMove(x.in)
		return true
	})
}
