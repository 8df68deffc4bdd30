package rtsp

import (
	"media-server/core/config"
	"media-server/core/fault"
)

// Config is [rtsp] and [rtsps] of media-server.ini.
type Config struct {
	Enable   bool
	Listen   string // :8554
	UDPPorts string // 8000-8001: RTP and RTCP; empty = no UDP
	Auth     string // none or digest

	Secure SecureConfig
}

// SecureConfig is [rtsps].
type SecureConfig struct {
	Enable bool
	Listen string // :8322
}

// Values of [rtsp] auth.
const (
	AuthNone   = "none"
	AuthDigest = "digest"
)

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config {
	return Config{Listen: ":8554", UDPPorts: "8000-8001", Auth: AuthNone, Secure: SecureConfig{Listen: ":8322"}}
}

// Bind declares the keys.
func (c *Config) Bind(set *config.Set) {
	s := set.Section("rtsp", "RTSP: rtsp://HOST:8554/live/UID and /dvr/UID?from=T&to=T, for players and video management systems.")
	s.Bool("enable", &c.Enable, "Serve RTSP to streams that have rtsp in stream-proto.").Restart()
	s.Listen("listen", &c.Listen, "Address to listen on, as in [http].").Restart()
	s.String("udp-ports", &c.UDPPorts, "Two ports, the first even, from which RTP and RTCP go to players that want UDP: 8000-8001. Empty = TCP only.").Restart().Check(func(text string) (what, hint string) {
		if _, err := parsePorts(text); err != nil {
			return err.Error(), "write for example 8000-8001, or nothing for TCP only"
		}
		return "", ""
	})
	s.Enum("auth", &c.Auth, []string{AuthNone, AuthDigest}, "digest = every player has to prove who it is, at public streams too: by an account made with media-server passwd --digest USER, or a token; addresses in a stream-whitelist need not. none = there are no such accounts here, and stream-access alone says who plays.").Restart()

	t := set.Section("rtsps", "The same over TLS, with the certificate of [tls]. Media go through the same connection, never by UDP.")
	t.Bool("enable", &c.Secure.Enable, "Serve RTSPS.").Restart()
	t.Listen("listen", &c.Secure.Listen, "Address to listen on, as in [http].").Restart()
}

// Validate lists what the keys say together that cannot be.
func (c *Config) Validate() fault.Problems {
	var ps fault.Problems
	if c.Enable && c.Secure.Enable && c.Listen == c.Secure.Listen {
		ps.Add(fault.Problem{Where: "rtsps", Key: "listen", What: "listen = " + c.Listen + " is that of [rtsp] too", Hint: "each needs a port of its own"})
	}
	return ps
}
