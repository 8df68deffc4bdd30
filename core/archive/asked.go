package archive

import (
	"sync"
	"time"

	"media-server/core/archive/retain"
)

// asked remembers which streams' and spaces' rules wait for a person, and which have been
// confirmed (confirmed.go).
type asked struct {
	mu   sync.Mutex
	held map[string]heldSince
	yes  confirmations

	spaces    map[string]heldSpace // likewise, by space
	yesSpaces confirmations
}

type heldSince struct {
	retain.Held
	since  time.Time
	wanted wanted // now
	told   wanted // when somebody was told
}

type heldSpace struct {
	HeldBack
	wanted, told wanted // likewise
}

// isNews tells whether more is wanted than somebody was told, or by other rules: who
// confirms has to have seen it.
func (w wanted) isNews(told wanted) bool {
	return w.rules != told.rules || w.goes > told.goes+confirmMore(told.goes)
}

// orMore is what is wanted, or what somebody was told if that was more.
func (w wanted) orMore(told wanted) wanted {
	if w.rules == told.rules {
		w.goes = max(w.goes, told.goes)
	}
	return w
}

// confirmedSpace tells whether somebody has confirmed what is wanted of a space.
func (k *asked) confirmedSpace(name string, w wanted) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.yesSpaces.holds(name, w)
}

// doneSpace uses a confirmation up: nothing is left of what it was for.
func (k *asked) doneSpace(name string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.yesSpaces.drop(name)
}

// takeSpaces notes the spaces that a plan holds back, and returns what is new. Of
// those that could not be measured it says nothing: they stay as they were. wants is
// what is wanted, by space.
func (k *asked) takeSpaces(now []retain.HeldSpace, unknown map[string]bool, wants map[string]wanted) (fresh []HeldBack) {
	k.mu.Lock()
	defer k.mu.Unlock()
	held := map[string]heldSpace{}
	for name, x := range k.spaces {
		if unknown[name] {
			held[name] = x
		}
	}
	for _, h := range now {
		x := HeldBack{Space: h.Space, Why: string(h.Why), Goes: h.Goes, Bytes: h.Bytes, Since: time.Now()}
		w := wants[h.Space]
		w.goes = max(w.goes, h.Goes) // with what goes by other rules
		old, ok := k.spaces[h.Space]
		told := old.told
		if ok {
			x.Since = old.Since
		}
		if !ok || w.isNews(told) {
			fresh, told = append(fresh, x), w
		}
		held[h.Space] = heldSpace{x, w, told}
	}
	k.spaces = held
	for name, w := range wants {
		if !unknown[name] {
			k.yesSpaces.expire(name, w)
		}
	}
	return fresh
}

// confirmed tells whether somebody has confirmed what its rules want of a stream.
func (k *asked) confirmed(s *retain.Stream) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.yes.holds(s.UID, wantedOf(s))
}

// holds tells whether the rules of a stream wait to be confirmed.
func (k *asked) holds(uid string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, ok := k.held[uid]
	return ok
}

// take notes what a plan holds back, and returns what is new of it. A
// confirmation is used up when nothing is left to confirm, and by other rules.
func (k *asked) take(now []retain.Held, streams []retain.Stream) (fresh []retain.Held) {
	wants := map[string]wanted{}
	for i := range streams {
		wants[streams[i].UID] = wantedOf(&streams[i])
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	held := map[string]heldSince{}
	for _, h := range now {
		x := heldSince{Held: h, since: time.Now(), wanted: wants[h.UID]}
		x.Goes.Bytes = max(h.Goes.Bytes, x.wanted.goes) // of two rules what goes by both
		old, ok := k.held[h.UID]
		if ok {
			x.since, x.told = old.since, old.told
		}
		if !ok || x.wanted.isNews(x.told) {
			fresh, x.told = append(fresh, x.Held), x.wanted
		}
		held[h.UID] = x
	}
	k.held = held
	for i := range streams {
		s := &streams[i]
		k.yes.expire(s.UID, wants[s.UID])
		if s.Overdue.Files == 0 && (s.Capacity <= 0 || s.Bytes <= s.Capacity) {
			k.yes.drop(s.UID)
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
		out = append(out, h.HeldBack)
	}
	return out
}

// ConfirmSpace lets the settings of a space, and the thresholds of its pools, take
// what they want there, also after a restart, for as long as they are not changed
// (a week at most). It tells whether something was held back.
func (a *Archive) ConfirmSpace(name string) bool {
	a.asked.mu.Lock()
	h, ok := a.asked.spaces[name]
	if ok {
		a.asked.yesSpaces.give(name, h.wanted.orMore(h.told))
	}
	a.asked.mu.Unlock()
	if ok {
		poke(a.ensured)
	}
	return ok
}

// ConfirmRetention lets the rules of a stream take what they want, likewise. It
// tells whether something was held back.
func (a *Archive) ConfirmRetention(uid string) bool {
	a.asked.mu.Lock()
	h, ok := a.asked.held[uid]
	if ok {
		a.asked.yes.give(uid, h.wanted.orMore(h.told))
	}
	a.asked.mu.Unlock()
	if ok {
		poke(a.ensured)
	}
	return ok
}
