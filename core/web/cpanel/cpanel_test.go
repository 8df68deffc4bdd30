package cpanel_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"io/fs"
	"net"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/web"
	"media-server/core/web/cpanel"
	"media-server/core/web/door"
	files "media-server/cpanel"
)

// conn is a connection from an address, plain or over TLS.
type conn struct {
	net.Conn
	from string
}

func (c conn) RemoteAddr() net.Addr { return net.TCPAddrFromAddrPort(netip.MustParseAddrPort(c.from)) }
func (c conn) LocalAddr() net.Addr {
	return net.TCPAddrFromAddrPort(netip.MustParseAddrPort("10.0.0.1:8080"))
}

type tlsConn struct{ conn }

func (tlsConn) Handshake() error                     { return nil }
func (tlsConn) ConnectionState() tls.ConnectionState { return tls.ConnectionState{} }

type rig struct {
	t      *testing.T
	access *access.Access
	panel  *cpanel.Panel
	config *web.Config
	events []string
	file   string
}

const (
	loopback = "127.0.0.1:4000"
	remote   = "192.0.2.7:4000"
	password = "correct horse 1"
)

func newRig(t *testing.T) *rig {
	cfg := access.DefaultConfig()
	acc, err := access.Open(context.Background(), access.Options{DataDir: t.TempDir(), Config: cfg})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { acc.Close() })
	if err := acc.AddUser(context.Background(), "anna", access.Operator, password, false); err != nil {
		t.Fatal(err)
	}
	r := &rig{t: t, access: acc, config: &web.Config{}}
	d := &door.Door{Accounts: acc, Config: r.config, Rule: func(string) (access.Rule, []netip.Prefix) { return access.Private, nil }}
	r.panel = cpanel.New(cpanel.Options{
		Access: acc, Name: func() string { return `<b>Harbour</b> & "Quay"` }, LoginAllowed: d.LoginAllowed, Origin: d.SameOrigin, Secure: d.Secure, TTL: cfg.SessionTTL,
		First: func() (string, bool) { return r.file, r.file != "" },
		Event: func(typ, level, message string, data map[string]any) { r.events = append(r.events, typ) },
	})
	return r
}

// left is the status of a path the panel leaves alone.
const left = 421

type ask struct {
	method, path, body, from string
	secure                   bool
	header                   map[string]string
}

func (r *rig) do(a ask) *fasthttp.RequestCtx {
	r.t.Helper()
	if a.method == "" {
		a.method = "GET"
	}
	if a.from == "" {
		a.from = loopback
	}
	var ctx fasthttp.RequestCtx
	var c net.Conn = conn{from: a.from}
	if a.secure {
		c = tlsConn{conn{from: a.from}}
	}
	ctx.Init2(c, nil, false)
	ctx.Request.Header.SetMethod(a.method)
	ctx.Request.SetRequestURI(a.path)
	ctx.Request.Header.SetHost("server.example")
	if a.body != "" {
		ctx.Request.Header.SetContentType("application/json")
		ctx.Request.SetBodyString(a.body)
	}
	for k, v := range a.header {
		ctx.Request.Header.Set(k, v)
	}
	if !r.panel.Handle(&ctx) {
		ctx.SetStatusCode(left)
	}
	return &ctx
}

const here = "http://server.example"

func loginBody(pass string) string { return `{"user":"anna","password":"` + pass + `"}` }

func (r *rig) login(secure bool) (*fasthttp.RequestCtx, string) {
	origin := here
	if secure {
		origin = "https://server.example"
	}
	ctx := r.do(ask{method: "POST", path: "/cpanel/login", body: loginBody(password), secure: secure, header: map[string]string{"Origin": origin}})
	c := string(ctx.Response.Header.PeekCookie(cpanel.Cookie))
	return ctx, c
}

func failure(t *testing.T, ctx *fasthttp.RequestCtx) (code string) {
	t.Helper()
	var e struct {
		Error struct{ Code, Message, ID string }
	}
	if err := json.Unmarshal(ctx.Response.Body(), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" || e.Error.ID == "" {
		t.Errorf("not the shape of a failure: %q", ctx.Response.Body())
	}
	return e.Error.Code
}

func TestCookie(t *testing.T) {
	for name, secure := range map[string]bool{"plain": false, "TLS": true} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			ctx, cookie := r.login(secure)
			if ctx.Response.StatusCode() != 200 {
				t.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
			low := strings.ToLower(cookie)
			for _, want := range []string{"httponly", "samesite=strict", "path=/", "max-age=43200"} {
				if !strings.Contains(low, want) {
					t.Errorf("the cookie lacks %s: %s", want, cookie)
				}
			}
			if got := strings.Contains(low, "secure"); got != secure {
				t.Errorf("Secure = %v over %s", got, name)
			}
			if strings.Contains(low, "domain=") {
				t.Errorf("the cookie goes to other hosts: %s", cookie)
			}
			session := strings.SplitN(cookie, ";", 2)[0]
			page := r.do(ask{path: "/cpanel/", header: map[string]string{"Cookie": session}})
			if !bytes.Contains(page.Response.Body(), []byte(`class="home"`)) {
				t.Error("the session does not open the first page")
			}
			out := r.do(ask{method: "POST", path: "/cpanel/logout", secure: secure, header: map[string]string{"Cookie": session, "Origin": map[bool]string{false: here, true: "https://server.example"}[secure]}})
			if out.Response.StatusCode() != 204 {
				t.Errorf("logout: %d", out.Response.StatusCode())
			}
			page = r.do(ask{path: "/cpanel/", header: map[string]string{"Cookie": session}})
			if bytes.Contains(page.Response.Body(), []byte(`class="home"`)) {
				t.Error("the session lives on after logout")
			}
		})
	}
}

func TestLoginFrom(t *testing.T) {
	proxy := map[string]string{"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.9", "Origin": "https://server.example"}
	for name, c := range map[string]struct {
		a       ask
		login   bool // [http] login
		trusted string
		status  int
		code    string
	}{
		"this machine":           {a: ask{from: loopback}, status: 200},
		"this machine, IPv6":     {a: ask{from: "[::1]:4000"}, status: 200},
		"elsewhere, plain":       {a: ask{from: remote}, status: 403, code: "plain_http"},
		"elsewhere, TLS":         {a: ask{from: remote, secure: true, header: map[string]string{"Origin": "https://server.example"}}, status: 200},
		"elsewhere, allowed":     {a: ask{from: remote}, login: true, status: 200},
		"trusted proxy":          {a: ask{from: remote, header: proxy}, trusted: "192.0.2.0/24", status: 200},
		"proxy nobody trusts":    {a: ask{from: remote, header: proxy}, status: 403, code: "origin"},
		"forwarded on loopback":  {a: ask{from: loopback, header: map[string]string{"X-Forwarded-For": "203.0.113.9"}}, status: 403, code: "plain_http"},
		"no origin":              {a: ask{header: map[string]string{"Origin": ""}}, status: 403, code: "origin"},
		"another origin":         {a: ask{header: map[string]string{"Origin": "http://evil.example"}}, status: 403, code: "origin"},
		"another scheme":         {a: ask{header: map[string]string{"Origin": "https://server.example"}}, status: 403, code: "origin"},
		"null origin":            {a: ask{header: map[string]string{"Origin": "null"}}, status: 403, code: "origin"},
		"a form of another site": {a: ask{header: map[string]string{"Content-Type": "text/plain"}}, status: 400, code: "bad_body"},
		"no JSON":                {a: ask{body: "user=anna"}, status: 400, code: "bad_body"},
		"GET":                    {a: ask{method: "GET"}, status: 405, code: "method"},
		"wrong password":         {a: ask{body: loginBody("wrong")}, status: 401, code: "login"},
		"no such user":           {a: ask{body: `{"user":"nobody","password":"` + password + `"}`}, status: 401, code: "login"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.config.HTTP.Login = c.login
			if c.trusted != "" {
				r.config.HTTP.TrustedProxies = []netip.Prefix{netip.MustParsePrefix(c.trusted)}
			}
			a := c.a
			if a.method == "" {
				a.method = "POST"
			}
			a.path = "/cpanel/login"
			if a.body == "" {
				a.body = loginBody(password)
			}
			if _, has := a.header["Origin"]; !has {
				h := map[string]string{"Origin": here}
				for k, v := range a.header {
					h[k] = v
				}
				a.header = h
			}
			ctx := r.do(a)
			if ctx.Response.StatusCode() != c.status {
				t.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
			if c.status != 200 {
				if code := failure(t, ctx); code != c.code {
					t.Errorf("code %q", code)
				}
				if len(ctx.Response.Header.PeekCookie(cpanel.Cookie)) > 0 {
					t.Error("a cookie was set")
				}
			}
		})
	}
}

func TestLockout(t *testing.T) {
	r := newRig(t)
	h := map[string]string{"Origin": here}
	for i := range 10 {
		if ctx := r.do(ask{method: "POST", path: "/cpanel/login", body: loginBody("wrong"), header: h}); ctx.Response.StatusCode() != 401 {
			t.Fatalf("try %d: %d", i, ctx.Response.StatusCode())
		}
	}
	ctx := r.do(ask{method: "POST", path: "/cpanel/login", body: loginBody(password), header: h})
	if ctx.Response.StatusCode() != 429 || failure(t, ctx) != "locked_out" {
		t.Errorf("the right password after ten wrong ones: %d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	if len(r.events) != 10 || r.events[0] != "auth.failed" {
		t.Errorf("events: %q", r.events)
	}
}

func TestForcedChange(t *testing.T) {
	r := newRig(t)
	if err := r.access.AddUser(context.Background(), "admin", access.Administrator, "made by server", true); err != nil {
		t.Fatal(err)
	}
	h := map[string]string{"Origin": here}
	ctx := r.do(ask{method: "POST", path: "/cpanel/login", body: `{"user":"admin","password":"made by server"}`, header: h})
	h["Cookie"] = strings.SplitN(string(ctx.Response.Header.PeekCookie(cpanel.Cookie)), ";", 2)[0]
	if b := r.do(ask{path: "/cpanel/", header: h}).Response.Body(); !bytes.Contains(b, []byte(`id="password"`)) {
		t.Fatalf("the page is not the change of the password:\n%s", b)
	}
	for body, status := range map[string]int{
		`{"old":"no","new":"long enough password"}`: 400, `{"old":"made by server","new":"short"}`: 400, `{`: 400,
	} {
		if ctx := r.do(ask{method: "POST", path: "/cpanel/password", body: body, header: h}); ctx.Response.StatusCode() != status {
			t.Errorf("%s: %d %s", body, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	if ctx := r.do(ask{method: "POST", path: "/cpanel/password", body: `{"old":"made by server","new":"long enough password"}`, header: h}); ctx.Response.StatusCode() != 200 {
		t.Fatalf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	if b := r.do(ask{path: "/cpanel/", header: h}).Response.Body(); !bytes.Contains(b, []byte(`class="home"`)) {
		t.Error("the first page does not follow")
	}
	if ctx := r.do(ask{method: "POST", path: "/cpanel/password", body: `{}`, header: map[string]string{"Origin": here}}); ctx.Response.StatusCode() != 401 {
		t.Errorf("a change without a session: %d", ctx.Response.StatusCode())
	}
}

func TestPagesAndFiles(t *testing.T) {
	r := newRig(t)
	for path, want := range map[string]struct {
		status int
		kind   string
	}{
		"/": {302, ""}, "/cpanel": {302, ""}, "/cpanel/": {200, "text/html"}, "/cpanel/nothing": {404, "application/json"},
		"/cpanel/static/style.css": {200, "text/css"}, "/cpanel/static/home.js?v=1": {200, "text/javascript"}, "/cpanel/static/icon.svg": {200, "image/svg+xml"},
		"/cpanel/static/vendor/hls.light.min.mjs": {200, "text/javascript"},
		"/cpanel/static/":                         {404, "application/json"}, "/cpanel/static/vendor": {404, "application/json"}, "/cpanel/static/none.js": {404, "application/json"},
		"/cpanel/static/../templates/home.html": {404, "application/json"}, "/cpanel/static/%2e%2e/embed.go": {404, "application/json"},
		"/cpanel/static/..%2f..%2f..%2fetc/passwd": {left, ""}, "/cpanel/static//etc/passwd": {404, "application/json"},
		"/cpanel/static/%00": {404, "application/json"}, "/cpanel/static/home.js/": {404, "application/json"},
		"/elsewhere": {left, ""}, "/cpanelx": {left, ""},
	} {
		ctx := r.do(ask{path: path})
		if got := ctx.Response.StatusCode(); got != want.status || want.kind != "" && !strings.HasPrefix(string(ctx.Response.Header.ContentType()), want.kind) {
			t.Errorf("%s: %d %s", path, got, ctx.Response.Header.ContentType())
		}
		if want.status == 404 {
			failure(t, ctx)
		}
	}
	ctx := r.do(ask{path: "/cpanel/static/home.js"})
	tag := string(ctx.Response.Header.Peek("ETag"))
	if ctx = r.do(ask{path: "/cpanel/static/home.js", header: map[string]string{"If-None-Match": tag}}); ctx.Response.StatusCode() != 304 || len(ctx.Response.Body()) > 0 {
		t.Errorf("a known file: %d, %d bytes", ctx.Response.StatusCode(), len(ctx.Response.Body()))
	}
}

func TestPolicy(t *testing.T) {
	r := newRig(t)
	page := r.do(ask{path: "/cpanel/"})
	csp := string(page.Response.Header.Peek("Content-Security-Policy"))
	for _, want := range []string{"default-src 'none'", "script-src 'self';", "style-src 'self';", "frame-ancestors 'none'", "base-uri 'none'", "form-action 'self'"} {
		if !strings.Contains(csp, want) {
			t.Errorf("the policy lacks %s: %s", want, csp)
		}
	}
	if strings.Contains(csp, "unsafe") {
		t.Errorf("the policy is unsafe: %s", csp)
	}
	if bytes.Contains(page.Response.Body(), []byte("<b>Harbour")) {
		t.Error("the server's name is not escaped")
	}
	if string(page.Response.Header.Peek("Cache-Control")) != "no-store" {
		t.Error("a page may be cached")
	}
	var ctx fasthttp.RequestCtx
	ctx.Init2(conn{from: remote}, nil, false)
	ctx.Request.SetRequestURI("/live/gate/")
	r.panel.Player(&ctx, "gate", `"><script>`)
	if csp := string(ctx.Response.Header.Peek("Content-Security-Policy")); !strings.HasSuffix(csp, "frame-ancestors *") {
		t.Errorf("the player page cannot stand in frames: %s", csp)
	}
	if bytes.Contains(ctx.Response.Body(), []byte(`"><script>`)) {
		t.Error("a stream's title is not escaped")
	}
}

// TestFirstFile: strangers are not told the server's folders.
func TestFirstFile(t *testing.T) {
	r := newRig(t)
	r.file = "/srv/data/first-password"
	for from, tells := range map[string]bool{loopback: true, remote: false} {
		b := r.do(ask{path: "/cpanel/", from: from, secure: true}).Response.Body()
		if bytes.Contains(b, []byte(r.file)) != tells {
			t.Errorf("from %s: %s", from, b)
		}
		if !bytes.Contains(b, []byte("first-password")) {
			t.Errorf("from %s nothing helps a newcomer", from)
		}
	}
	if b := r.do(ask{path: "/cpanel/", from: remote}).Response.Body(); !bytes.Contains(b, []byte("https://")) || bytes.Contains(b, []byte(`id="login"`)) {
		t.Errorf("over plain HTTP from elsewhere: %s", b)
	}
}

// TestSources: pages hold no inline script or style and name no other host.
func TestSources(t *testing.T) {
	inline := regexp.MustCompile(`(?i)<script(?:\s[^>]*)?>[^<]|\son\w+\s*=|\sstyle\s*=|<style|javascript:`)
	foreign := regexp.MustCompile(`(?i)(?:src|href|action|import|from|url)\s*[=(]?\s*["'(]?(?:https?:)?//`)
	err := fs.WalkDir(files.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(name, "vendor/") {
			return err
		}
		b, err := files.Files.ReadFile(name)
		if strings.HasSuffix(name, ".html") {
			if m := inline.Find(b); m != nil {
				t.Errorf("%s: inline %q", name, m)
			}
		}
		if m := foreign.Find(b); m != nil && !strings.HasSuffix(name, ".svg") {
			t.Errorf("%s: another host in %q", name, m)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
