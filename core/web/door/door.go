package door

import (
	"net"
	"net/netip"
	"os"
	"slices"
	"strings"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/web"
	"media-server/core/web/api"
	"media-server/core/web/cpanel"
)

// Accounts is what this room needs of access.
type Accounts interface {
	Identify(secret string) (who access.Identity, ok bool)
	OpenTo(address netip.Addr, forwarded bool) bool
	PlayToken(text string) (access.PlayToken, error)
}

// Door decides. Safe for concurrent use.
type Door struct {
	Accounts Accounts
	Config   *web.Config
	// Rule is the access of a stream, also of one that is no longer
	// configured, and whom a protected one is for.
	Rule func(uid string) (access.Rule, []netip.Prefix)
}

var forwarding = []string{"Forwarded", "Via", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Real-Ip"}

func forwarded(ctx *fasthttp.RequestCtx) bool {
	for _, h := range forwarding {
		if len(ctx.Request.Header.Peek(h)) > 0 {
			return true
		}
	}
	return false
}

// Identify finds out who asks the API: the control socket, an API token, a
// session, or an address that needs no login.
func (d *Door) Identify(ctx *fasthttp.RequestCtx) (api.Identity, *web.Error) {
	if p, ok := web.UserOf(ctx.Conn()); ok {
		return api.Identity{Name: person(p), Role: api.Administrator}, nil
	}
	if tok := bearer(ctx); tok != "" {
		id, ok := d.Accounts.Identify(tok)
		if !ok || id.Session != "" {
			return api.Identity{}, web.E(401, "bad_token", "the token is not valid: it is unknown, expired or revoked", "make one with: media-server token api")
		}
		return identity(id), nil
	}
	if c := ctx.Request.Header.Cookie(cpanel.Cookie); len(c) > 0 {
		if id, ok := d.Accounts.Identify(string(c)); ok && id.Session != "" {
			if !ctx.IsGet() && !ctx.IsHead() && !d.SameOrigin(ctx) {
				return api.Identity{}, web.E(403, "origin", "a change made with a session needs the Origin of this server", "use an API token")
			}
			return identity(id), nil
		}
	}
	if ip, ok := addrOf(ctx); ok && d.own(ctx) && d.Accounts.OpenTo(ip, forwarded(ctx)) {
		return api.Identity{Name: ip.String(), Role: api.Administrator}, nil
	}
	return api.Identity{}, nil
}

// own tells whether a request was not made by a page of another site: open in a
// browser at an address that needs no login, it would have the same rights.
func (d *Door) own(ctx *fasthttp.RequestCtx) bool {
	own := len(ctx.Request.Header.Peek("Origin")) == 0 || d.SameOrigin(ctx)
	return own && string(ctx.Request.Header.Peek("Sec-Fetch-Site")) != "cross-site" && ownName(string(ctx.Host()))
}

// Listed tells whether a request comes from one of the networks, whose machines
// need no login, and not from a page of another site that a browser there shows.
func (d *Door) Listed(ctx *fasthttp.RequestCtx, nets []netip.Prefix) bool {
	ip := d.client(ctx)
	return ip.IsValid() && d.own(ctx) && slices.ContainsFunc(nets, func(n netip.Prefix) bool { return n.Contains(ip) })
}

// Administrator tells whether an API token of an administrator came with the
// request.
func (d *Door) Administrator(ctx *fasthttp.RequestCtx) bool {
	if bearer(ctx) == "" {
		return false // neither a session nor an address will do
	}
	who, e := d.Identify(ctx)
	return e == nil && who.Role == api.Administrator && !who.MustChange
}

func identity(id access.Identity) api.Identity {
	return api.Identity{Name: id.Name, Role: api.Role(id.Role), MustChange: id.MustChange}
}

// bearer reads an API token: the Authorization header, or ?token= where a
// player cannot set headers.
func bearer(ctx *fasthttp.RequestCtx) string {
	if h := string(ctx.Request.Header.Peek("Authorization")); len(h) > 7 && strings.EqualFold(h[:7], "bearer ") {
		return strings.TrimSpace(h[7:])
	}
	return string(ctx.QueryArgs().Peek("token"))
}

// client is the address that a request came from, if that is known. It is not where
// somebody else passed it on: an address in a header counts if a trusted proxy wrote
// it, and a proxy's own address is that of everybody behind it.
func (d *Door) client(ctx *fasthttp.RequestCtx) netip.Addr {
	ip, ok := addrOf(ctx)
	peer, known := web.Peer(ctx)
	if !ok || (forwarded(ctx) || d.trusted(ctx)) && (!known || ip == peer) {
		return netip.Addr{}
	}
	return ip
}

// Secure tells whether the request came over TLS, here or at a trusted proxy.
func (d *Door) Secure(ctx *fasthttp.RequestCtx) bool {
	return ctx.IsTLS() || d.trusted(ctx) && string(ctx.Request.Header.Peek("X-Forwarded-Proto")) == "https"
}

func (d *Door) trusted(ctx *fasthttp.RequestCtx) bool {
	ip, ok := web.Peer(ctx)
	if !ok {
		return false
	}
	for _, p := range d.Config.HTTP.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// LoginAllowed: passwords travel over TLS, from this machine, or where the
// operator said so.
func (d *Door) LoginAllowed(ctx *fasthttp.RequestCtx) bool {
	if d.Config.HTTP.Login || d.Secure(ctx) {
		return true
	}
	ip, ok := addrOf(ctx)
	return ok && ip.IsLoopback() && !forwarded(ctx)
}

// SameOrigin: a browser names the page a change comes from; it must be ours.
func (d *Door) SameOrigin(ctx *fasthttp.RequestCtx) bool {
	origin := string(ctx.Request.Header.Peek("Origin"))
	scheme := "http"
	if d.Secure(ctx) {
		scheme = "https"
	}
	return origin == scheme+"://"+string(ctx.Host())
}

func addrOf(ctx *fasthttp.RequestCtx) (netip.Addr, bool) {
	ip, ok := netip.AddrFromSlice(ctx.RemoteIP())
	return ip.Unmap(), ok
}

// ownName tells whether a Host is one that nobody else can give to this server:
// an address, a name without a dot, the machine's own name. A name of the
// internet may be another site's, which has it lead here (DNS rebinding): its
// pages would be of the same origin as ours.
func ownName(host string) bool {
	if h, _, err := net.SplitHostPort(host); err == nil {
		host = h
	}
	host = strings.TrimSuffix(strings.ToLower(strings.Trim(host, "[]")), ".")
	if _, err := netip.ParseAddr(host); err == nil || host != "" && !strings.Contains(host, ".") {
		return true
	}
	own, err := os.Hostname()
	return err == nil && host == strings.ToLower(own)
}
