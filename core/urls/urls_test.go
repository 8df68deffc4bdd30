package urls

import (
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"media-server/core/config"
	"media-server/core/fault"
)

// load reads sections as media-server.ini has them.
func load(t *testing.T, text string, services ...Service) (*Config, fault.Problems) {
	t.Helper()
	c := new(Config)
	set := config.NewSet()
	c.Bind(set)
	f, ps := config.Parse("a.ini", []byte(text))
	keys, more := set.Load(&config.Env{}, f)
	ps = append(ps, more...)
	c.Complete()
	return c, append(ps, keys.Locate(c.Validate(services))...)
}

var all = []Service{{"http", "http", true, 8080}, {"https", "https", true, 8443}, {"rtsp", "rtsp", true, 8554}, {"rtsps", "rtsps", true, 8322}, {"webrtc", "", true, 8189}}

const outside = `[address-map.web]
inner = 10.0.0.5:8080
outer = video.example.org:18080
clients = 0.0.0.0/0, ::/0
[address-map.rtsp]
inner = 10.0.0.5:8554
outer = [2001:db8::5]:554
clients = 203.0.113.0/24
[address-map.rest]
inner = 10.0.0.5
outer = other.example.org
clients = 198.51.100.0/24
`

func TestURLs(t *testing.T) {
	c, ps := load(t, outside, all...)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	lan := Asker{Client: netip.MustParseAddr("203.0.113.9"), Host: "10.0.0.5:8080", Service: "http", Local: netip.MustParseAddr("10.0.0.5")}
	with := func(f func(a *Asker)) Asker { a := lan; f(&a); return a }
	for name, k := range map[string]struct {
		ask  Asker
		of   Stream
		want map[string]string
	}{
		"mapped": {lan, Stream{UID: "gate"}, map[string]string{
			"hls": "http://video.example.org:18080/live/gate/playlist.m3u8", "mp4": "http://video.example.org:18080/dvr/gate/record.mp4?from={T}&to={T}",
			"page": "http://video.example.org:18080/live/gate/", "picture": "http://video.example.org:18080/live/gate/preview.jpg",
			"picture_at": "http://video.example.org:18080/dvr/gate/videoshot.jpg?time={T}",
			"rtsp":       "rtsp://[2001:db8::5]/live/gate", "rtsp_dvr": "rtsp://[2001:db8::5]/dvr/gate?from={T}&to={T}",
			"rtsps": "rtsps://10.0.0.5:8322/live/gate", "whep": "http://video.example.org:18080/live/gate/whep"}},
		"its host alone, each port stays; the port that is mapped counts more": {with(func(a *Asker) { a.Client = netip.MustParseAddr("198.51.100.1") }), Stream{UID: "gate"}, map[string]string{
			"hls": "http://video.example.org:18080/live/gate/playlist.m3u8", "rtsp": "rtsp://other.example.org:8554/live/gate", "rtsps": "rtsps://other.example.org:8322/live/gate"}},
		"a client that nobody knows": {with(func(a *Asker) { a.Client = netip.Addr{} }), Stream{UID: "gate"}, map[string]string{
			"hls": "http://10.0.0.5:8080/live/gate/playlist.m3u8", "rtsp": "rtsp://10.0.0.5:8554/live/gate"}},
		"an address in IPv6's notation": {with(func(a *Asker) { a.Client = netip.MustParseAddr("::ffff:203.0.113.9") }), Stream{UID: "gate"}, map[string]string{
			"rtsp": "rtsp://[2001:db8::5]/live/gate"}},
		"over a proxy with TLS": {with(func(a *Asker) { a.Client, a.Secure, a.Host = netip.Addr{}, true, "cam.example" }), Stream{UID: "gate"}, map[string]string{
			"hls": "https://cam.example/live/gate/playlist.m3u8", "rtsp": "rtsp://cam.example:8554/live/gate"}},
		"https is not mapped, http is": {with(func(a *Asker) { a.Secure, a.Service, a.Host = true, "https", "10.0.0.5:8443" }), Stream{UID: "gate"}, map[string]string{
			"hls": "http://video.example.org:18080/live/gate/playlist.m3u8"}},
		"IPv6, and a port that need not be named": {Asker{Host: "[fd00::1]:80", Service: "http"}, Stream{UID: "gate"}, map[string]string{
			"hls": "http://[fd00::1]/live/gate/playlist.m3u8", "rtsp": "rtsp://[fd00::1]:8554/live/gate"}},
		"no host": {Asker{Host: `"><script>`, Service: "http", Local: netip.MustParseAddr("::ffff:10.0.0.5")}, Stream{UID: "gate"}, map[string]string{
			"hls": "http://10.0.0.5/live/gate/playlist.m3u8"}},
		"a token": {Asker{Host: "h"}, Stream{UID: "gate", Token: "a b&c"}, map[string]string{
			"hls": "http://h/live/gate/playlist.m3u8?token=a+b%26c", "mp4": "http://h/dvr/gate/record.mp4?from={T}&to={T}&token=a+b%26c", "rtsp": "rtsp://h:8554/live/gate?token=a+b%26c",
			"whep": "http://h/live/gate/whep?token=a+b%26c"}},
		"protocols": {Asker{Host: "h"}, Stream{UID: "gate", Proto: map[string]bool{"rtsp": true}}, map[string]string{
			"hls": "", "dvr": "", "scrub": "", "ts": "", "mp4": "", "whep": "", "rtsp": "rtsp://h:8554/live/gate", "picture": "http://h/live/gate/preview.jpg", "ranges": "http://h/dvr/gate/ranges.json"}},
	} {
		got := c.URLs(k.ask, all, k.of)
		for n, want := range k.want {
			if got[n] != want {
				t.Errorf("%s: %s is %q, want %q", name, n, got[n], want)
			}
		}
		for n, u := range got {
			if p, err := url.Parse(u); err != nil || p.Host == "" {
				t.Errorf("%s: %s = %q: %v", name, n, u, err)
			}
		}
	}
	some := c.URLs(lan, []Service{{"http", "http", true, 8080}, {"rtsp", "rtsp", false, 8554}}, Stream{UID: "gate"})
	for _, n := range []string{"rtsp", "rtsps", "whep", "rtsp_dvr"} {
		if some[n] != "" {
			t.Errorf("%s is off and has %s", n, some[n])
		}
	}
}

// TestNearest: of two interfaces that is mapped which the client has reached.
func TestNearest(t *testing.T) {
	c, ps := load(t, "[address-map.1]\ninner = 10.0.0.5:8080\nouter = one.example:80\nclients = 0.0.0.0/0\n[address-map.2]\ninner = 192.168.1.5:8080\nouter = two.example:80\nclients = 0.0.0.0/0\n", all...)
	if len(ps) > 0 {
		t.Fatal(ps)
	}
	from := netip.MustParseAddr("203.0.113.9")
	for near, want := range map[string]string{"192.168.1.5": "two.example", "10.0.0.5": "one.example", "172.16.0.1": "one.example"} {
		if got, ok := c.Outer(from, []string{"x", near}, 8080); !ok || got.Host != want {
			t.Errorf("at %s: %v", near, got)
		}
	}
	if _, ok := c.Outer(from, []string{"10.0.0.5"}, 8554); ok {
		t.Error("another port was mapped")
	}
}

func TestProblems(t *testing.T) {
	const good = "[address-map.1]\ninner = 10.0.0.5:8080\nouter = a.example\nclients = 192.0.2.0/24\n"
	for name, c := range map[string]struct{ text, want string }{
		"good":                {good, ""},
		"twice":               {good + "[address-map.2]\ninner = 10.0.0.5:8080\nouter = b.example\nclients = 198.51.100.0/24, 192.0.2.128/25\n", "a.ini:8:1: 10.0.0.5:8080 is mapped in [address-map.1] too, for 192.0.2.0/24, which shares addresses with 192.0.2.128/25"},
		"twice, others":       {good + "[address-map.2]\ninner = 10.0.0.5:8080\nouter = b.example\nclients = 198.51.100.0/24\n", ""},
		"another port":        {good + "[address-map.2]\ninner = 10.0.0.5:8443\nouter = b.example\nclients = 192.0.2.0/24\n", ""},
		"nothing":             {"[address-map.1]\n", "[address-map.1]: clients is not set"},
		"no outer":            {"[address-map.1]\ninner = a\nclients = ::/0\n", "outer is not set"},
		"no clients":          {"[address-map.1]\ninner = a\nouter = b\nclients =\n", "a.ini:4:1: clients is not set"},
		"a URL":               {strings.Replace(good, "a.example", "http://a.example/", 1), `a.ini:3:9: bad value "http://a.example/" for outer: neither a host nor host:port`},
		"port 0":              {strings.Replace(good, ":8080", ":0", 1), "neither a host nor host:port"},
		"port 70000":          {strings.Replace(good, ":8080", ":70000", 1), "neither a host nor host:port"},
		"no such port":        {strings.Replace(good, ":8080", ":8081", 1), "a.ini:2:1: warning: no service listens on port 8081"},
		"bad network":         {strings.Replace(good, "192.0.2.0/24", "192.0.2.0/33", 1), `"192.0.2.0/33" is not a network`},
		"IPv6 and a port":     {strings.Replace(good, "a.example", "[2001:db8::1]:443", 1), ""},
		"IPv6":                {strings.Replace(good, "a.example", "2001:db8::1", 1), ""},
		"IPv6 with a zone":    {strings.Replace(good, "a.example", "fe80::1%eth0", 1), "neither a host nor host:port"},
		"a blank in the host": {strings.Replace(good, "a.example", "a example", 1), "neither a host nor host:port"},
		"the same":            {strings.Replace(good, "a.example", "10.0.0.5:8080", 1), "outer is what inner is"},
		"an unknown key":      {good + "outr = x\n", "unknown key"},
		"no name":             {"[address-map]\n", "needs a name"},
	} {
		_, ps := load(t, c.text, all...)
		var said []string
		for _, p := range ps {
			said = append(said, p.Error())
			if p.Hint == "" && !strings.Contains(p.What, "changes nothing") {
				t.Errorf("%s: no remedy: %v", name, p)
			}
		}
		if name == "a URL" && len(ps) != 1 {
			t.Errorf("one mistake, and %v", said)
		}
		if text := strings.Join(said, "\n"); (c.want == "") != (text == "") || !strings.Contains(text, c.want) {
			t.Errorf("%s:\n%s\nwant %s", name, text, c.want)
		}
	}
	if _, ps := load(t, strings.Replace(good, ":8080", ":8081", 1), Service{"http", "http", true, 0}); len(ps) > 0 {
		t.Errorf("a port that the system chooses: %v", ps)
	}
}

func FuzzPlace(f *testing.F) {
	for _, s := range []string{"a", "a:1", "[::1]:80", "::1", "10.0.0.1:65535", "a..b", "-", "[a]:1", "a:b:c", ":80"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, text string) {
		p, ok := parsePlace(text)
		if !ok {
			return
		}
		if again, ok := parsePlace(p.String()); !ok || again != p {
			t.Errorf("%q is %+v, which is %+v", text, p, again)
		}
		if u, err := url.Parse("http://" + join(p, "http") + "/x"); err != nil || u.Path != "/x" || u.Hostname() != p.Host {
			t.Errorf("%q: %v %v", text, u, err)
		}
	})
}
