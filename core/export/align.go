package export

import (
	"bytes"
	"slices"
	"sort"
)

// sort makes a lane's units findable by what they are.
func (l *lane) sort() {
	l.order = make([]int32, len(l.units))
	for i := range l.order {
		l.order[i] = int32(i)
	}
	slices.SortFunc(l.order, func(a, b int32) int {
		if c := bytes.Compare(l.units[a].payload[:], l.units[b].payload[:]); c != 0 {
			return c
		}
		return int(a - b)
	})
}

// find lists the places of a payload in the lane, in order: silence has many.
func (l *lane) find(h *[32]byte) []int32 {
	lo := sort.Search(len(l.order), func(i int) bool { return bytes.Compare(l.units[l.order[i]].payload[:], h[:]) >= 0 })
	hi := lo + sort.Search(len(l.order)-lo, func(i int) bool { return bytes.Compare(l.units[l.order[lo+i]].payload[:], h[:]) > 0 })
	return l.order[lo:hi]
}

// after is the first of sorted places above at and below end; -1 = none.
func after(places []int32, at, end int32) int32 {
	i := sort.Search(len(places), func(i int) bool { return places[i] > at })
	if i < len(places) && places[i] < end {
		return places[i]
	}
	return -1
}

// align finds for each sample of a file the unit of the lane that it is, so that
// the order is kept; -1 = none. Samples that occur once settle where the others
// belong: pictures are as good as always unique, packets of silence are not.
// Where nothing settles it, near gives the place by the clock of another track.
func (l *lane) align(have [][32]byte, near func(i int) int32) []int32 {
	pos := make([]int32, len(have))
	for i := range have {
		pos[i] = -1
		if p := l.find(&have[i]); len(p) == 1 {
			pos[i] = p[0]
		}
	}
	keepRising(pos)
	m := int32(len(l.units))
	fits := func(i int, p int32) bool { return p >= 0 && p < m && l.units[p].payload == have[i] }
	// Backwards first: what lies in front of something unique is next to it.
	settled := make([]int32, len(pos)) // the last settled place before each sample
	last := int32(-1)
	for i, p := range pos {
		settled[i] = last
		last = max(last, p)
	}
	next := m
	for i := len(pos) - 1; i >= 0; i-- {
		if pos[i] < 0 && next < m && next-1 > settled[i] && fits(i, next-1) {
			pos[i] = next - 1
		}
		if next = pos[i]; next < 0 {
			next = m // only what is adjacent
		}
	}
	bound := make([]int32, len(pos)) // the next settled place behind each sample
	next = m
	for i := len(pos) - 1; i >= 0; i-- {
		bound[i] = next
		if pos[i] >= 0 {
			next = pos[i]
		}
	}
	last = -1
	for i := range pos {
		if pos[i] < 0 {
			if p := last + 1; last >= 0 && p < bound[i] && fits(i, p) {
				pos[i] = p
			} else {
				places := l.find(&have[i])
				if pos[i] = after(places, max(last, near(i)-1), bound[i]); pos[i] < 0 {
					pos[i] = after(places, last, bound[i])
				}
			}
		}
		if pos[i] >= 0 {
			last = pos[i]
		}
	}
	return pos
}

// keepRising sets all places to -1 that do not belong to the longest rising row
// of them.
func keepRising(pos []int32) {
	var tails []int32 // index of the sample that ends the best row of each length
	from := make([]int32, len(pos))
	for i, p := range pos {
		if p < 0 {
			continue
		}
		k := sort.Search(len(tails), func(k int) bool { return pos[tails[k]] >= p })
		from[i] = -1
		if k > 0 {
			from[i] = tails[k-1]
		}
		if k == len(tails) {
			tails = append(tails, int32(i))
		} else {
			tails[k] = int32(i)
		}
	}
	keep := make([]bool, len(pos))
	if len(tails) > 0 {
		for i := tails[len(tails)-1]; i >= 0; i = from[i] {
			keep[i] = true
		}
	}
	for i := range pos {
		if !keep[i] {
			pos[i] = -1
		}
	}
}
