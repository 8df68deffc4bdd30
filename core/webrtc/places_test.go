package webrtc

import (
	"context"
	"net/netip"
	"strconv"
	"strings"
	"testing"

	"media-server/plugins/sim/clip"
)

// TestTooManyWait: one customer, or all that have shown nothing, do not shut everybody
// out with sessions that they never take up.
func TestTooManyWait(t *testing.T) {
	type who struct {
		address string // N counts
		known   bool
	}
	for _, c := range []struct {
		name   string
		first  who
		fit    int
		others map[who]bool // and whether they fit then
	}{
		{"one address", who{"192.0.2.7", true}, maxFrom, map[who]bool{{"192.0.2.7", false}: false, {"::ffff:192.0.2.7", false}: false, {"192.0.2.8", false}: true}},
		{"a network of IPv6", who{"2001:db8::N", true}, maxFrom, map[who]bool{{"2001:db8:0:0:9::1", true}: false, {"2001:db8:0:1::1", false}: true}},
		{"of the link", who{"fe80::N%eth0", true}, maxFrom, map[who]bool{{"fe80::1%eth1", true}: false}},
		{"no address", who{"", true}, maxFrom, map[who]bool{{"192.0.2.7", false}: true}},
		{"nobody is known", who{"198.51.100.N", false}, maxUnknown, map[who]bool{{"192.0.2.7", false}: false, {"192.0.2.7", true}: true}},
		{"all are known", who{"198.51.100.N", true}, maxWaiting, map[who]bool{{"192.0.2.7", false}: false, {"192.0.2.7", true}: false}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, _ := newServer(t, &shot{clips: []string{clip.ALaw}})
			opens := func(w who, n int) bool {
				t.Helper()
				ask := Ask{UID: "gate", Known: w.known}
				if w.address != "" {
					ask.Address = netip.MustParseAddr(strings.Replace(w.address, "N", strconv.Itoa(n), 1))
				}
				_, err := s.Open(context.Background(), ask, []byte(sdpOf(audioAll)))
				if err != nil && refusal(t, err).Status != 429 {
					t.Error(err)
				}
				return err == nil
			}
			for i := range c.fit + 1 {
				if opens(c.first, i+1) != (i < c.fit) {
					t.Fatalf("session %d of %d", i+1, c.fit)
				}
			}
			for w, fits := range c.others {
				if opens(w, 1) != fits {
					t.Errorf("%+v: fits %v", w, !fits)
				}
			}
			s.Close()
			if s.places.all != 0 || s.places.unknown != 0 || len(s.places.from) != 0 {
				t.Errorf("something is left: %+v", s.places)
			}
		})
	}
}
