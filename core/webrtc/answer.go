package webrtc

import (
	"fmt"
	"net/netip"
	"strings"
)

// announce puts into an answer what pion does not know: the further addresses,
// and leaves loopback out for players that are elsewhere.
func announce(answer string, addresses []string, port uint16, player netip.Addr) string {
	more := ""
	for i, a := range addresses {
		ap, ok := parseAddress(a, port)
		if !ok {
			continue
		}
		// RFC 8839 5.1; the priority of a host candidate, after those pion found.
		more += fmt.Sprintf("a=candidate:%d 1 udp %d %s %d typ host\r\n", 9000+i, 2113929471-i, ap.Addr(), ap.Port())
		more += fmt.Sprintf("a=candidate:%d 1 tcp %d %s %d typ host tcptype passive\r\n", 9500+i, 1671430143-i, ap.Addr(), ap.Port())
	}
	var out strings.Builder
	local, elsewhere := 0, 0
	for l := range strings.Lines(answer) {
		if strings.HasPrefix(l, "a=candidate:") {
			if loopback(l) {
				local++
			} else {
				elsewhere++
			}
		}
	}
	drop := local > 0 && elsewhere+len(more) > 0 && player.IsValid() && !player.Unmap().IsLoopback()
	for l := range strings.Lines(answer) {
		if drop && strings.HasPrefix(l, "a=candidate:") && loopback(l) {
			continue
		}
		if strings.HasPrefix(l, "a=end-of-candidates") {
			out.WriteString(more)
		}
		out.WriteString(l)
	}
	return out.String()
}

func loopback(candidate string) bool {
	f := strings.Fields(candidate)
	if len(f) < 6 {
		return false
	}
	a, err := netip.ParseAddr(f[4])
	return err == nil && a.IsLoopback()
}

// sameFragment tells whether a trickled fragment is of the same ICE session (no
// restart): it names no other ufrag than the offer's (RFC 8840 4.4).
func sameFragment(fragment, ufrag string) bool {
	for l := range strings.Lines(fragment) {
		if v, ok := strings.CutPrefix(strings.TrimSpace(l), "a=ice-ufrag:"); ok && v != ufrag {
			return false
		}
	}
	return true
}
