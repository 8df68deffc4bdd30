package node

import (
	"sync"
	"time"
)

// viewerIdle is how long after its last request a viewer still counts: HLS
// has no connection that would end.
const viewerIdle = 30 * time.Second

// viewers counts who watches what. A viewer is a name (a hash made by
// playback), a stream and a protocol.
type viewers struct {
	mu   sync.Mutex
	m    map[viewerKey]time.Time
	sent map[string]uint64 // bytes by stream

	refused uint64 // requests of viewers beyond the limit
}

type viewerKey struct{ uid, proto, name string }

func newViewers() *viewers {
	return &viewers{m: map[viewerKey]time.Time{}, sent: map[string]uint64{}}
}

// most bounds the table: past it new viewers are served but not counted.
const mostViewers = 100_000

// seen counts a viewer, who stays one for viewerIdle. False: limit (0 = none)
// others watch already, and this one is new.
func (v *viewers) seen(uid, proto, name string, limit int, now time.Time) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := viewerKey{uid, proto, name}
	_, known := v.m[k]
	if !known && limit > 0 && len(v.m) >= limit {
		v.expireLocked(now) // the table is swept twice a second: some may have gone
		if len(v.m) >= limit {
			v.refused++
			return false
		}
	}
	if known || len(v.m) < mostViewers {
		v.m[k] = now
	}
	return true
}

func (v *viewers) served(uid string, bytes int64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.sent[uid] += uint64(max(bytes, 0))
}

func (v *viewers) expire(now time.Time) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.expireLocked(now)
}

func (v *viewers) expireLocked(now time.Time) {
	for k, at := range v.m {
		if now.Sub(at) > viewerIdle {
			delete(v.m, k)
		}
	}
}

// totals tells how many bytes of a stream were sent, and how many requests
// were turned away.
func (v *viewers) totals(uid string) (sent, refused uint64) {
	v.mu.Lock()
	defer v.mu.Unlock()
	return v.sent[uid], v.refused
}

// of counts the viewers of a stream; "" = of all.
func (v *viewers) of(uid string) int {
	v.mu.Lock()
	defer v.mu.Unlock()
	if uid == "" {
		return len(v.m)
	}
	n := 0
	for k := range v.m {
		if k.uid == uid {
			n++
		}
	}
	return n
}
