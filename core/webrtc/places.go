package webrtc

import (
	"crypto/rand"
	"encoding/hex"
	"net/netip"

	"media-server/core/fault"
)

// Bounds of what strangers can make the server hold.
const (
	maxSessions = 512            // at once
	maxWaiting  = 64             // of them not connected yet
	maxUnknown  = maxWaiting / 2 // of these without a token or login: they leave room for those who have one
	maxFrom     = 16             // of these from one address, or network of IPv6
)

// place is what a session takes up until it is connected.
type place struct {
	from  netip.Prefix
	known bool // has shown a token or a login
}

func placeOf(a Ask) place { return place{wholeOf(a.Address), a.Known} }

// wholeOf is what one player has at the least, and may come from anywhere in: an IPv4
// address, or a network of IPv6 (64 bits of each name the interface, RFC 4291 2.5.1).
func wholeOf(a netip.Addr) netip.Prefix {
	a = a.Unmap()
	bits := 32
	if a.Is6() {
		bits = 64
	}
	p, _ := a.Prefix(bits) // fails for none, which is one as well
	return p
}

// places counts the sessions that are not connected yet.
type places struct {
	all, unknown int
	from         map[netip.Prefix]int
}

func (n *places) full(p place) bool {
	return n.all >= maxWaiting || !p.known && n.unknown >= maxUnknown || n.from[p.from] >= maxFrom
}

func (n *places) take(p place) {
	n.all++
	n.from[p.from]++
	if !p.known {
		n.unknown++
	}
}

func (n *places) free(p place) {
	n.all--
	if n.from[p.from]--; n.from[p.from] <= 0 {
		delete(n.from, p.from)
	}
	if !p.known {
		n.unknown--
	}
}

// reserve takes a place for a session that is about to be made.
func (s *Server) reserve(p place) (id string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.closed:
		return "", closing()
	case s.udp == nil:
		return "", &Refusal{503, "webrtc_off", "WebRTC is not served here: " + fault.Of(s.why)[0].What, "HLS plays at playlist.m3u8; [webrtc] of media-server.ini sets enable and listen"}
	case len(s.sessions) >= maxSessions || s.places.full(p):
		return "", &Refusal{429, "too_many_sessions", "as many WebRTC sessions as may be are open", "try again later, or play HLS"}
	}
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	id = hex.EncodeToString(b[:])
	s.sessions[id] = nil
	s.places.take(p)
	s.wg.Add(1)
	return id, nil
}

// release gives the session's place back; waiting: it was not connected yet.
func (s *Server) release(id string, waiting bool, p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.sessions, id)
	if waiting {
		s.places.free(p)
	}
	s.wg.Done()
}

// came frees a place among those that are not connected yet.
func (s *Server) came(p place) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.places.free(p)
}
