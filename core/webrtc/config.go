package webrtc

import (
	"net/netip"
	"strings"

	"media-server/core/config"
)

// Config is [webrtc] of media-server.ini.
type Config struct {
	Enable    bool
	Listen    string   // :8189, UDP and TCP
	Addresses []string // further addresses told to players: IP or IP:port
}

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config { return Config{Enable: true, Listen: ":8189"} }

// Bind declares the keys.
func (c *Config) Bind(set *config.Set) {
	s := set.Section("webrtc", "WebRTC: live below half a second in browsers, at /live/UID/whep. The offer comes over HTTP, the media over a port apart.")
	s.Bool("enable", &c.Enable, "Serve WebRTC.").Restart()
	s.Listen("listen", &c.Listen, "Address of the media, UDP and TCP on one port.").Restart()
	s.List("addresses", &c.Addresses, "Further addresses told to players, by comma, each an IP or IP:port: the public one where this server stands behind NAT that forwards the port.").Restart().Check(checkAddresses)
}

func checkAddresses(text string) (what, hint string) {
	for _, a := range config.ParseList(text) {
		if _, ok := parseAddress(a, 1); !ok {
			return "\"" + a + "\" is not an address", "write for example 203.0.113.7, 203.0.113.7:8189 or [2001:db8::7]:8189"
		}
	}
	return "", ""
}

// parseAddress reads IP or IP:port.
func parseAddress(text string, port uint16) (netip.AddrPort, bool) {
	if ap, err := netip.ParseAddrPort(text); err == nil {
		return ap, ap.Port() > 0 && usable(ap.Addr())
	}
	a, err := netip.ParseAddr(strings.Trim(text, "[]"))
	return netip.AddrPortFrom(a, port), err == nil && usable(a)
}

func usable(a netip.Addr) bool { return !a.IsUnspecified() && !a.IsMulticast() && a.Zone() == "" }
