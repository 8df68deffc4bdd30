package archive

import (
	"sync"
	"time"

	"media-server/core/archive/retain"
)

// asked remembers which streams' and spaces' rules wait for a person, and which have been
// confirmed. Neither outlives the process: whoever starts it again is asked
// again.
type asked struct {
	mu   sync.Mutex
	held map[string]heldSince
	yes  map[string]bool

	spaces    map[string]HeldBack // likewise, by space
	yesSpaces map[string]bool
}

type heldSince struct {
	retain.Held
	since time.Time
}

func (k *asked) confirmedSpace(name string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.yesSpaces[name]
}

// doneSpace uses a confirmation up: nothing is left of what it was for.
func (k *asked) doneSpace(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.yesSpaces, name)
}

// takeSpaces notes the spaces that a plan holds back, and returns what is new. Of
// those that could not be measured it says nothing: they stay as they were.
func (k *asked) takeSpaces(now []retain.HeldSpace, unknown map[string]bool) (fresh []HeldBack) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held := map[string]HeldBack{}
	for name, x := range k.spaces {
		if unknown[name] {
			held[name] = x
		}
	}
	for _, h := range now {
		x := HeldBack{Space: h.Space, Why: string(h.Why), Goes: h.Goes, Bytes: h.Bytes, Since: time.Now()}
		if old, ok := k.spaces[h.Space]; ok {
			x.Since = old.Since
		} else {
			fresh = append(fresh, x)
		}
		held[h.Space] = x
	}
	k.spaces = held
	return fresh
}

func (k *asked) confirmed(uid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.yes[uid]
}

// holds tells whether the rules of a stream wait to be confirmed.
func (k *asked) holds(uid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.held[uid]
	return ok
}

// take notes what a plan holds back, and returns what is new of it. A
// confirmation is used up when nothing is left to confirm.
func (k *asked) take(now []retain.Held, streams []retain.Stream) (fresh []retain.Held) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held := map[string]heldSince{}
	for _, h := range now {
		since := time.Now()
		if old, ok := k.held[h.UID]; ok {
			since = old.since
		} else {
			fresh = append(fresh, h)
		}
		held[h.UID] = heldSince{h, since}
	}
	k.held = held
	for i := range streams {
		if s := &streams[i]; k.yes[s.UID] && s.Overdue.Files == 0 && (s.Capacity <= 0 || s.Bytes <= s.Capacity) {
			delete(k.yes, s.UID)
		}
	}
	return fresh
}

// HeldBack is a stream whose rules would take more at once than its pool's
// delete-most allows, or a space where its settings or a threshold of its pool
// would. Nothing goes by them until ConfirmRetention or ConfirmSpace; of a space
// only what recording needs.
type HeldBack struct {
	UID   string // stream, or ""
	Space string // or ""
	Why   string // rule or setting
	Files int    // that would go; 0 where only bytes are known
	Goes  int64  // bytes that would go
	Bytes int64  // of all footage of the stream, or in the space
	Since time.Time
}

// Held lists the streams and spaces whose rules wait to be confirmed.
func (a *Archive) Held() (out []HeldBack) {
	a.asked.mu.Lock()
	defer a.asked.mu.Unlock()
	for _, h := range a.asked.held {
		out = append(out, HeldBack{UID: h.UID, Why: string(h.Why), Files: h.Goes.Files, Goes: h.Goes.Bytes, Bytes: h.Bytes, Since: h.since})
	}
	for _, h := range a.asked.spaces {
		out = append(out, h)
	}
	return out
}

// ConfirmSpace lets the settings of a space, and the thresholds of its pools, take
// what they want there. It tells whether something was held back.
func (a *Archive) ConfirmSpace(name string) bool {
	a.asked.mu.Lock()
	_, ok := a.asked.spaces[name]
	if ok {
		if a.asked.yesSpaces == nil {
			a.asked.yesSpaces = map[string]bool{}
		}
		a.asked.yesSpaces[name] = true
	}
	a.asked.mu.Unlock()
	if ok {
		poke(a.ensured)
	}
	return ok
}

// ConfirmRetention lets the rules of a stream take what they want. It tells
// whether something was held back.
func (a *Archive) ConfirmRetention(uid string) bool {
	a.asked.mu.Lock()
	_, ok := a.asked.held[uid]
	if ok {
		if a.asked.yes == nil {
			a.asked.yes = map[string]bool{}
		}
		a.asked.yes[uid] = true
	}
	a.asked.mu.Unlock()
	if ok {
		poke(a.ensured)
	}
	return ok
}
