package door

import (
	"net"
	"net/netip"
	"testing"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/media"
	"media-server/core/web"
	"media-server/core/web/api"
)

// people know one token of each role, and two sessions.
type people struct{}

func (people) Identify(secret string) (access.Identity, bool) {
	who, ok := map[string]access.Identity{
		"view":    {Name: "v", Role: access.Viewer},
		"admin":   {Name: "a", Role: access.Administrator},
		"session": {Name: "s", Role: access.Administrator, Session: "1"},
		"first":   {Name: "admin", Role: access.Administrator, Session: "2", MustChange: true},
	}[secret]
	return who, ok
}

func (people) PlayToken(text string) (access.PlayToken, error) {
	good := access.PlayToken{ID: "1", UID: "cam"}
	switch text {
	case "good.a.b":
		return good, nil
	case "mine.a.b":
		good.Address = netip.MustParsePrefix("192.0.2.0/24")
		return good, nil
	case "other.a.b":
		good.UID = "other"
		return good, nil
	case "yesterday.a.b":
		good.FromMS, good.ToMS = 1000, 2000
		return good, nil
	case "old.a.b":
		return good, access.ErrExpired
	case "gone.a.b":
		return good, access.ErrRevoked
	}
	return good, access.ErrPlayToken
}

func (people) OpenTo(a netip.Addr, forwarded bool) bool {
	return !forwarded && a == netip.MustParseAddr("10.0.0.9")
}

type conn struct {
	net.Conn
	from string
}

func (c conn) RemoteAddr() net.Addr { return &net.TCPAddr{IP: net.ParseIP(c.from)} }
func (c conn) LocalAddr() net.Addr  { return &net.TCPAddr{} }

// request is a request from an address with headers, name and value in turn.
func request(from, method, uri string, headers ...string) *fasthttp.RequestCtx {
	ctx := new(fasthttp.RequestCtx)
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(uri)
	req.Header.SetHost("cam.example")
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	ctx.Init2(conn{from: from}, nil, false)
	req.CopyTo(&ctx.Request)
	return ctx
}

func newDoor(rule access.Rule, whitelist ...netip.Prefix) *Door {
	return &Door{Accounts: people{}, Rule: func(string) (access.Rule, []netip.Prefix) { return rule, whitelist },
		Config: &web.Config{HTTP: web.HTTPConfig{TrustedProxies: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}}}}
}

func TestIdentify(t *testing.T) {
	const far = "192.0.2.1"
	for _, c := range []struct {
		name    string
		from    string
		method  string
		uri     string
		headers []string
		role    api.Role
		status  int // of the refusal; 0 = none
	}{
		{"nobody", far, "GET", "/", nil, api.Anybody, 0},
		{"a token", far, "GET", "/", []string{"Authorization", "Bearer view"}, api.Viewer, 0},
		{"a token, any case", far, "POST", "/", []string{"Authorization", "bEaReR admin "}, api.Administrator, 0},
		{"a token in the query", far, "GET", "/?token=view", nil, api.Viewer, 0},
		{"a bad token", far, "GET", "/", []string{"Authorization", "Bearer nobody"}, api.Anybody, 401},
		{"a bad token and a good cookie", far, "GET", "/?token=x", []string{"Cookie", "mssession=session"}, api.Anybody, 401},
		{"a session as a token", far, "GET", "/", []string{"Authorization", "Bearer session"}, api.Anybody, 401},
		{"a token as a session", far, "GET", "/", []string{"Cookie", "mssession=admin"}, api.Anybody, 0},
		{"a session reads", far, "GET", "/", []string{"Cookie", "mssession=session"}, api.Administrator, 0},
		{"a session changes", far, "POST", "/", []string{"Cookie", "mssession=session", "Origin", "http://cam.example"}, api.Administrator, 0},
		{"a session changes, no page named", far, "POST", "/", []string{"Cookie", "mssession=session"}, api.Anybody, 403},
		{"a session changes from elsewhere", far, "DELETE", "/", []string{"Cookie", "mssession=session", "Origin", "http://evil.example"}, api.Anybody, 403},
		{"a session changes over another scheme", far, "POST", "/", []string{"Cookie", "mssession=session", "Origin", "https://cam.example"}, api.Anybody, 403},
		{"behind a trusted proxy with TLS", "10.1.2.3", "POST", "/", []string{"Cookie", "mssession=session", "Origin", "https://cam.example", "X-Forwarded-Proto", "https"}, api.Administrator, 0},
		{"behind somebody who claims TLS", far, "POST", "/", []string{"Cookie", "mssession=session", "Origin", "https://cam.example", "X-Forwarded-Proto", "https"}, api.Anybody, 403},
		{"an open address", "10.0.0.9", "POST", "/", []string{"Host", "10.0.0.1:8080"}, api.Administrator, 0},
		{"an open address, by a name without a dot", "10.0.0.9", "POST", "/", []string{"Host", "recorder"}, api.Administrator, 0},
		{"an open address, IPv6", "10.0.0.9", "POST", "/", []string{"Host", "[fd00::1]:8080"}, api.Administrator, 0},
		{"an open address, by a name that may be anybody's", "10.0.0.9", "POST", "/", []string{"Origin", "http://cam.example"}, api.Anybody, 0},
		{"an open address, by such a name without a page", "10.0.0.9", "GET", "/", nil, api.Anybody, 0},
		{"an open address, fetched by another site", "10.0.0.9", "GET", "/", []string{"Host", "10.0.0.1", "Sec-Fetch-Site", "cross-site"}, api.Anybody, 0},
		{"an open address, forwarded", "10.0.0.9", "GET", "/", []string{"X-Forwarded-For", "10.0.0.9"}, api.Anybody, 0},
		{"an open address, via", "10.0.0.9", "GET", "/", []string{"Via", "1.1 proxy"}, api.Anybody, 0},
		{"an open address, from a page of another site", "10.0.0.9", "POST", "/", []string{"Origin", "http://evil.example"}, api.Anybody, 0},
		{"an open address, from a page of ours", "10.0.0.9", "POST", "/", []string{"Host", "10.0.0.1", "Origin", "http://10.0.0.1"}, api.Administrator, 0},
	} {
		t.Run(c.name, func(t *testing.T) {
			who, e := newDoor(access.Private).Identify(request(c.from, c.method, c.uri, c.headers...))
			status := 0
			if e != nil {
				status = e.Status
			}
			if who.Role != c.role || status != c.status {
				t.Errorf("role %d, status %d, want %d, %d", who.Role, status, c.role, c.status)
			}
		})
	}
}

// TestSpan: a token of a span opens it, or what is not known yet; all of a recording
// has to be said as such.
func TestSpan(t *testing.T) {
	d := newDoor(access.Private)
	for _, c := range []struct {
		name   string
		a      Ask
		status int
	}{
		{"not known yet", Ask{Unknown: true}, 0},
		{"within", Ask{Span: media.Span{From: media.WallMilli(1000), To: media.WallMilli(2000)}}, 0},
		{"all", Ask{}, 403},
		{"half a millisecond behind all", Ask{Span: media.Span{From: 500_000}}, 403},
		{"live", Ask{Live: true, Unknown: true}, 403},
	} {
		c.a.UID, c.a.Secret = "cam", "yesterday.a.b"
		g, e := d.Admit(c.a)
		if e != nil && e.Status != c.status || e == nil && (c.status != 0 || g.Within.To != media.WallMilli(2000)) {
			t.Errorf("%s: %+v %v", c.name, g, e)
		}
	}
}

func TestPlay(t *testing.T) {
	for _, c := range []struct {
		name    string
		rule    access.Rule
		headers []string
		status  int
	}{
		{"public", access.Public, nil, 0},
		{"public, a bad token", access.Public, []string{"Authorization", "Bearer nobody"}, 0},
		{"private", access.Private, nil, 401},
		{"private, a bad token", access.Private, []string{"Authorization", "Bearer nobody"}, 401},
		{"private, a viewer", access.Private, []string{"Authorization", "Bearer view"}, 0},
		{"private, a session", access.Private, []string{"Cookie", "mssession=session"}, 0},
		{"private, the first password", access.Private, []string{"Cookie", "mssession=first"}, 403},
		{"no such rule", "", nil, 401},
		{"protected", access.Protected, nil, 403},
		{"protected, a viewer", access.Protected, []string{"Authorization", "Bearer view"}, 0},
		{"private, a play token", access.Private, []string{"Authorization", "Bearer good.a.b"}, 0},
		{"private, one of this address", access.Private, []string{"Authorization", "Bearer mine.a.b"}, 0},
		{"private, one of this address from behind a proxy", access.Private, []string{"Authorization", "Bearer mine.a.b", "Via", "1.1 x"}, 403},
		{"private, one of another stream", access.Private, []string{"Authorization", "Bearer other.a.b"}, 403},
		{"private, live with one of another time", access.Private, []string{"Authorization", "Bearer yesterday.a.b"}, 403},
		{"private, an expired one", access.Private, []string{"Authorization", "Bearer old.a.b"}, 401},
		{"private, a revoked one", access.Private, []string{"Authorization", "Bearer gone.a.b"}, 401},
		{"private, none of ours", access.Private, []string{"Authorization", "Bearer x.a.b"}, 401},
		{"public, none of ours", access.Public, []string{"Authorization", "Bearer x.a.b"}, 0},
		{"protected, one of another stream", access.Protected, []string{"Authorization", "Bearer other.a.b"}, 403},
		{"protected, says that it comes from a listed address", access.Protected, []string{"X-Forwarded-For", "198.51.100.7"}, 403},
	} {
		t.Run(c.name, func(t *testing.T) {
			_, e := newDoor(c.rule, netip.MustParsePrefix("198.51.100.0/24")).Play(request("192.0.2.1", "GET", "/live/cam/media.m3u8", c.headers...), "cam", true)
			if status := 0; e != nil && e.Status != c.status || e == nil && status != c.status {
				t.Errorf("%+v, want %d", e, c.status)
			}
		})
	}
}

// TestKnown: what was shown counts where it is good, needed or not.
func TestKnown(t *testing.T) {
	for _, c := range []struct {
		name, from string
		rule       access.Rule
		headers    []string
		want       bool
	}{
		{"nothing", "192.0.2.1", access.Public, nil, false},
		{"a token", "192.0.2.1", access.Public, []string{"Authorization", "Bearer view"}, true},
		{"a token, where it is needed", "192.0.2.1", access.Private, []string{"Authorization", "Bearer view"}, true},
		{"a bad token", "192.0.2.1", access.Public, []string{"Authorization", "Bearer nobody"}, false},
		{"a session", "192.0.2.1", access.Public, []string{"Cookie", "mssession=session"}, true},
		{"a bad session", "192.0.2.1", access.Public, []string{"Cookie", "mssession=x"}, false},
		{"a token as a session", "192.0.2.1", access.Public, []string{"Cookie", "mssession=view"}, false},
		{"a session as a token", "192.0.2.1", access.Public, []string{"Authorization", "Bearer session"}, false},
		{"a play token", "192.0.2.1", access.Public, []string{"Authorization", "Bearer good.a.b"}, true},
		{"an expired one", "192.0.2.1", access.Public, []string{"Authorization", "Bearer old.a.b"}, false},
		{"a listed address", "198.51.100.7", access.Protected, nil, false},
		{"an address that needs no login", "10.0.0.9", access.Private, []string{"Host", "recorder"}, true},
	} {
		g, e := newDoor(c.rule, netip.MustParsePrefix("198.51.100.0/24")).Play(request(c.from, "GET", "/live/cam/whep", c.headers...), "cam", true)
		if e != nil || g.Known() != c.want {
			t.Errorf("%s: %v, want %v", c.name, e, c.want)
		}
	}
}

// TestPlayProtected: a protected stream is for listed addresses.
func TestPlayProtected(t *testing.T) {
	d := newDoor(access.Protected, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("2001:db8::1/128"))
	for from, want := range map[string]int{"198.51.100.7": 0, "::ffff:198.51.100.7": 0, "2001:db8::1": 0, "198.51.101.7": 403, "2001:db8::2": 403} {
		_, e := d.Play(request(from, "GET", "/live/cam/media.m3u8"), "cam", true)
		if status := 0; e != nil && (e.Status != want || e.Code != "address") || e == nil && status != want {
			t.Errorf("%s: %+v, want %d", from, e, want)
		}
	}
	for _, c := range []struct {
		name, from string
		headers    []string
		status     int
	}{
		{"a listed proxy that nobody trusts passes somebody on", "198.51.100.7", []string{"X-Forwarded-For", "192.0.2.1"}, 403},
		{"and does not say whom", "198.51.100.7", []string{"Via", "1.1 proxy"}, 403},
		{"a trusted proxy does not say whom", "10.1.2.3", nil, 403},
		{"a listed address with a token that was revoked", "198.51.100.7", []string{"Authorization", "Bearer nobody"}, 0},
		{"elsewhere with a token that was revoked", "192.0.2.1", []string{"Authorization", "Bearer nobody"}, 401},
	} {
		d := newDoor(access.Protected, netip.MustParsePrefix("198.51.100.0/24"), netip.MustParsePrefix("10.0.0.0/8"))
		_, e := d.Play(request(c.from, "GET", "/live/cam/media.m3u8", c.headers...), "cam", true)
		if status := 0; e != nil && e.Status != c.status || e == nil && status != c.status {
			t.Errorf("%s: %+v, want %d", c.name, e, c.status)
		}
	}
}

func TestAdministrator(t *testing.T) {
	d := newDoor(access.Private)
	for header, want := range map[string]bool{"Bearer admin": true, "Bearer view": false, "Bearer nobody": false, "": false} {
		if got := d.Administrator(request("10.0.0.9", "GET", "/debug/pprof/", "Authorization", header, "Cookie", "mssession=session")); got != want {
			t.Errorf("%q from an open address with a session: %v", header, got)
		}
	}
}

func TestLoginAllowed(t *testing.T) {
	for _, c := range []struct {
		from    string
		headers []string
		want    bool
	}{
		{"127.0.0.1", nil, true},
		{"::1", nil, true},
		{"127.0.0.1", []string{"X-Forwarded-For", "192.0.2.1"}, false},
		{"192.0.2.1", nil, false},
		{"192.0.2.1", []string{"X-Forwarded-Proto", "https"}, false},
		{"10.1.0.1", []string{"X-Forwarded-Proto", "https", "X-Forwarded-For", "192.0.2.1"}, true},
	} {
		if got := newDoor(access.Private).LoginAllowed(request(c.from, "POST", "/cpanel/login", c.headers...)); got != c.want {
			t.Errorf("%s %v: %v", c.from, c.headers, got)
		}
	}
}

// TestListed: an address on a list needs no login, but for pages of other sites
// that a browser there shows, and for what somebody else passed on.
func TestListed(t *testing.T) {
	nets := []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}
	for _, c := range []struct {
		name, from string
		headers    []string
		want       bool
	}{
		{"listed", "192.0.2.1", nil, true},
		{"another", "198.51.100.1", nil, false},
		{"of our page", "192.0.2.1", []string{"Host", "10.0.0.1", "Origin", "http://10.0.0.1"}, true},
		{"of another site's page", "192.0.2.1", []string{"Origin", "https://evil.example"}, false},
		{"of another site's form", "192.0.2.1", []string{"Sec-Fetch-Site", "cross-site"}, false},
		{"a name that another site leads here", "192.0.2.1", []string{"Host", "evil.example"}, false},
		{"passed on by nobody we know", "192.0.2.1", []string{"X-Forwarded-For", "192.0.2.1"}, false},
		{"a trusted proxy itself", "10.1.0.1", nil, false},
	} {
		ctx := request(c.from, "POST", "/v1/nvr/convert2mp4", append([]string{"Host", "10.0.0.1"}, c.headers...)...)
		if got := newDoor(access.Public).Listed(ctx, nets); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}
