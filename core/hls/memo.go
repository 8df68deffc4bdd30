package hls

import (
	"errors"
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
// use. No lock is held while something is made: it may take reading a slow storage.
type memo[K comparable, V any] struct {
	mu sync.Mutex
	m  map[K]*attempt[V]
}

// attempt is an answer, or one that is being made.
type attempt[V any] struct {
	at   stamps
	done chan struct{}
	v    V
	err  error
}

// errUnmade: who made it panicked; he has told so.
var errUnmade = errors.New("the answer could not be made")

// get gives what is remembered of k, or makes it where stamp tells of another state. Who
// asks while it is made waits for that, and gets the error of it, too; errors are not
// remembered beyond.
func (m *memo[K, V]) get(k K, stamp func() stamps, create func() (V, error)) (V, error) {
	at := stamp() // before it is made: what is recorded meanwhile may be in it or not
	m.mu.Lock()
	if a := m.m[k]; a != nil && a.at == at {
		m.mu.Unlock()
		<-a.done
		return a.v, a.err
	}
	a := &attempt[V]{at: at, done: make(chan struct{}), err: errUnmade}
	if m.m == nil {
		m.m = map[K]*attempt[V]{}
	}
	if len(m.m) >= mostRemembered && m.m[k] == nil {
		for any := range m.m { // what is asked for still is made again
			delete(m.m, any)
			break
		}
	}
	m.m[k] = a
	m.mu.Unlock()
	defer func() {
		if a.err != nil {
			m.mu.Lock()
			if m.m[k] == a {
				delete(m.m, k)
			}
			m.mu.Unlock()
		}
		close(a.done)
	}()
	a.v, a.err = create()
	return a.v, a.err
}
