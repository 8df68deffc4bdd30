package node

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/netip"
	"path/filepath"
	"strings"
	"time"

	"media-server/core/access"
	"media-server/core/still"
	"media-server/core/web"
	"media-server/core/web/api"
	"media-server/core/web/cpanel"
	"media-server/core/web/door"
	"media-server/core/web/playback"
	"media-server/core/web/titop"
)

// webSide is everything that listens.
type webSide struct {
	main    *web.Server
	admin   *web.Server
	play    *playback.Handler
	door    *door.Door
	cert    *web.KeyPair
	onlyTLS bool // [https] is on and [http] is not
	stills  *still.Server
	ctx     context.Context // of run; reloads asked for by the API live as long
}

const webGrace = 3 * time.Second

// buildWeb joins API, playback and cpanel to one server, and makes the admin
// server.
func (n *Node) buildWeb(set *Settings) (*webSide, error) {
	w := &webSide{ctx: context.Background(), stills: still.New(still.Options{})}
	c := &set.Web
	opt := web.Options{
		Control:  filepath.Join(set.Server.RunDir, "control.sock"),
		MaxConns: c.Limits.Connections, MaxConnsPerIP: c.Limits.ConnectionsPer, MaxRequestBody: int(c.Limits.RequestSize), Log: n.log,
		TrustedProxies: c.HTTP.TrustedProxies, Open: n.ports.Listen,
	}
	if c.HTTP.Enable {
		opt.HTTP = c.HTTP.Listen
	}
	if c.HTTPS.Enable || set.RTSP.Secure.Enable {
		var err error
		if c.TLS.Cert != "" {
			w.cert, err = web.LoadKeyPair(c.TLS.Cert, c.TLS.Key)
		} else {
			w.cert, err = web.SelfSigned(filepath.Join(set.Server.DataDir, "keys"))
		}
		if err != nil {
			return nil, err
		}
		if opt.Cert = w.cert.Get; c.HTTPS.Enable {
			opt.HTTPS = c.HTTPS.Listen
		}
		if c.TLS.MinVersion == "1.3" {
			opt.MinTLS = tls.VersionTLS13
		}
	}
	w.onlyTLS = opt.HTTPS != "" && opt.HTTP == ""
	w.main = web.New(opt)

	b := backend{n}
	d := &door.Door{Accounts: n.access, Config: c, Rule: n.ruleOf}
	w.door = d
	a := api.New(b, d.Identify, n.timeline, n.zone, n.addresses(d), w.main.Done())
	panel := cpanel.New(cpanel.Options{
		Access: n.access, Name: func() string { return n.current.Load().Server.Label() }, Version: n.opt.Version,
		LoginAllowed: d.LoginAllowed, Origin: d.SameOrigin, Secure: d.Secure, TTL: set.Access.SessionTTL, First: n.firstPending, Event: func(typ, level, msg string, data map[string]any) {
			n.emit(event(typ, "", level, msg, data))
		},
	})
	play := playback.New(playback.Options{
		Timeline: n.timeline, Streams: playable{n}, Gate: d, Zone: n.zone,
		Page: panel.Player,
		Viewer: func(uid, proto, session, earlier string) (name, limit string) {
			name = n.viewers.session(uid, proto, session, earlier)
			return name, n.watches(uid, proto, name)
		},
		Served: n.viewers.served, First: n.timings.add,
		Decoder: w.stills, Camera: n.newSnapshots(), WebRTC: n.webrtc, Wake: n.streams.want, Done: w.main.Done(), AllowOrigin: strings.Join(c.HTTP.AllowOrigin, ","),
	})
	w.play = play
	convert := &titop.Handler{On: c.Compat.Titop, Exports: a, Auth: d.Identify, Application: b.application, Allow: c.Compat.TitopAllow, Listed: d.Listed}
	rooms := []web.Room{a, play, convert, panel}
	if c.Compat.Flussonic {
		rooms = append(rooms, playback.Aliases{Handler: play})
	}
	w.main.Use(append(rooms, web.Foreign)...)
	if c.Admin.Enable {
		adm := &web.Admin{Administrator: d.Administrator, Allow: c.Admin.Allow, Metrics: n.writeMetrics, Ready: n.notReady}
		w.admin = web.New(web.Options{HTTP: c.Admin.Listen, Open: n.ports.Unheld, Log: n.log, MaxConns: 64, MaxConnsPerIP: 64})
		w.admin.Use(adm)
	}
	return w, nil
}

// watches counts a viewer, or says which setting turns him away.
func (n *Node) watches(uid, proto, name string) (limit string) {
	most := 0
	if r := n.streams.get(uid); r != nil {
		most = r.set.Config.Limit
	}
	return n.viewers.seen(uid, proto, name, n.boot.Web.Limits.Viewers, most, time.Now())
}

func (w *webSide) listen() error {
	if err := w.main.Listen(); err != nil {
		return err
	}
	if w.admin != nil {
		if err := w.admin.Listen(); err != nil {
			w.main.Close()
			return err
		}
	}
	return nil
}

// close closes the listeners of a server that does not come to run.
func (w *webSide) close() {
	w.main.Close()
	if w.admin != nil {
		w.admin.Close()
	}
}

func (w *webSide) run(ctx context.Context) error {
	w.ctx = ctx
	g := newGroup(ctx)
	g.run("http", func(ctx context.Context) error { return w.main.Run(ctx, webGrace) })
	g.run("playback", w.play.Run)
	g.run("stills", w.stills.Run)
	if w.admin != nil {
		g.run("admin", func(ctx context.Context) error { return w.admin.Run(ctx, webGrace) })
	}
	<-g.ctx.Done() // or one of them has ended: then the server does, and is started again
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
		if i > 0 || w.onlyTLS {
			scheme = "https"
		}
		return fmt.Sprintf("%s://%s/cpanel/", scheme, net.JoinHostPort(host, fmt.Sprint(t.Port)))
	}
	return "(nothing listens: the address is not there yet)"
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

// waits tells of a server of which no HTTP listener has an address (core/ports).
func (w *webSide) waits() bool {
	waits := false
	for _, a := range w.main.Addrs() {
		switch a.(type) {
		case *net.TCPAddr:
			return false
		case *net.UnixAddr: // of the control socket
		default:
			waits = true
		}
	}
	return waits
}

func (n *Node) notReady() []string {
	var not []string
	if !n.ready.Load() {
		not = append(not, "starting")
	}
	if n.draining.Load() {
		not = append(not, "draining")
	}
	if n.web != nil && n.web.waits() {
		not = append(not, "no http or https listener has its address yet")
	}
	return not
}

// ruleOf is who may play a stream; one that is no longer configured keeps the
// rule it had, one that was never known is private.
func (n *Node) ruleOf(uid string) (rule access.Rule, whitelist []netip.Prefix) {
	if r := n.streams.get(uid); r != nil {
		return access.Rule(r.set.Config.Access), r.set.Config.Whitelist
	}
	if k, ok := n.known.get(uid); ok && k.Access != "" {
		return access.Rule(k.Access), k.Whitelist
	}
	return access.Private, nil
}
