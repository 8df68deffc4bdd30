package archive

import (
	"slices"
	"time"

	"media-server/core/archive/retain"
)

// tier is a way that footage takes: from the spaces of a pool, or from the
// stage of one, to a pool.
type tier struct {
	pool  string // that the footage is in; of a stage the target itself
	stage bool
	from  []string // spaces
	to    *Pool
	after time.Duration
	at    retain.Hours
	rate  int64
}

// tiersOf lists the ways into each pool that has any, in the order of the pools.
func tiersOf(pools []Pool) (out [][]tier) {
	for i := range pools {
		to := &pools[i]
		var in []tier
		if to.Stage != "" {
			in = append(in, tier{pool: to.Name, stage: true, from: []string{to.Stage}, to: to, rate: to.ArchiveRate})
		}
		for j := range pools {
			if p := &pools[j]; p.ArchiveTo == to.Name {
				in = append(in, tier{pool: p.Name, from: p.Spaces, to: to, after: p.ArchiveAfter, at: p.ArchiveAt, rate: p.ArchiveRate})
			}
		}
		if len(in) > 0 {
			out = append(out, in)
		}
	}
	return out
}

// recordsIn are the spaces that recordings of a pool begin in.
func (p *Pool) recordsIn() []string {
	if p.Stage != "" {
		return []string{p.Stage}
	}
	return p.Spaces
}

// holds tells whether a space belongs to the pool, as its own or as its stage.
func (p *Pool) holds(space string) bool { return p.Stage == space || slices.Contains(p.Spaces, space) }

// poolOf is the first pool that a space belongs to; nil = none.
func (a *Archive) poolOf(space string) *Pool {
	pools := a.allPools()
	for i := range pools {
		if pools[i].holds(space) {
			return &pools[i]
		}
	}
	return nil
}

// poolsOf names the pools that a space belongs to: several may share it.
func (a *Archive) poolsOf(space string) (out []string) {
	for _, p := range a.allPools() {
		if p.holds(space) {
			out = append(out, p.Name)
		}
	}
	return out
}

// poolIn is the pool whose footage it is that lies in a space and was recorded
// for p: p itself, one that p's is moved to, or whichever has the space; nil =
// none.
func (a *Archive) poolIn(space string, p *Pool) *Pool {
	for range a.allPools() {
		if p.holds(space) {
			return p
		}
		next, err := a.pool(p.ArchiveTo)
		if p.ArchiveTo == "" || err != nil {
			break
		}
		p = next
	}
	return a.poolOf(space)
}

// lastPool is the pool in which footage recorded in p ends.
func (a *Archive) lastPool(p *Pool) *Pool {
	for range a.allPools() { // a circle is refused by the settings; here it only ends
		next, err := a.pool(p.ArchiveTo)
		if p.ArchiveTo == "" || err != nil {
			break
		}
		p = next
	}
	return p
}
