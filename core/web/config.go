package web

import (
	"math"
	"net/netip"
	"net/url"

	"media-server/core/config"
	"media-server/core/fault"
)

// Config is [http], [https], [tls], [admin], [compat] and the viewers' side of
// [limits] in media-server.ini.
type Config struct {
	HTTP   HTTPConfig
	HTTPS  HTTPSConfig
	TLS    TLSConfig
	Admin  AdminConfig
	Limits LimitsConfig
	Compat CompatConfig
}

// HTTPConfig is [http].
type HTTPConfig struct {
	Enable         bool
	Listen         string         // :8080
	Login          bool           // login over plain HTTP from elsewhere than this machine; false
	TrustedProxies []netip.Prefix // whose X-Forwarded-For and -Proto are believed; none
	AllowOrigin    []string       // web pages of other hosts that may play; none; "*" = all
}

// HTTPSConfig is [https].
type HTTPSConfig struct {
	Enable bool
	Listen string // :8443
}

// TLSConfig is [tls]. Without cert and key a self-signed pair is made.
type TLSConfig struct {
	Cert       string // PEM file with the chain
	Key        string // PEM file
	MinVersion string // 1.2 or 1.3
}

// AdminConfig is [admin]: metrics and health, apart from viewers.
type AdminConfig struct {
	Enable bool
	Listen string         // 127.0.0.1:9998
	Allow  []netip.Prefix // who may read /metrics; 127.0.0.1/32
}

// LimitsConfig is the viewers' side of [limits].
type LimitsConfig struct {
	Viewers        int   // sessions at once; 0 = no limit
	Connections    int   // open connections of a listener; 4096
	ConnectionsPer int   // of these from one address; 512
	RequestSize    int64 // bytes of a request's body; 1M
}

// CompatConfig is [compat]: interfaces of other servers that are served too.
type CompatConfig struct {
	Titop      bool           // POST /v1/nvr/convert2mp4; true
	TitopAllow []netip.Prefix // who may use it without an API token; none
	Flussonic  bool           // /<uid>/index.m3u8, archive-F-D.mp4 and the like; true
}

// DefaultConfig is what holds where the ini says nothing.
func DefaultConfig() Config {
	return Config{
		HTTP:   HTTPConfig{Enable: true, Listen: ":8080"},
		HTTPS:  HTTPSConfig{Enable: true, Listen: ":8443"},
		TLS:    TLSConfig{MinVersion: "1.2"},
		Admin:  AdminConfig{Enable: true, Listen: "127.0.0.1:9998", Allow: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}},
		Compat: CompatConfig{Titop: true, Flussonic: true},
		Limits: LimitsConfig{Connections: 4096, ConnectionsPer: 512, RequestSize: 1 << 20},
	}
}

// Bind declares the keys.
func (c *Config) Bind(set *config.Set) {
	h := set.Section("http", "Plain HTTP: playback, API, cpanel.")
	h.Bool("enable", &c.HTTP.Enable, "Serve plain HTTP.").Restart()
	h.Listen("listen", &c.HTTP.Listen, "Address to listen on: host:port, [IPv6 address]:port, eth0:port for the first address of a network interface (IPv4 before IPv6), or :port for all. An interface is followed when its address changes; an address, interface or host name that is not there yet is waited for, while the rest of the server works.").Restart()
	h.Bool("login", &c.HTTP.Login, "Let people log in over plain HTTP from elsewhere than this machine. Passwords then travel in the clear.").Restart()
	h.Networks("trusted-proxies", &c.HTTP.TrustedProxies, "Proxies whose X-Forwarded-For and X-Forwarded-Proto are believed.").Restart()
	h.List("allow-origin", &c.HTTP.AllowOrigin, "Web pages that may play from here: origins such as https://example.org, by comma, or *. Empty = only our own.").Restart().Check(checkOrigins)

	s := set.Section("https", "The same over TLS.")
	s.Bool("enable", &c.HTTPS.Enable, "Serve HTTPS. Without cert and key in [tls] a self-signed pair is made.").Restart()
	s.Listen("listen", &c.HTTPS.Listen, "Address to listen on, as in [http].").Restart()

	t := set.Section("tls", "Certificate of everything that speaks TLS. The files are read again when they change.")
	t.Path("cert", &c.TLS.Cert, "Certificate with its chain, PEM.").Restart()
	t.Path("key", &c.TLS.Key, "Its private key, PEM.").Restart()
	t.Enum("min-version", &c.TLS.MinVersion, []string{"1.2", "1.3"}, "Oldest TLS version spoken.").Restart()

	a := set.Section("admin", "Metrics and health on a port apart: /metrics, /healthz, /readyz.")
	a.Bool("enable", &c.Admin.Enable, "Serve them.").Restart()
	a.Listen("listen", &c.Admin.Listen, "Address to listen on, as in [http].").Restart()
	a.Networks("allow", &c.Admin.Allow, "Who may read /metrics; /healthz and /readyz are open.").Restart()

	k := set.Section("compat", "Interfaces of other servers that this one answers too, beside its own.")
	k.Bool("titop", &c.Compat.Titop, "Serve /v1/nvr/convert2mp4: exports that are made in the background, see [export].").Restart()
	k.Networks("titop-allow", &c.Compat.TitopAllow, "Addresses and networks that may use it without an API token.").Restart()
	k.Bool("flussonic", &c.Compat.Flussonic, "Serve the addresses that set-top boxes and middleware know from elsewhere: /UID/index.m3u8, archive-F-D.m3u8, rewind-S.m3u8, preview.mp4, recording_status.json. They lead to this server's own.").Restart()
	k.Later("aipix")

	l := set.Section("limits", "Bounds that keep one part of the server from starving another.")
	l.Int("viewers", &c.Limits.Viewers, 0, math.MaxInt, "Most viewers at once, all streams together. 0 = no limit.").Restart()
	l.Int("connections", &c.Limits.Connections, 1, 1<<20, "Most open connections of a listener; one more is closed at once.").Restart()
	l.Int("connections-per-address", &c.Limits.ConnectionsPer, 1, 1<<20, "Most of these from one address. Many viewers behind one proxy need more.").Restart()
	l.Bytes("request-size", &c.Limits.RequestSize, 1<<10, "Largest body of a request.").Restart()
}

// Validate lists what the keys say together that cannot be.
func (c *Config) Validate() fault.Problems {
	var ps fault.Problems
	if (c.TLS.Cert == "") != (c.TLS.Key == "") {
		key, other := "cert", "key"
		if c.TLS.Cert == "" {
			key, other = other, key
		}
		ps.Add(fault.Problem{Where: "tls", Key: key, What: key + " is set and " + other + " is not", Hint: "set both, or neither for a self-signed pair"})
	}
	type listener struct{ section, addr string }
	var all []listener
	for _, l := range []struct {
		on bool
		listener
	}{{c.HTTP.Enable, listener{"http", c.HTTP.Listen}}, {c.HTTPS.Enable, listener{"https", c.HTTPS.Listen}}, {c.Admin.Enable, listener{"admin", c.Admin.Listen}}} {
		if !l.on {
			continue
		}
		for _, o := range all {
			if o.addr == l.addr && !portIsZero(l.addr) {
				ps.Add(fault.Problem{Where: l.section, Key: "listen", What: "listen = " + l.addr + " is that of [" + o.section + "] too", Hint: "each needs a port of its own"})
			}
		}
		all = append(all, l.listener)
	}
	return ps
}

// portIsZero: the system picks a free port, so two of them never collide.
func portIsZero(addr string) bool { return len(addr) > 1 && addr[len(addr)-2:] == ":0" }

func checkOrigins(text string) (what, hint string) {
	for _, o := range config.ParseList(text) {
		u, err := url.Parse(o)
		if o != "*" && (err != nil || u.Scheme == "" || u.Host == "" || u.Path != "") {
			return "\"" + o + "\" is not an origin", "write for example https://example.org, or *"
		}
	}
	return "", ""
}
