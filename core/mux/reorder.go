package mux

// maxReorder is the largest reordering depth of H.264 and H.265 (16 pictures).
const maxReorder = 16

// reorder derives decode times when a driver gives none. With a reordering
// depth of n the decode time of the i-th unit is the (i-n)-th smallest
// presentation time: exact, growing, never after the presentation time.
//
// The depth comes from the SPS. Where that promises nothing, it is learned:
// most cameras without the promise do not reorder, so it starts at 0 and grows
// when a unit turns out to precede one that came before it.
type reorder struct {
	depth  int
	sorted [maxReorder + 1]int64 // presentation times not yet handed out
	n      int
	recent [maxReorder]int64
	seen   int
	newest int64 // greatest presentation time so far
	first  int64
}

// decode returns the decode time of a unit presented at p. step is the usual
// distance of two units, hole a distance that no reordering explains.
func (r *reorder) decode(p, step, hole int64) int64 {
	if r.seen > 0 && (p-r.newest > hole || r.newest-p > hole) {
		*r = reorder{depth: r.depth}
	}
	if r.seen == 0 {
		r.first, r.newest = p, p
	}
	later := 0
	for i := range min(r.seen, maxReorder) {
		if r.recent[i] > p {
			later++
		}
	}
	r.depth = min(max(r.depth, later), maxReorder)
	r.recent[r.seen%maxReorder] = p
	r.seen++
	r.newest = max(r.newest, p)

	i := r.n
	for ; i > 0 && r.sorted[i-1] > p; i-- {
		r.sorted[i] = r.sorted[i-1]
	}
	r.sorted[i] = p
	r.n++
	if r.n <= r.depth { // the first ones: before the first presentation
		return r.first - int64(r.depth-r.n+1)*step
	}
	d := r.sorted[0]
	copy(r.sorted[:], r.sorted[1:r.n])
	r.n--
	return d
}
