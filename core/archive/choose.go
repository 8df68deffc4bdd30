package archive

import "slices"

// candidateSpaces are the spaces that a pool ("" = the first) is recorded in,
// in its order, but for those known to take whole files only. Whether one can be
// used just now is for the caller to ask.
func (a *Archive) candidateSpaces(pool string) (out []*space) {
	p, err := a.pool(pool)
	if err != nil {
		return nil
	}
	for _, name := range p.recordsIn() {
		if s := a.space(name); s != nil && !s.wholeOnly() {
			out = append(out, s)
		}
	}
	return out
}

// pick chooses the space that a stream's next file goes to: one of its pool
// that can be used, else one that is slow or full and works, the stream's own
// before others, else the first. Its queue waits for it. st.mu is held.
//
// A file that grows stays where it is while its space works. Between files a
// stream stays in its space too, unless another one deserves it much more
// (stayFactor): one stream must not go to and fro because a deletion here and
// there changes which of two equal disks is the emptier.
func (a *Archive) pick(st *stream) *space {
	all := a.candidateSpaces(st.rules.Pool)
	var usable []*space
	for _, s := range all {
		if !s.usable() {
			continue
		}
		if st.cur != nil && st.cur.sp == s {
			return s
		}
		usable = append(usable, s)
	}
	switch {
	case len(usable) > 0:
		return spread(usable, st.home, st.counted)
	case len(all) > 0:
		return leastBad(all, st)
	}
	return a.firstOf(st.rules.Pool)
}

// leastBad chooses among spaces of which none can be used just now.
func leastBad(all []*space, st *stream) *space {
	for _, own := range []*space{st.curSpace(), st.home} {
		if own != nil && slices.Contains(all, own) && own.works() {
			return own
		}
	}
	if i := slices.IndexFunc(all, (*space).works); i >= 0 {
		return all[i]
	}
	return all[0]
}

// curSpace is where the stream's current file grows; nil = there is none. st.mu is
// held.
func (st *stream) curSpace() *space {
	if st.cur == nil {
		return nil
	}
	return st.cur.sp
}

// firstOf is the first space of a pool, whatever it is good for: what waits for
// it tells the operator.
func (a *Archive) firstOf(pool string) *space {
	p, err := a.pool(pool)
	if err != nil {
		return nil
	}
	return a.space(p.recordsIn()[0])
}

// stayFactor is how many times the load of another space that of a stream's own
// must be before the stream leaves it.
const stayFactor = 1.5

// spread chooses among usable spaces. Each is weighed with what is free in
// proportion, times what is free: an emptier disk gets more than its share
// until all are equally full, equally full ones get shares by size. The stream
// goes where there are fewest streams for the weight.
func spread(usable []*space, home *space, counted bool) *space {
	if len(usable) == 1 {
		return usable[0]
	}
	w := weights(usable)
	load := func(i int) float64 {
		n := usable[i].homes.Load()
		if usable[i] != home || !counted {
			n++ // with the stream itself
		}
		return float64(n) / w[i]
	}
	best, at := 0, -1
	for i, s := range usable {
		if s == home {
			at = i
		}
		if load(i) < load(best) {
			best = i
		}
	}
	if at >= 0 && load(at) <= stayFactor*load(best) {
		return home
	}
	return usable[best]
}

// weights of spaces for spread. One that has not told how full it is yet
// weighs as much as the heaviest of the others.
func weights(spaces []*space) []float64 {
	w := make([]float64, len(spaces))
	most := 0.0
	for i, s := range spaces {
		s.mu.Lock()
		u := s.usage
		s.mu.Unlock()
		if u.Total > 0 {
			free := max(1, float64(u.Free))
			w[i] = free * free / float64(u.Total)
		}
		most = max(most, w[i])
	}
	for i := range w {
		if w[i] == 0 {
			w[i] = max(most, 1)
		}
	}
	return w
}

// emptiest is where what a broken space cannot take goes; nil = nowhere.
func emptiest(usable []*space) *space {
	if len(usable) == 0 {
		return nil
	}
	return spread(usable, nil, false)
}

// settleIn notes where a stream is recorded; st.mu is held.
func (st *stream) settleIn(s *space) {
	if st.counted && st.home != nil {
		st.home.homes.Add(-1)
	}
	st.home, st.counted = s, true
	s.homes.Add(1)
}

// moveOut notes that a stream is not recorded any more; it comes back to where
// it was if it can. st.mu is held.
func (st *stream) moveOut() {
	if st.counted {
		st.home.homes.Add(-1)
		st.counted = false
	}
}
