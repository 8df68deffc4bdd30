package urls

import (
	"net"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
)

// Service is a way into the server.
type Service struct {
	Name   string // http, https, rtsp, rtsps, webrtc
	Scheme string // of its URLs; "" = it has none of its own (webrtc is asked for over http or https)
	Enable bool
	Port   int // listened on; 0 = not known
}

// Port is that of an address to listen on; 0 = the system chooses, or it is none.
func Port(listen string) int {
	_, port, err := net.SplitHostPort(listen)
	if err != nil {
		return 0
	}
	n, _ := strconv.Atoi(port)
	return n
}

// Asker is who is to be told, and how the request that asks came.
type Asker struct {
	Client  netip.Addr // who will use the URLs; not valid = not known, and nothing is mapped
	Host    string     // as the request named this server, with the port if it did
	Secure  bool       // the request came over TLS, here or at a proxy
	Service string     // that has taken the request: http or https
	Local   netip.Addr // address of this server that the request came in at; may be not valid
}

// Stream is what is to be played.
type Stream struct {
	UID   string
	Proto map[string]bool // offered: hls, mp4, rtsp, webrtc; nil = all
	Token string          // put into every URL; "" = none
}

// Outer is what a client uses for a port of this server, if that is mapped. Its port is
// 0 where it stays as it is. near are the names that the client has for this server.
func (c *Config) Outer(client netip.Addr, near []string, port int) (Place, bool) {
	best, rank := Place{}, 0
	for _, m := range c.Map {
		if !client.IsValid() || !within(m.Clients, client) || m.Inner.Port != 0 && m.Inner.Port != port {
			continue
		}
		r := 1
		if m.Inner.Port != 0 {
			r++
		}
		for _, n := range near {
			if strings.EqualFold(strings.TrimSuffix(n, "."), strings.TrimSuffix(m.Inner.Host, ".")) {
				r += 2
				break
			}
		}
		if r > rank {
			best, rank = m.Outer, r
		}
	}
	return best, rank > 0
}

func within(nets []netip.Prefix, ip netip.Addr) bool {
	ip = ip.Unmap().WithZone("")
	for _, n := range nets {
		if n.Contains(ip) {
			return true
		}
	}
	return false
}

// URLs are all URLs of a stream for who asks. {T} in them stands for a time.
func (c *Config) URLs(a Asker, services []Service, s Stream) map[string]string {
	host, port := a.named()
	near := a.near(host)
	out := map[string]string{}
	id := url.PathEscape(s.UID)
	put := func(name, base, path string, query ...string) {
		if s.Token != "" {
			query = append(query, "token="+url.QueryEscape(s.Token))
		}
		if len(query) > 0 {
			path += "?" + strings.Join(query, "&")
		}
		out[name] = base + path
	}
	offers := func(proto string) bool { return s.Proto == nil || s.Proto[proto] }

	base := c.web(a, services, near, host, port)
	live, dvr := "/live/"+id+"/", "/dvr/"+id+"/"
	put("page", base, live)
	put("picture", base, live+"preview.jpg")
	put("preview", base, live+"preview.mp4")
	put("picture_at", base, dvr+"videoshot.jpg", "time={T}")
	put("videoshot", base, dvr+"videoshot.mp4", "time={T}")
	put("ranges", base, dvr+"ranges.json")
	if offers("hls") {
		put("hls", base, live+"playlist.m3u8")
		put("dvr", base, dvr+"playlist.m3u8", "from={T}", "to={T}")
		put("ts", base, dvr+"record.ts", "from={T}", "to={T}")
		put("scrub", base, dvr+"scrub.m3u8", "from={T}", "to={T}")
	}
	if offers("mp4") {
		put("mp4", base, dvr+"record.mp4", "from={T}", "to={T}")
	}
	for _, v := range services {
		switch {
		case !v.Enable:
		case v.Name == "webrtc" && offers("webrtc"):
			put("whep", base, live+"whep")
		case (v.Name == "rtsp" || v.Name == "rtsps") && offers("rtsp"):
			base := v.Scheme + "://" + c.authority(a.Client, near, host, v)
			put(v.Name, base, strings.TrimSuffix(live, "/"))
			put(v.Name+"_dvr", base, strings.TrimSuffix(dvr, "/"), "from={T}", "to={T}")
		}
	}
	return out
}

// Base is scheme and authority of this server's pages and API for who asks.
func (c *Config) Base(a Asker, services []Service) string {
	host, port := a.named()
	return c.web(a, services, a.near(host), host, port)
}

// near are the names by which who asks has reached this server.
func (a *Asker) near(host string) []string {
	if a.Local.IsValid() {
		return []string{host, a.Local.Unmap().String()}
	}
	return []string{host}
}

// named splits the Host of the request; the port is 0 where it names none.
func (a *Asker) named() (host string, port int) {
	host = a.Host
	if h, p, err := net.SplitHostPort(host); err == nil {
		if port, err = strconv.Atoi(p); err == nil {
			host = h
		}
	}
	host = strings.TrimSuffix(strings.TrimPrefix(host, "["), "]")
	if p, ok := parsePlace(host); (!ok || p.Port != 0) && a.Local.IsValid() {
		return a.Local.Unmap().String(), port // no host that a URL may hold
	}
	return host, port
}

// web is scheme and authority of what is served over http and https: as who asks came
// in, or as that is mapped for the client. Where it is not, and the other of the two
// services is, the client gets that: what is not mapped is not for outside.
func (c *Config) web(a Asker, services []Service, near []string, host string, port int) string {
	for _, own := range []bool{true, false} {
		for _, v := range services {
			if v.Name != "http" && v.Name != "https" || !v.Enable || (v.Name == a.Service) != own {
				continue
			}
			to, ok := c.Outer(a.Client, near, v.Port)
			switch {
			case !ok:
			case own: // a proxy before it may speak another protocol, and on another port
				if to.Port == 0 {
					to.Port = port
				}
				return scheme(a.Secure) + "://" + join(to, scheme(a.Secure))
			default:
				return v.Scheme + "://" + c.authority(a.Client, near, host, v)
			}
		}
	}
	return scheme(a.Secure) + "://" + join(Place{host, port}, scheme(a.Secure))
}

// authority is host and port of a service for a client.
func (c *Config) authority(client netip.Addr, near []string, host string, v Service) string {
	to, ok := c.Outer(client, near, v.Port)
	if !ok {
		to.Host = host
	}
	if to.Port == 0 {
		to.Port = v.Port
	}
	return join(to, v.Scheme)
}

func scheme(secure bool) string {
	if secure {
		return "https"
	}
	return "http"
}

// usual are the ports that a URL need not name.
var usual = map[string]int{"http": 80, "https": 443, "rtsp": 554, "rtsps": 322}

func join(p Place, scheme string) string {
	if p.Port == usual[scheme] {
		p.Port = 0
	}
	if p.Port == 0 && strings.Contains(p.Host, ":") {
		return "[" + p.Host + "]"
	}
	return p.String()
}
