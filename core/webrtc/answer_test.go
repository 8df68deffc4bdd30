package webrtc

import (
	"net/netip"
	"strings"
	"testing"
)

func TestAnnounce(t *testing.T) {
	const answer = "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 8189 typ host\r\na=candidate:2 1 udp 2130706431 192.0.2.7 8189 typ host\r\na=end-of-candidates\r\n"
	const onlyLocal = "v=0\r\na=candidate:1 1 udp 2130706431 127.0.0.1 8189 typ host\r\na=end-of-candidates\r\n"
	for _, c := range []struct {
		name, answer, player string
		addresses            []string
		has, hasNot          []string
	}{
		{"from elsewhere", answer, "198.51.100.1", nil, []string{" 192.0.2.7 "}, []string{"127.0.0.1"}},
		{"from this machine", answer, "127.0.0.1", nil, []string{" 192.0.2.7 ", " 127.0.0.1 "}, nil},
		{"nobody knows from where", answer, "", nil, []string{" 127.0.0.1 "}, nil},
		{"nothing but loopback", onlyLocal, "198.51.100.1", nil, []string{" 127.0.0.1 "}, nil},
		{"announced", onlyLocal, "198.51.100.1", []string{"203.0.113.9", "[2001:db8::1]:9000", "2001:db8::2"},
			[]string{" udp 2113929471 203.0.113.9 8189 typ host\r\n", " 2001:db8::1 9000 typ host", " 2001:db8::2 8189 typ", " 203.0.113.9 8189 typ host tcptype passive"}, []string{"127.0.0.1"}},
	} {
		var a netip.Addr
		if c.player != "" {
			a = netip.MustParseAddr(c.player)
		}
		got := announce(c.answer, c.addresses, 8189, a)
		for _, h := range c.has {
			if !strings.Contains(got, h) {
				t.Errorf("%s: no %q in\n%s", c.name, h, got)
			}
		}
		for _, h := range c.hasNot {
			if strings.Contains(got, h) {
				t.Errorf("%s: %q in\n%s", c.name, h, got)
			}
		}
		if strings.Count(got, "end-of-candidates") != 1 {
			t.Errorf("%s: %s", c.name, got)
		}
	}
}

func TestAddresses(t *testing.T) {
	for text, ok := range map[string]bool{
		"": true, "203.0.113.7": true, "203.0.113.7:8189, 2001:db8::1": true, "[2001:db8::1]:8189": true, "[2001:db8::1]": true,
		"example.org": false, "203.0.113.7:0": false, "0.0.0.0": false, "fe80::1%eth0": false, "224.0.0.1": false, "203.0.113.7:99999": false, "1.2.3": false,
	} {
		if what, hint := checkAddresses(text); (what == "") != ok || what != "" && hint == "" {
			t.Errorf("%q: %q %q", text, what, hint)
		}
	}
}

func TestFragments(t *testing.T) {
	for text, same := range map[string]bool{
		"": true, "a=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.1 1 typ host\r\n": true, "a=ice-ufrag:other\r\n": false,
		"m=audio 9 RTP/AVP 0\r\na=mid:0\r\na=ice-ufrag:abcd\r\na=ice-ufrag:abce": false,
	} {
		if got := sameFragment(text, "abcd"); got != same {
			t.Errorf("%q: %v", text, got)
		}
	}
}
