package node

import "time"

// A stream with stream-enable = on-demand is captured while somebody watches: from the
// first request for it live, until demandIdle behind the last, whatever the protocol.

// demandIdle is how long such a capture goes on behind the last request.
const demandIdle = 30 * time.Second

func (s *streams) isWanted(uid string, now time.Time) bool {
	s.mu.RLock()
	defer s.mu.RUnlock()
	at, ok := s.wanted[uid]
	return ok && now.Sub(at) < demandIdle
}

// want notes that somebody watches a stream live, and begins its capture if nobody has.
// It tells whether the stream is captured on demand.
func (s *streams) want(uid string) bool {
	r := s.get(uid)
	if r == nil || !r.set.Config.OnDemand {
		return false
	}
	s.mu.Lock()
	s.wanted[uid] = time.Now()
	s.mu.Unlock()
	if r.str != nil {
		return true
	}
	s.changing.Lock()
	defer s.changing.Unlock()
	if r = s.get(uid); s.detached || r == nil || r.str != nil || !r.set.Config.OnDemand {
		return true // somebody else was first, or its file has changed
	}
	s.put(s.start(r.set, nil))
	return true
}

// endUnwatched ends captures that nobody has watched for a while.
func (s *streams) endUnwatched(now time.Time) {
	for _, r := range s.list() {
		if r.str == nil || !r.set.Config.OnDemand || r.str.Watched() || s.isWanted(r.set.UID, now) {
			continue
		}
		s.changing.Lock()
		if cur := s.get(r.set.UID); cur != nil && cur.str == r.str && !s.detached && !s.isWanted(r.set.UID, now) {
			cur.str.Stop()
			s.put(&running{set: cur.set, watched: cur.goesOn()})
		}
		s.changing.Unlock()
	}
}
