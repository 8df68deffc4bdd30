package urls

import (
	"fmt"
	"net"
	"net/netip"
	"regexp"
	"strconv"

	"media-server/core/config"
	"media-server/core/fault"
)

// Config is the sections [address-map.N] of media-server.ini.
type Config struct {
	Map []Mapping // in the order of the files

	// Collected while binding: the sections are read one after the other and
	// their addresses must not move.
	sections []*section
}

// Mapping is one [address-map.N].
type Mapping struct {
	Name    string
	Inner   Place          // as this server is reached from inside
	Outer   Place          // as the clients reach it
	Clients []netip.Prefix // whom it is for
}

// Place is a host, and a port of it; 0 = any.
type Place struct {
	Host string // address or name; an IPv6 address without brackets
	Port int
}

// String is the notation of the settings.
func (p Place) String() string {
	if p.Port == 0 {
		return p.Host
	}
	return net.JoinHostPort(p.Host, strconv.Itoa(p.Port))
}

type section struct {
	name, inner, outer string
	clients            []netip.Prefix
}

// Bind declares the keys. Call Complete after the load.
func (c *Config) Bind(set *config.Set) {
	set.Named("address-map", "Another address for clients that do not reach the server's own, as those outside of its network. It counts in every URL that is handed out: GET /api/v1/streams/{uid}/urls. The list as it is in force: GET /api/v1/address-map, address-map.csv.", func(name string, s *config.Section) {
		m := &section{name: name}
		c.sections = append(c.sections, m)
		s.String("inner", &m.inner, "How the server is reached from inside: host:port of one service ([http], [https], …), or the host alone for all of them. Of several sections for a client and a port that with the host which the client has named or reached counts, else that with the port, else the first.").Check(checkPlace)
		s.String("outer", &m.outer, "What the clients use instead: host:port, or the host alone where the port is the same.").Check(checkPlace)
		s.Networks("clients", &m.clients, "Networks of the clients that it is for; 0.0.0.0/0, ::/0 = all. Behind a proxy a client's own address counts if [http] trusted-proxies has the proxy.")
	})
}

// Complete takes over the sections that were read.
func (c *Config) Complete() {
	c.Map = nil
	for _, s := range c.sections {
		inner, _ := parsePlace(s.inner) // what is bad was refused
		outer, _ := parsePlace(s.outer)
		c.Map = append(c.Map, Mapping{Name: s.name, Inner: inner, Outer: outer, Clients: s.clients})
	}
}

// Validate lists what the keys say together that cannot be. services are those of the
// server: a map of a port that nobody listens on is a slip of the pen.
func (c *Config) Validate(services []Service) fault.Problems {
	var ps fault.Problems
	for i, m := range c.Map {
		add := func(level fault.Level, key, what, hint string) {
			ps.Add(fault.Problem{Level: level, Where: "address-map." + m.Name, Key: key, What: what, Hint: hint})
		}
		for key, missing := range map[string]bool{"inner": c.sections[i].inner == "", "outer": c.sections[i].outer == "", "clients": len(m.Clients) == 0} {
			if missing {
				add(fault.Error, key, key+" is not set", map[bool]string{false: placeHint, true: "write for example 0.0.0.0/0, ::/0 for all clients"}[key == "clients"])
			}
		}
		if m.Inner == m.Outer && m.Inner.Host != "" {
			add(fault.Warning, "outer", "outer is what inner is: the map changes nothing", "")
		}
		if !listens(services, m.Inner.Port) {
			add(fault.Warning, "inner", fmt.Sprintf("no service listens on port %d", m.Inner.Port), "write a port that is listened on inside, for example that of [http] listen")
		}
		for _, o := range c.Map[:i] {
			if m.Inner.Host == "" || o.Inner != m.Inner {
				continue
			}
			if a, b, ok := shared(o.Clients, m.Clients); ok {
				add(fault.Error, "clients", fmt.Sprintf("%s is mapped in [address-map.%s] too, for %s, which shares addresses with %s", m.Inner, o.Name, a, b), "a client has one address for it: keep the networks apart")
			}
		}
	}
	ps.Sort()
	return ps
}

// listens tells whether a service has a port, or whether that is not known yet: a
// listener of port 0 is given one by the system.
func listens(services []Service, port int) bool {
	for _, s := range services {
		if s.Enable && (s.Port == port || s.Port == 0) {
			return true
		}
	}
	return port == 0
}

func shared(a, b []netip.Prefix) (x, y netip.Prefix, ok bool) {
	for _, x := range a {
		for _, y := range b {
			if x.Overlaps(y) {
				return x, y, true
			}
		}
	}
	return x, y, false
}

const placeHint = "write host:port or a host: video.example.org:443, 10.0.0.7, [2001:db8::7]:8080"

var hostName = regexp.MustCompile(`^([A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)*[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.?$`)

func checkPlace(text string) (what, hint string) {
	if _, ok := parsePlace(text); !ok && text != "" {
		return "neither a host nor host:port", placeHint
	}
	return "", ""
}

// parsePlace reads host:port, [v6]:port, host, or a bare IPv6 address.
func parsePlace(text string) (p Place, ok bool) {
	if a, err := netip.ParseAddr(text); err == nil {
		return Place{Host: text}, a.Zone() == ""
	}
	p.Host = text
	if host, port, err := net.SplitHostPort(text); err == nil {
		n, err := strconv.ParseUint(port, 10, 16)
		if err != nil || n == 0 {
			return Place{}, false
		}
		p = Place{Host: host, Port: int(n)}
		if a, err := netip.ParseAddr(host); err == nil {
			return p, a.Zone() == ""
		}
	}
	return p, len(p.Host) <= 253 && hostName.MatchString(p.Host)
}
