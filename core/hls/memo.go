package hls

import (
	"sync"

	"media-server/core/timeline"
)

// A live playlist and its newest segments are asked for by everybody who watches, some
// hundred times before anything new is recorded. What was made for the first is true for
// the others until then (timeline.Stamp); only what its URIs carry is each one's own.

// mostRemembered bounds a memo: the streams of a large server in every form.
const mostRemembered = 2048

// stamps are those of all streams that an answer tells of.
type stamps [2]timeline.Stamp

// memo remembers answers by what was asked. The zero value is ready; safe for concurrent
// use.
type memo[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*remembered[V]
}

type remembered[V any] struct {
	mu sync.Mutex // held while it is made: the others wait for it instead of making it, too
	at stamps
	is bool
	v  V
}

// get gives what was remembered of k, or makes it anew where stamp tells of another state.
// Errors are not remembered.
func (m *memo[K, V]) get(k K, stamp func() stamps, create func() (V, error)) (V, error) {
	m.mu.Lock()
	r := m.m[k]
	if r == nil {
		if len(m.m) >= mostRemembered || m.m == nil {
			m.m = map[K]*remembered[V]{} // what is asked for still is made again
		}
		r = &remembered[V]{}
		m.m[k] = r
	}
	m.mu.Unlock()
	r.mu.Lock()
	defer r.mu.Unlock()
	at := stamp() // before it is made: what is recorded meanwhile may be in it or not
	if r.is && r.at == at {
		return r.v, nil
	}
	v, err := create()
	r.v, r.at, r.is = v, at, err == nil
	if err != nil {
		m.mu.Lock()
		if m.m[k] == r {
			delete(m.m, k)
		}
		m.mu.Unlock()
	}
	return v, err
}
