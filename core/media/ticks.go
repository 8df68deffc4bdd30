package media

import (
	"math/bits"
	"time"
)

// TicksOf converts a duration to ticks of timescale (ticks a second), rounding
// to the nearest tick, halves away from zero. It is exact for any duration that
// fits (no intermediate overflow).
func TicksOf(d time.Duration, timescale uint32) int64 {
	return Rescale(int64(d), int64(timescale), int64(time.Second))
}

// DurationOf converts ticks of timescale to a duration, rounding to the nearest
// nanosecond, halves away from zero.
func DurationOf(ticks int64, timescale uint32) time.Duration {
	return time.Duration(Rescale(ticks, int64(time.Second), int64(timescale)))
}

// Rescale returns v*num/den rounded to nearest, halves away from zero, with a
// 128-bit product. num must be >= 0 and den > 0; a quotient beyond 63 bits
// saturates.
func Rescale(v, num, den int64) int64 {
	neg := v < 0
	u := uint64(v)
	if neg {
		u = uint64(-v)
	}
	hi, lo := bits.Mul64(u, uint64(num))
	lo, carry := bits.Add64(lo, uint64(den)/2, 0)
	hi += carry
	const top = 1<<63 - 1
	q := uint64(top)
	if hi < uint64(den) {
		q, _ = bits.Div64(hi, lo, uint64(den))
		q = min(q, top)
	}
	if neg {
		return -int64(q)
	}
	return int64(q)
}

func floorDiv(a, b int64) int64 {
	q := a / b
	if a%b < 0 {
		q--
	}
	return q
}
