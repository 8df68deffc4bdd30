package access

import (
	"net/netip"
	"sync"
	"time"
)

const (
	lockTries     = 10
	lockAddresses = 10000 // kept in memory at most
)

// lockout counts failed logins by address. It is not kept over a restart: an
// attacker cannot cause one, and an operator who locked himself out can.
type lockout struct {
	window time.Duration // 0 = never

	mu   sync.Mutex
	seen map[string]*tries
}

type tries struct {
	count int
	first time.Time
	until time.Time // locked
}

// try counts an attempt, before it is known how it ends.
func (l *lockout) try(address string, now time.Time) (until time.Time, ok bool) {
	if l.window <= 0 {
		return time.Time{}, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.seen == nil {
		l.seen = map[string]*tries{}
	}
	key := network(address)
	t := l.seen[key]
	switch {
	case t != nil && now.Before(t.until):
		return t.until, false
	case t == nil || !t.until.IsZero() || now.Sub(t.first) >= l.window:
		if t == nil && len(l.seen) >= lockAddresses {
			l.evict(now)
		}
		t = &tries{first: now}
		l.seen[key] = t
	}
	if t.count++; t.count >= lockTries {
		t.until = now.Add(l.window) // this attempt is the last
	}
	return time.Time{}, true
}

// undo takes one attempt back that could not be judged; those before it stand.
func (l *lockout) undo(address string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if t := l.seen[network(address)]; t != nil {
		t.count--
		t.until = time.Time{}
	}
}

// forgive is told of a login that succeeded.
func (l *lockout) forgive(address string) {
	l.mu.Lock()
	delete(l.seen, network(address))
	l.mu.Unlock()
}

// evict makes room: first what has run out, then whatever comes.
func (l *lockout) evict(now time.Time) {
	for k, t := range l.seen {
		if now.Sub(t.first) >= l.window && now.After(t.until) {
			delete(l.seen, k)
		}
	}
	for k := range l.seen {
		if len(l.seen) < lockAddresses {
			return
		}
		delete(l.seen, k)
	}
}

// network is the address, or for IPv6 its /64: that is what one subscriber
// has, and could walk through.
func network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		if ap, err := netip.ParseAddrPort(address); err == nil {
			a = ap.Addr()
		} else {
			return address
		}
	}
	a = a.Unmap().WithZone("")
	if a.Is6() {
		p, _ := a.Prefix(64)
		return p.String()
	}
	return a.String()
}
