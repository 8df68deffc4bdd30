package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/stream"
	"media-server/core/web"
	"media-server/core/web/api"
	"media-server/core/web/cpanel"
	"media-server/core/web/playback"
)

// webSide is everything that listens.
type webSide struct {
	main  *web.Server
	admin *web.Server
	cert  *web.KeyPair
	ctx   context.Context // of run; reloads asked for by the API live as long
}

const webGrace = 3 * time.Second

// buildWeb joins API, playback and cpanel to one server, and makes the admin
// server.
func (n *Node) buildWeb(set *Settings) (*webSide, error) {
	w := &webSide{ctx: context.Background()}
	c := &set.Web
	opt := web.Options{
		Control:  filepath.Join(set.Server.RunDir, "control.sock"),
		MaxConns: c.Limits.Connections, MaxConnsPerIP: c.Limits.ConnectionsPer, MaxRequestBody: int(c.Limits.RequestSize), Log: n.log,
	}
	if c.HTTP.Enable {
		opt.HTTP = c.HTTP.Listen
	}
	if c.HTTPS.Enable {
		var err error
		if c.TLS.Cert != "" {
			w.cert, err = web.LoadKeyPair(c.TLS.Cert, c.TLS.Key)
		} else {
			w.cert, err = web.SelfSigned(filepath.Join(set.Server.DataDir, "keys"))
		}
		if err != nil {
			return nil, err
		}
		opt.HTTPS, opt.Cert = c.HTTPS.Listen, w.cert.Get
		if c.TLS.MinVersion == "1.3" {
			opt.MinTLS = tls.VersionTLS13
		}
	}
	var handle fasthttp.RequestHandler
	opt.Handler = func(ctx *fasthttp.RequestCtx) { handle(ctx) }
	w.main = web.New(opt)

	b := backend{n}
	guard := &guard{n: n, c: c}
	a := api.New(b, guard.identify, n.timeline, n.zone, w.main.Done())
	panel := cpanel.New(cpanel.Options{
		Access: n.access, Name: func() string { return n.current.Load().Server.Label() }, Version: n.opt.Version,
		LoginAllowed: guard.loginAllowed, Origin: guard.sameOrigin, Secure: guard.secure, TTL: set.Access.SessionTTL, First: n.firstPending, Event: func(typ, level, msg string, data map[string]any) {
			n.emit(event(typ, "", level, msg, data))
		},
	})
	play := playback.New(playback.Options{
		Timeline: n.timeline, Streams: playable{n}, Gate: guard, Zone: n.zone,
		Page:   panel.Player,
		Viewer: n.viewers.seen, Served: n.viewers.served, First: n.timings.add,
		AllowOrigin: strings.Join(c.HTTP.AllowOrigin, ","),
	})
	handle = func(ctx *fasthttp.RequestCtx) {
		switch {
		case a.Handle(ctx), play.Handle(ctx), panel.Handle(ctx):
		default:
			web.Fail(ctx, web.E(404, "no_such_page", "there is nothing at this address", "the control panel is at /cpanel/"))
		}
	}
	if c.Admin.Enable {
		adm := &web.Admin{Allow: c.Admin.Allow, Metrics: n.writeMetrics, Ready: n.notReady}
		w.admin = web.New(web.Options{HTTP: c.Admin.Listen, Handler: adm.Handle, Log: n.log, MaxConns: 64, MaxConnsPerIP: 64})
	}
	return w, nil
}

func (w *webSide) listen() error {
	if err := w.main.Listen(); err != nil {
		return err
	}
	if w.admin != nil {
		return w.admin.Listen()
	}
	return nil
}

func (w *webSide) run(ctx context.Context) error {
	w.ctx = ctx
	g := newGroup(ctx)
	g.run("http", func(ctx context.Context) error { return w.main.Run(ctx, webGrace) })
	if w.admin != nil {
		g.run("admin", func(ctx context.Context) error { return w.admin.Run(ctx, webGrace) })
	}
	<-ctx.Done()
	return g.stop()
}

// url is where a person on this machine finds the control panel.
func (w *webSide) url() string {
	for i, a := range w.main.Addrs() {
		t, ok := a.(*net.TCPAddr)
		if !ok {
			continue
		}
		host := t.IP.String()
		if t.IP.IsUnspecified() {
			host = "localhost"
		}
		scheme := "http"
		if i > 0 || w.cert != nil && len(w.main.Addrs()) == 2 {
			scheme = "https"
		}
		return fmt.Sprintf("%s://%s/cpanel/", scheme, net.JoinHostPort(host, fmt.Sprint(t.Port)))
	}
	return "(nothing listens)"
}

func (w *webSide) fingerprint() string {
	if w.cert == nil {
		return ""
	}
	return w.cert.Fingerprint()
}

func (w *webSide) certError() error {
	if w == nil || w.cert == nil {
		return nil
	}
	return w.cert.Err()
}

func (n *Node) notReady() []string {
	var not []string
	if !n.ready.Load() {
		not = append(not, "starting")
	}
	if n.draining.Load() {
		not = append(not, "draining")
	}
	return not
}

// guard decides who asks and what they may.
type guard struct {
	n *Node
	c *web.Config
}

var forwarding = []string{"Forwarded", "X-Forwarded-For", "X-Real-Ip"}

func forwarded(ctx *fasthttp.RequestCtx) bool {
	for _, h := range forwarding {
		if len(ctx.Request.Header.Peek(h)) > 0 {
			return true
		}
	}
	return false
}

// identify finds out who asks the API: the control socket, an API token, a
// session, or an address that needs no login.
func (g *guard) identify(ctx *fasthttp.RequestCtx) (api.Identity, *web.Error) {
	if web.IsControl(ctx.Conn()) {
		return api.Identity{Name: "control socket", Role: api.Administrator}, nil
	}
	if tok := bearer(ctx); tok != "" {
		id, ok := g.n.access.Identify(tok)
		if !ok || id.Session != "" {
			return api.Identity{}, web.E(401, "bad_token", "the token is not valid: it is unknown, expired or revoked", "make one with: media-server token api")
		}
		return identity(id), nil
	}
	if c := ctx.Request.Header.Cookie(cpanel.Cookie); len(c) > 0 {
		if id, ok := g.n.access.Identify(string(c)); ok && id.Session != "" {
			if !ctx.IsGet() && !ctx.IsHead() && !g.sameOrigin(ctx) {
				return api.Identity{}, web.E(403, "origin", "a change made with a session needs the Origin of this server", "use an API token")
			}
			return identity(id), nil
		}
	}
	if ip, ok := addrOf(ctx); ok && g.n.access.OpenTo(ip, forwarded(ctx)) {
		return api.Identity{Name: ip.String(), Role: api.Administrator}, nil
	}
	return api.Identity{}, nil
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

// Play implements playback.Gate.
func (g *guard) Play(ctx *fasthttp.RequestCtx, uid, proto string, live bool) *web.Error {
	rule := access.Rule(g.accessOf(uid))
	if rule == access.Public {
		return nil // not even a bad token keeps anyone from a public stream
	}
	who, e := g.identify(ctx)
	if e != nil {
		return e
	}
	ip, _ := addrOf(ctx)
	d := access.Decide(access.Request{UID: uid, Rule: rule, Address: ip, Presented: who.Role != api.Anybody,
		Who: access.Identity{Name: who.Name, Role: access.Role(who.Role), MustChange: who.MustChange}})
	if d.Allow {
		return nil
	}
	return web.E(d.Status, d.Code, d.Message, d.Hint)
}

// accessOf is the access of a stream; one that is no longer configured keeps
// the last it had.
func (g *guard) accessOf(uid string) string {
	if r := g.n.streams.get(uid); r != nil {
		return r.set.Config.Access
	}
	if k, ok := g.n.known.get(uid); ok {
		return k.Access
	}
	return stream.AccessPrivate
}

// secure tells whether the request came over TLS, here or at a trusted proxy.
func (g *guard) secure(ctx *fasthttp.RequestCtx) bool {
	return ctx.IsTLS() || g.trusted(ctx) && string(ctx.Request.Header.Peek("X-Forwarded-Proto")) == "https"
}

func (g *guard) trusted(ctx *fasthttp.RequestCtx) bool {
	ip, ok := addrOf(ctx)
	if !ok {
		return false
	}
	for _, p := range g.c.HTTP.TrustedProxies {
		if p.Contains(ip) {
			return true
		}
	}
	return false
}

// loginAllowed: passwords travel over TLS, from this machine, or where the
// operator said so.
func (g *guard) loginAllowed(ctx *fasthttp.RequestCtx) bool {
	if g.c.HTTP.Login || g.secure(ctx) {
		return true
	}
	ip, ok := addrOf(ctx)
	return ok && ip.IsLoopback() && !forwarded(ctx)
}

// sameOrigin: a browser names the page a change comes from; it must be ours.
func (g *guard) sameOrigin(ctx *fasthttp.RequestCtx) bool {
	origin := string(ctx.Request.Header.Peek("Origin"))
	scheme := "http"
	if g.secure(ctx) {
		scheme = "https"
	}
	return origin == scheme+"://"+string(ctx.Host())
}
