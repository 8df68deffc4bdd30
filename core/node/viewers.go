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
	by   map[string]int    // of m, by stream
	held map[viewerKey]int // of m, those who have connections: how many rights to play
	sent map[string]uint64 // bytes by stream

	swept   time.Time
	refused uint64 // requests of viewers beyond the limit
}

type viewerKey struct{ uid, proto, name string }

func newViewers() *viewers {
	return &viewers{m: map[viewerKey]time.Time{}, by: map[string]int{}, held: map[viewerKey]int{}, sent: map[string]uint64{}}
}

// sweepLeast is how long a sweep is good for whoever is turned away.
const sweepLeast = 500 * time.Millisecond

// most bounds the table: past it new viewers are served but not counted.
const mostViewers = 100_000

// session finds which session a request belongs to: the one it says to be of, if that
// goes on, for its address may have changed; else its own.
func (v *viewers) session(uid, proto, own, earlier string) string {
	v.mu.Lock()
	defer v.mu.Unlock()
	if _, known := v.m[viewerKey{uid, proto, earlier}]; known && earlier != "" {
		return earlier
	}
	return own
}

// seen counts a viewer, who stays one for viewerIdle. A new one is turned away where
// all others watch already (0 = no limit), or as many the same stream: then it
// returns which setting says so.
func (v *viewers) seen(uid, proto, name string, all, stream int, now time.Time) (limit string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := viewerKey{uid, proto, name}
	if _, known := v.m[k]; known {
		v.m[k] = now
		return ""
	}
	if limit = v.fullLocked(uid, all, stream); limit != "" {
		if d := now.Sub(v.swept); d < 0 || d >= sweepLeast { // some may have gone
			v.expireLocked(now)
		}
		if limit = v.fullLocked(uid, all, stream); limit != "" {
			v.refused++
			return limit
		}
	}
	if len(v.m) < mostViewers {
		v.m[k] = now
		v.by[uid]++
	}
	return ""
}

func (v *viewers) fullLocked(uid string, all, stream int) string {
	switch {
	case stream > 0 && v.by[uid] >= stream:
		return "stream-limit in its stream file"
	case all > 0 && len(v.m) >= all:
		return "[limits] viewers"
	}
	return ""
}

// hold keeps a viewer who was seen until gone is called as often: whoever seeks gets a
// new right to play before the old one ends.
func (v *viewers) hold(uid, proto, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.held[viewerKey{uid, proto, name}]++
}

// gone ends a hold; with the last one the place is free.
func (v *viewers) gone(uid, proto, name string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	k := viewerKey{uid, proto, name}
	if v.held[k]--; v.held[k] > 0 {
		return
	}
	delete(v.held, k)
	if _, known := v.m[k]; !known {
		return
	}
	delete(v.m, k)
	if v.by[uid]--; v.by[uid] == 0 {
		delete(v.by, uid)
	}
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
	v.swept = now
	for k, at := range v.m {
		if now.Sub(at) > viewerIdle && v.held[k] == 0 {
			delete(v.m, k)
			if v.by[k.uid]--; v.by[k.uid] == 0 {
				delete(v.by, k.uid)
			}
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
	return v.by[uid]
}
