package cpanel

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"html/template"
	"io/fs"
	"path"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	files "media-server/cpanel"

	"media-server/core/access"
	"media-server/core/web"
)

// Cookie is the session cookie's name.
const Cookie = "mssession"

// Accounts is what this room needs of access.
type Accounts interface {
	Login(ctx context.Context, name, password, address string) (secret string, who access.Identity, err error)
	Identify(secret string) (who access.Identity, ok bool)
	Logout(id string)
	ChangePassword(ctx context.Context, who access.Identity, old, password string) error
}

// Options are the parts a Panel is made of.
type Options struct {
	Access       Accounts
	Name         func() string
	Version      string
	LoginAllowed func(ctx *fasthttp.RequestCtx) bool // passwords may travel over this connection
	Origin       func(ctx *fasthttp.RequestCtx) bool // the change comes from a page of ours
	Secure       func(ctx *fasthttp.RequestCtx) bool
	TTL          time.Duration
	// First tells whether nobody has changed the first password yet, and the
	// file that holds it, "" when it was printed.
	First func() (file string, pending bool)
	Event func(typ, level, message string, data map[string]any)
}

// Panel serves the pages. Safe for concurrent use.
type Panel struct {
	opt    Options
	pages  *template.Template
	static map[string]file
	stamp  string
}

type file struct {
	body []byte
	kind string
	etag string
}

// New reads the embedded files; that they are sound is a matter of tests.
func New(opt Options) *Panel {
	p := &Panel{opt: opt, static: map[string]file{}}
	p.pages = template.Must(template.ParseFS(files.Files, "templates/*.html"))
	sum := sha256.New()
	err := fs.WalkDir(files.Files, "static", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		b, err := files.Files.ReadFile(name)
		h := sha256.Sum256(b)
		sum.Write(h[:])
		p.static[strings.TrimPrefix(name, "static/")] = file{b, kind(name), `"` + hex.EncodeToString(h[:8]) + `"`}
		return err
	})
	if err != nil {
		panic(err)
	}
	p.stamp = hex.EncodeToString(sum.Sum(nil)[:6])
	return p
}

func kind(name string) string {
	switch path.Ext(name) {
	case ".css":
		return "text/css; charset=utf-8"
	case ".js", ".mjs":
		return "text/javascript; charset=utf-8"
	case ".svg":
		return "image/svg+xml"
	}
	return "text/plain; charset=utf-8"
}

// Handle answers / and /cpanel/…; anything else it leaves alone and returns
// false.
func (p *Panel) Handle(ctx *fasthttp.RequestCtx) bool {
	switch name := string(ctx.Path()); {
	case name == "/" || name == "/cpanel":
		ctx.Response.Header.Set("Location", "/cpanel/")
		ctx.SetStatusCode(302)
	case strings.HasPrefix(name, "/cpanel/static/"):
		p.file(ctx, strings.TrimPrefix(name, "/cpanel/static/"))
	case name == "/cpanel/":
		p.front(ctx)
	case name == "/cpanel/login" || name == "/cpanel/password" || name == "/cpanel/logout":
		p.post(ctx, strings.TrimPrefix(name, "/cpanel/"))
	case strings.HasPrefix(name, "/cpanel/"):
		web.Fail(ctx, web.E(404, "no_such_page", "the control panel has no such page", "it begins at /cpanel/"))
	default:
		return false
	}
	return true
}

func (p *Panel) file(ctx *fasthttp.RequestCtx, name string) {
	f, ok := p.static[name]
	if !ok {
		web.Fail(ctx, web.E(404, "no_such_file", "no such file", ""))
		return
	}
	h := &ctx.Response.Header
	h.Set("ETag", f.etag)
	// Modules import each other without the ?v= stamp, so they are asked for
	// again each time; the answer is mostly 304.
	h.Set("Cache-Control", "no-cache")
	if string(ctx.Request.Header.Peek("If-None-Match")) == f.etag {
		ctx.SetStatusCode(304)
		return
	}
	ctx.SetContentType(f.kind)
	ctx.SetBody(f.body)
}

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; media-src 'self' blob:; " +
	"connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors "

func (p *Panel) page(ctx *fasthttp.RequestCtx, name string, frames string, data map[string]any) {
	data["Version"], data["Server"] = p.stamp, p.opt.Name()
	if data["Title"] == nil {
		data["Title"] = p.opt.Name()
	}
	var b bytes.Buffer
	if err := p.pages.ExecuteTemplate(&b, name, data); err != nil {
		web.Fail(ctx, web.E(500, "template", "the page could not be made", err.Error()))
		return
	}
	h := &ctx.Response.Header
	h.Set("Content-Security-Policy", policy+frames)
	h.Set("Cache-Control", "no-store")
	ctx.SetContentType("text/html; charset=utf-8")
	ctx.SetBody(b.Bytes())
}

// Player is the page of /live/<uid>/, for frames of any site.
func (p *Panel) Player(ctx *fasthttp.RequestCtx, uid, title string) {
	if !strings.HasSuffix(string(ctx.Path()), "/") {
		ctx.Response.Header.Set("Location", "/live/"+uid+"/")
		ctx.SetStatusCode(302)
		return
	}
	p.page(ctx, "player.html", "*", map[string]any{"UID": uid, "Title": title})
}

func (p *Panel) session(ctx *fasthttp.RequestCtx) (access.Identity, bool) {
	c := string(ctx.Request.Header.Cookie(Cookie))
	if c == "" {
		return access.Identity{}, false
	}
	id, ok := p.opt.Access.Identify(c)
	return id, ok && id.Session != ""
}

func (p *Panel) front(ctx *fasthttp.RequestCtx) {
	id, ok := p.session(ctx)
	switch {
	case !ok:
		data := map[string]any{}
		if !p.opt.LoginAllowed(ctx) {
			data["Refused"] = "Passwords do not travel over plain HTTP from another machine. Open this page over https://, or set login = true in [http]."
		} else {
			file, pending := p.opt.First()
			if !ctx.RemoteIP().IsLoopback() {
				file = "" // strangers need not know the server's folders
			}
			data["First"], data["FirstFile"] = pending, file
		}
		p.page(ctx, "login.html", "'none'", data)
	case id.MustChange:
		p.page(ctx, "password.html", "'none'", map[string]any{"User": id.Name})
	default:
		p.page(ctx, "home.html", "'none'", map[string]any{"User": id.Name})
	}
}

func (p *Panel) post(ctx *fasthttp.RequestCtx, what string) {
	var e *web.Error
	switch {
	case !ctx.IsPost():
		ctx.Response.Header.Set("Allow", "POST")
		e = web.E(405, "method", "this address takes POST", "")
	case !p.opt.Origin(ctx):
		e = web.E(403, "origin", "the request does not come from a page of this server", "")
	case what == "login":
		e = p.login(ctx)
	case what == "password":
		e = p.password(ctx)
	default:
		if id, ok := p.session(ctx); ok {
			p.opt.Access.Logout(id.Session)
		}
		p.cookie(ctx, "", -time.Hour)
		ctx.SetStatusCode(204)
	}
	if e != nil {
		web.Fail(ctx, e)
	}
}

func read(ctx *fasthttp.RequestCtx, v any) *web.Error {
	if !strings.HasPrefix(string(ctx.Request.Header.ContentType()), "application/json") || json.Unmarshal(ctx.PostBody(), v) != nil {
		return web.E(400, "bad_body", "the body must be JSON", "")
	}
	return nil
}

func (p *Panel) login(ctx *fasthttp.RequestCtx) *web.Error {
	var in struct{ User, Password string }
	if e := read(ctx, &in); e != nil {
		return e
	}
	if !p.opt.LoginAllowed(ctx) {
		return web.E(403, "plain_http", "passwords do not travel over plain HTTP from another machine", "use https://")
	}
	addr := ctx.RemoteIP().String()
	s, id, err := p.opt.Access.Login(ctx, in.User, in.Password, addr)
	if err != nil {
		if locked := (*access.Locked)(nil); errors.As(err, &locked) { // told when it was locked out; each further try costs nothing
			return web.E(429, "locked_out", err.Error(), "wait, or ask an administrator")
		}
		p.opt.Event("auth.failed", "warning", "a login failed from "+addr, map[string]any{"user": access.Loggable(in.User), "address": addr})
		return web.E(401, "login", "user or password is wrong", "")
	}
	p.opt.Event("auth.login", "info", in.User+" logged in from "+addr, map[string]any{"user": in.User, "address": addr})
	p.cookie(ctx, s, p.opt.TTL)
	web.JSON(ctx, map[string]any{"user": id.Name, "must_change": id.MustChange})
	return nil
}

func (p *Panel) cookie(ctx *fasthttp.RequestCtx, value string, ttl time.Duration) {
	var c fasthttp.Cookie
	c.SetKey(Cookie)
	c.SetValue(value)
	c.SetPath("/")
	c.SetHTTPOnly(true)
	c.SetSameSite(fasthttp.CookieSameSiteStrictMode)
	c.SetSecure(p.opt.Secure(ctx))
	c.SetMaxAge(int(ttl / time.Second))
	if ttl < 0 {
		c.SetExpire(fasthttp.CookieExpireDelete)
	}
	ctx.Response.Header.SetCookie(&c)
}

func (p *Panel) password(ctx *fasthttp.RequestCtx) *web.Error {
	id, ok := p.session(ctx)
	if !ok {
		return web.E(401, "login", "log in first", "")
	}
	var in struct{ Old, New string }
	if e := read(ctx, &in); e != nil {
		return e
	}
	if err := p.opt.Access.ChangePassword(ctx, id, in.Old, in.New); err != nil {
		return web.E(400, "password", err.Error(), "")
	}
	p.opt.Event("auth.password", "info", id.Name+" changed the password", map[string]any{"user": id.Name})
	web.JSON(ctx, map[string]any{"user": id.Name})
	return nil
}
