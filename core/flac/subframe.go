package flac

import "math/bits"

// depth is the bits of a sample.
const depth = 16

// rice is how residuals are written: in 1<<order partitions, each with its own
// parameter (RFC 9639 9.2.7).
type rice struct {
	order  uint
	params [1 << maxPartition]uint8
	bits   int
}

// maxPartition: partitions of 20 ms at 8 kHz are no use below a few samples.
const maxPartition = 3

// subframe writes one channel (RFC 9639 9.2) in the shortest of the forms known here.
func (e *Encoder) subframe(s []int32) {
	w := &e.w
	var all int32
	same := true
	for _, v := range s {
		all |= v
		same = same && v == s[0]
	}
	if same {
		w.put(0, 8)
		w.put(uint32(s[0]), depth)
		return
	}
	wasted := uint(bits.TrailingZeros32(uint32(all)))
	width := depth - wasted
	order, r := e.predict(s, wasted)
	if r.bits+int(width)*order >= int(width)*len(s) {
		e.kind(1, wasted) // as they are
		for _, v := range s {
			w.put(uint32(v>>wasted), width)
		}
		return
	}
	e.kind(8|uint32(order), wasted)
	for _, v := range s[:order] {
		w.put(uint32(v>>wasted), width)
	}
	w.put(0, 2) // four bits a parameter
	w.put(uint32(r.order), 4)
	res := e.residual[order]
	for p := range 1 << r.order {
		from, to := partition(len(s), order, r.order, p)
		k := uint(r.params[p])
		w.put(uint32(k), 4)
		for _, v := range res[from:to] {
			z := zigzag(v)
			w.unary(z >> k)
			w.put(z, k)
		}
	}
}

// kind writes a subframe's header.
func (e *Encoder) kind(kind uint32, wasted uint) {
	e.w.put(kind, 7)
	if wasted == 0 {
		e.w.put(0, 1)
		return
	}
	e.w.put(1, 1)
	e.w.unary(uint32(wasted - 1))
}

func zigzag(v int32) uint32 { return uint32(v<<1) ^ uint32(v>>31) }

// partition is where the residuals of a partition lie: the first is shorter by
// the samples that the predictor begins with.
func partition(n, order int, partitions uint, p int) (from, to int) {
	size := n >> partitions
	return max(p*size-order, 0), (p+1)*size - order
}

// predict fills the residuals of the fixed predictors and finds the best of
// them: the one with the smallest sum, as every encoder does.
func (e *Encoder) predict(s []int32, wasted uint) (order int, best rice) {
	most := min(4, len(s)-1)
	var least uint64
	for o := 0; o <= most; o++ {
		res := e.residual[o][:0]
		var sum uint64
		if o == 0 {
			for _, v := range s {
				res = append(res, v>>wasted)
				sum += uint64(zigzag(v >> wasted))
			}
		} else {
			before := e.residual[o-1]
			for i := 1; i < len(before); i++ {
				d := before[i] - before[i-1]
				res = append(res, d)
				sum += uint64(zigzag(d))
			}
		}
		e.residual[o] = res
		if o == 0 || sum < least {
			order, least = o, sum
		}
	}
	return order, plan(e.residual[order], len(s), order)
}

// plan finds how the residuals of a predictor are written with the fewest bits.
func plan(res []int32, n, order int) (best rice) {
	for p := uint(0); p <= maxPartition && n>>p<<p == n && n>>p > order; p++ {
		r := rice{order: p, bits: 2 + 4}
		for i := range 1 << p {
			from, to := partition(n, order, p, i)
			k, cost := parameter(res[from:to])
			r.params[i] = k
			r.bits += 4 + cost
		}
		if p == 0 || r.bits < best.bits {
			best = r
		}
	}
	return best
}

// parameter finds the best Rice parameter of some residuals, and what they cost.
func parameter(res []int32) (k uint8, cost int) {
	var sum uint64
	for _, v := range res {
		sum += uint64(zigzag(v))
	}
	n := uint64(len(res))
	guess := 0
	if n > 0 {
		guess = bits.Len64(sum / n)
	}
	lo, hi := max(guess-2, 0), min(guess, 14)
	cost = -1
	for c := min(lo, hi); c <= hi; c++ {
		total := len(res) * (c + 1)
		for _, v := range res {
			total += int(zigzag(v) >> c)
		}
		if cost < 0 || total < cost {
			k, cost = uint8(c), total
		}
	}
	return k, cost
}
