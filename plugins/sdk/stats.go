package sdk

import "sync/atomic"

// Stats are running totals of a stream since its capture began, over all its
// runs. Drivers add to them from any goroutine.
type Stats struct {
	PacketsReceived  atomic.Uint64
	PacketsLost      atomic.Uint64
	PacketsReordered atomic.Uint64
	UnitsDamaged     atomic.Uint64
	BytesReceived    atomic.Uint64

	dropped    atomic.Uint64 // units evicted from the buffer before they were acknowledged
	reconnects atomic.Uint64
}
