package rtsp

import (
	"fmt"
	"strconv"
	"strings"
)

// transport is one way to send that a client offers (RFC 2326, 12.39).
type transport struct {
	tcp       bool
	ports     [2]uint16 // of a client for RTP and RTCP; UDP
	channels  [2]uint8  // TCP
	hasNumber bool      // ports or channels were named
}

// parseTransport finds the first way in a Transport header that this server
// knows; udp is asked whether it may be UDP.
func parseTransport(values []string, udp func() bool) (t transport, ok bool) {
	for _, v := range values {
		for text := range strings.SplitSeq(v, ",") {
			if t, ok = oneTransport(text); ok && (t.tcp || udp()) {
				return t, true
			}
		}
	}
	return transport{}, false
}

func oneTransport(text string) (t transport, ok bool) {
	fields := strings.Split(text, ";")
	switch strings.ToUpper(strings.TrimSpace(fields[0])) {
	case "RTP/AVP/TCP":
		t.tcp = true
	case "RTP/AVP", "RTP/AVP/UDP":
	default:
		return t, false
	}
	for _, f := range fields[1:] {
		key, value, _ := strings.Cut(strings.TrimSpace(f), "=")
		switch strings.ToLower(key) {
		case "multicast":
			return t, false
		case "mode":
			if m := strings.ToUpper(strings.Trim(value, `"`)); m != "PLAY" {
				return t, false
			}
		case "interleaved":
			a, b, good := pair(value, 255)
			if !t.tcp || !good {
				return t, false
			}
			t.channels, t.hasNumber = [2]uint8{uint8(a), uint8(b)}, true
		case "client_port":
			a, b, good := pair(value, 65535)
			if t.tcp || !good || a == 0 || b == 0 {
				return t, false
			}
			t.ports, t.hasNumber = [2]uint16{uint16(a), uint16(b)}, true
		}
	}
	return t, t.tcp || t.hasNumber
}

// pair reads "8000-8001", or "8000", which means the next one as well.
func pair(text string, most int) (a, b int, ok bool) {
	first, second, two := strings.Cut(text, "-")
	a, err := strconv.Atoi(first)
	if b = a + 1; two && err == nil {
		b, err = strconv.Atoi(second)
	}
	return a, b, err == nil && a >= 0 && b >= 0 && a <= most && b <= most && a != b
}

// parsePorts reads udp-ports; empty = no UDP.
func parsePorts(text string) (ports [2]int, err error) {
	if text == "" {
		return ports, nil
	}
	a, b, ok := pair(text, 65535)
	if !ok || a == 0 || a%2 != 0 || b != a+1 {
		return ports, fmt.Errorf("%q is not a pair of ports, the first of them even", text)
	}
	return [2]int{a, b}, nil
}
