package door

import (
	"net"
	"net/netip"
	"testing"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/urls"
)

// reached is a connection to an address of this server.
type reached struct {
	conn
	at string
}

func (r reached) LocalAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(r.at), Port: 8080} }

// TestAddresses: who is mapped is the client as far as it is known for certain, and
// never whoever a header says.
func TestAddresses(t *testing.T) {
	d := newDoor(access.Public)
	c := &urls.Config{Map: []urls.Mapping{{Name: "1", Inner: urls.Place{Host: "10.0.0.5", Port: 8080}, Outer: urls.Place{Host: "video.example.org", Port: 80},
		Clients: []netip.Prefix{netip.MustParsePrefix("203.0.113.0/24")}}}}
	a := &Addresses{Door: d, Config: func() *urls.Config { return c }, Name: func() string { return "nvr" },
		Services: func() []urls.Service { return []urls.Service{{Name: "http", Scheme: "http", Enable: true, Port: 8080}} },
		Proto:    func(string) map[string]bool { return nil }}
	const inside, outside = "http://cam.example/live/gate/", "http://video.example.org/live/gate/"
	for name, k := range map[string]struct {
		from    string
		as      string // the client that is asked for
		headers []string
		want    string
	}{
		"outside":                       {"203.0.113.7", "", nil, outside},
		"inside":                        {"10.0.0.7", "", nil, inside},
		"inside, for one outside":       {"10.0.0.7", "203.0.113.7", nil, outside},
		"outside, for one inside":       {"203.0.113.7", "10.0.0.7", nil, inside},
		"says to be outside":            {"10.0.0.7", "", []string{"X-Forwarded-For", "203.0.113.7"}, inside},
		"a stranger's proxy outside":    {"203.0.113.7", "", []string{"X-Forwarded-For", "10.0.0.7"}, inside}, // nobody knows who is behind it
		"a trusted proxy says so, TLS":  {"10.1.0.1", "203.0.113.7", []string{"X-Forwarded-Proto", "https"}, "https://video.example.org:80/live/gate/"},
		"a trusted proxy says nothing":  {"10.1.0.1", "", nil, inside},
		"somebody else says over TLS":   {"10.0.0.7", "", []string{"X-Forwarded-Proto", "https"}, inside},
		"a trusted proxy with TLS, LAN": {"10.1.0.1", "", []string{"X-Forwarded-Proto", "https"}, "https://cam.example/live/gate/"},
	} {
		var as netip.Addr
		if k.as != "" {
			as = netip.MustParseAddr(k.as)
		}
		if got := a.URLs(request(k.from, "GET", "/api/v1/streams/gate/urls", k.headers...), as, "gate", "")["page"]; got != k.want {
			t.Errorf("%s: %s, want %s", name, got, k.want)
		}
		if got := a.Base(request(k.from, "GET", "/api/v1/exports", k.headers...)); k.as == "" && got+"/live/gate/" != k.want {
			t.Errorf("%s: its base is %s", name, got)
		}
	}
	var ctx fasthttp.RequestCtx
	ctx.Init2(reached{conn{from: "10.0.0.7"}, "10.0.0.5"}, nil, false)
	if got := a.URLs(&ctx, netip.Addr{}, "gate", "t")["page"]; got != "http://10.0.0.5:8080/live/gate/?token=t" {
		t.Errorf("without a Host: %s", got)
	}
	if got := a.Map(); len(got) != 1 || got[0].Name != "1" {
		t.Errorf("%v", got)
	}
}
