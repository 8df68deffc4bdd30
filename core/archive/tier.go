package archive

import (
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

// tiers lists the ways into each pool that has any, in the order of the pools.
func (a *Archive) tiers() (out [][]tier) {
	for i := range a.o.Pools {
		to := &a.o.Pools[i]
		var in []tier
		if to.Stage != "" {
			in = append(in, tier{pool: to.Name, stage: true, from: []string{to.Stage}, to: to, rate: to.ArchiveRate})
		}
		for j := range a.o.Pools {
			if p := &a.o.Pools[j]; p.ArchiveTo == to.Name {
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

// poolOf is the pool that a space belongs to, as its own or as its stage; nil
// = none.
func (a *Archive) poolOf(space string) *Pool {
	for i := range a.o.Pools {
		p := &a.o.Pools[i]
		for _, name := range p.Spaces {
			if name == space {
				return p
			}
		}
		if p.Stage == space {
			return p
		}
	}
	return nil
}

// lastPool is the pool in which footage recorded in p ends.
func (a *Archive) lastPool(p *Pool) *Pool {
	for range a.o.Pools { // a circle is refused by the settings; here it only ends
		next, err := a.pool(p.ArchiveTo)
		if p.ArchiveTo == "" || err != nil {
			break
		}
		p = next
	}
	return p
}
