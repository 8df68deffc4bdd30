package sdk

import (
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// Bounds until a core has said others.
const (
	defaultBufferTime  = 20 * time.Second
	defaultBufferBytes = 256 << 20
	maxRuns            = 64 // of one stream in its log
)

// budget bounds what all streams keep unacknowledged: bytes over all of them,
// time per stream. What goes first is the unit written first, whosever it is.
type budget struct {
	order   atomic.Uint64
	bytes   atomic.Int64
	dropped atomic.Uint64

	maxBytes atomic.Int64
	maxTime  atomic.Int64 // nanoseconds

	captures  func() []*capture
	shrinking sync.Mutex
}

func newBudget(captures func() []*capture) *budget {
	b := &budget{captures: captures}
	b.limit(defaultBufferTime, defaultBufferBytes)
	return b
}

func (b *budget) limit(t time.Duration, bytes int64) {
	b.maxTime.Store(int64(t))
	b.maxBytes.Store(bytes)
}

// add tells whether the bound is passed; then the caller calls shrink, without
// holding any lock.
func (b *budget) add(n int) bool { return b.bytes.Add(int64(n)) > b.maxBytes.Load() }

// shrink drops the oldest units of all streams until a little room is free, so
// that it is not called for every unit.
func (b *budget) shrink() {
	if !b.shrinking.TryLock() {
		return // somebody is at it
	}
	defer b.shrinking.Unlock()
	limit := b.maxBytes.Load()
	for target := limit - limit/64; b.bytes.Load() > target; {
		var victim *capture
		first, second := uint64(math.MaxUint64), uint64(math.MaxUint64)
		for _, c := range b.captures() {
			switch o := c.oldest.Load(); {
			case o < first:
				first, second, victim = o, first, c
			case o < second:
				second = o
			}
		}
		if victim == nil {
			return
		}
		victim.dropOldest(second, func() bool { return b.bytes.Load() <= target })
	}
}

// dropOldest drops units written before the given order, until enough.
func (c *capture) dropOldest(before uint64, enough func() bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.runs {
		for !enough() {
			t := r.oldest(false)
			if t == nil {
				break
			}
			if t.q[t.head].order >= before {
				c.prune()
				return
			}
			c.drop(t, t.first+1)
		}
	}
	c.prune()
}

// dropAged drops what is older than the bound in seconds. The newest unit of
// each track of the live run stays: a metadata track may be silent for long,
// and the core cannot store a unit before it knows its duration.
func (c *capture) dropAged(now time.Time) {
	limit := time.Duration(c.buffer.maxTime.Load())
	dropped := false
	for _, r := range c.runs {
		for {
			t := r.oldest(r.closed == nil)
			if t == nil || now.Sub(t.q[t.head].at) <= limit {
				break
			}
			c.drop(t, t.first+1)
			dropped = true
		}
	}
	if dropped {
		c.prune()
	}
}

// drop evicts units that were not acknowledged.
func (c *capture) drop(t *trackLog, to uint64) {
	units, bytes := t.dropTo(to)
	c.buffer.bytes.Add(-int64(bytes))
	c.buffer.dropped.Add(uint64(units))
	c.stats.dropped.Add(uint64(units))
}

// release forgets units that the core holds for good.
func (c *capture) release(t *trackLog, to uint64) {
	_, bytes := t.dropTo(to)
	c.buffer.bytes.Add(-int64(bytes))
}

// prune forgets runs that are over, acknowledged and reported, and says anew
// which unit is the oldest.
func (c *capture) prune() {
	c.runs = deleteRuns(c.runs, func(r *runLog) bool { return r.closed != nil && r.reported && r.empty() })
	oldest := uint64(noneOldest)
	for _, r := range c.runs {
		if t := r.oldest(false); t != nil {
			oldest = min(oldest, t.q[t.head].order)
		}
	}
	c.oldest.Store(oldest)
}

func deleteRuns(runs []*runLog, gone func(*runLog) bool) []*runLog {
	out := runs[:0]
	for _, r := range runs {
		if !gone(r) {
			out = append(out, r)
		}
	}
	clear(runs[len(out):])
	return out
}

// bound keeps the number of runs small while a device flaps and no core is
// there to be told.
func (c *capture) bound() {
	for len(c.runs) > maxRuns {
		r := c.runs[0]
		for i := range r.tracks {
			c.drop(&r.tracks[i], r.tracks[i].end())
		}
		if c.handle != nil && c.handle.run == r {
			c.handle.run = nil
		}
		c.runs = c.runs[1:]
	}
	c.prune()
}

// clearLog forgets everything, the run under way too.
func (c *capture) clearLog() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.runs {
		for i := range r.tracks {
			c.release(&r.tracks[i], r.tracks[i].end())
		}
	}
	c.runs, c.live = nil, nil
	c.prune()
}
