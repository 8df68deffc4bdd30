package web

import (
	"io"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"
	"github.com/valyala/fasthttp/pprofhandler"
)

// Admin answers on the admin port: /healthz and /readyz to anybody, /metrics
// to the addresses allowed, /debug/pprof/ to administrators (a profile shows
// what passes through memory).
type Admin struct {
	Administrator func(ctx *fasthttp.RequestCtx) bool // by API token
	Allow         []netip.Prefix
	Metrics       func(w io.Writer)
	Ready         func() []string // what is not ready; empty = ready. Never about a camera
}

// Handle implements Room; it answers every path.
func (a *Admin) Handle(ctx *fasthttp.RequestCtx) bool {
	a.answer(ctx)
	return true
}

func (a *Admin) answer(ctx *fasthttp.RequestCtx) {
	if !ctx.IsGet() && !ctx.IsHead() {
		Fail(ctx, E(405, "method", "the admin port is read with GET", ""))
		return
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	switch string(ctx.Path()) {
	case "/healthz":
		ctx.SetContentType("text/plain; charset=utf-8")
		ctx.SetBodyString("ok\n")
	case "/readyz":
		ctx.SetContentType("text/plain; charset=utf-8")
		if not := a.Ready(); len(not) > 0 {
			ctx.SetStatusCode(503)
			ctx.SetBodyString("not ready: " + strings.Join(not, ", ") + "\n")
			return
		}
		ctx.SetBodyString("ready\n")
	case "/metrics":
		if !a.allowed(ctx) {
			Fail(ctx, E(403, "address", "metrics are not open to this address", "[admin] allow lists who may read them"))
			return
		}
		ctx.SetContentType("text/plain; version=0.0.4; charset=utf-8")
		a.Metrics(ctx)
	default:
		if strings.HasPrefix(string(ctx.Path()), "/debug/pprof/") {
			a.profile(ctx)
			return
		}
		Fail(ctx, E(404, "no_such_page", "the admin port has /healthz, /readyz, /metrics and /debug/pprof/", ""))
	}
}

func (a *Admin) profile(ctx *fasthttp.RequestCtx) {
	if a.Administrator == nil || !a.Administrator(ctx) {
		Fail(ctx, E(401, "login", "profiles need an administrator's API token", "make one with: media-server token api; send it as Authorization: Bearer"))
		return
	}
	pprofhandler.PprofHandler(ctx)
}

// allowed: a request that came through a proxy is never let in by address.
func (a *Admin) allowed(ctx *fasthttp.RequestCtx) bool {
	for _, h := range []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"} {
		if len(ctx.Request.Header.Peek(h)) > 0 {
			return false
		}
	}
	ip, ok := netip.AddrFromSlice(ctx.RemoteIP())
	if !ok {
		return false
	}
	for _, p := range a.Allow {
		if p.Contains(ip.Unmap()) {
			return true
		}
	}
	return false
}
