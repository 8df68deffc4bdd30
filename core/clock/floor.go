package clock

import "math"

// floor is the least delay seen lately: the minimum of Received − PTS over
// about a minute, in buckets so that one early unit is forgotten in time and a
// drifting camera is followed (100 ppm are 6 ms a minute).
type floor struct {
	buckets [buckets]struct{ index, min int64 }
	last    int64 // index of the newest bucket
	value   int64
	known   bool
}

const (
	buckets  = 15
	bucketNS = 4_000_000_000
)

func (f *floor) add(at, a int64) {
	if at < 0 {
		return
	}
	i := at / bucketNS
	b := &f.buckets[i%buckets]
	switch {
	case !f.known:
		*f = floor{last: i, value: a, known: true}
		f.buckets[i%buckets].index, f.buckets[i%buckets].min = i, a
		return
	case b.index != i:
		if b.index > i { // an older arrival delivered late: tells nothing new
			return
		}
		b.index, b.min = i, a
		f.last = max(f.last, i)
		f.value = f.least()
	case a < b.min:
		b.min = a
	}
	f.value = min(f.value, a)
}

func (f *floor) least() int64 {
	least := int64(math.MaxInt64)
	for _, b := range f.buckets {
		if b.index > f.last-buckets && b.index != 0 {
			least = min(least, b.min)
		}
	}
	return least
}

// seed starts the window from a stored value.
func (f *floor) seed(at, value int64) { f.add(at, value) }
