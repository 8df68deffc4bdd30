package node

import (
	"context"
	"crypto/tls"
	"errors"
	"net/netip"

	"media-server/core/access"
	"media-server/core/keys"
	"media-server/core/media"
	"media-server/core/rtsp"
	"media-server/core/timeline"
	"media-server/core/web/door"
)

// buildRTSP makes the RTSP server; nil = it is off.
func (n *Node) buildRTSP(set *Settings) *rtsp.Server {
	c := &set.RTSP
	o := rtsp.Options{
		Open: n.ports.Listen, Zone: n.zone, Log: n.log, Served: n.viewers.served, First: n.timings.add,
		MaxConns: set.Web.Limits.Connections, MaxConnsPerPlace: set.Web.Limits.ConnectionsPer,
		Source: rtspSource{n}, Gate: rtspGate{n},
	}
	if c.Enable {
		o.Listen, o.UDP = c.Listen, c.UDPPorts
	}
	if c.Secure.Enable {
		o.Secure, o.Cert = c.Secure.Listen, n.web.cert.Get
		if set.Web.TLS.MinVersion == "1.3" {
			o.MinTLS = tls.VersionTLS13
		}
	}
	if c.Auth == rtsp.AuthDigest {
		o.Accounts = rtspAccounts{n.access}
	}
	if o.Listen == "" && o.Secure == "" {
		return nil
	}
	return rtsp.New(o)
}

// closeRTSP closes the listeners of a server that does not come to run.
func (n *Node) closeRTSP() {
	if n.rtsp != nil {
		n.rtsp.Close()
	}
}

// rtspSource is the timeline as rtsp sees it.
type rtspSource struct{ n *Node }

func (s rtspSource) Frames(uid string, o timeline.Read) (rtsp.Reader, error) {
	r, err := s.n.timeline.Frames(uid, o)
	if err != nil {
		return nil, err // not a nil reader in an interface
	}
	return r, nil
}

func (s rtspSource) Bounds(uid string) (media.Span, bool) { return s.n.timeline.Bounds(uid) }

func (s rtspSource) Stream(uid string) (title string, offered, ok bool) {
	st, ok := playable(s).Stream(uid)
	return st.Title, st.Proto == nil || st.Proto["rtsp"], ok
}

func (s rtspSource) Wake(uid string) bool { return s.n.streams.want(uid) }

// rtspGate says who may play over RTSP.
type rtspGate struct{ n *Node }

func (g rtspGate) Play(a rtsp.Ask) (rtsp.Pass, error) {
	p := &rtspPass{n: g.n, ask: a}
	if r := p.decide(); r != nil {
		return nil, r
	}
	if r := p.watches(); r != nil {
		return nil, r
	}
	g.n.viewers.hold(a.UID, "rtsp", a.Session)
	return p, nil
}

// rtspPass is somebody who plays.
type rtspPass struct {
	n   *Node
	ask rtsp.Ask
}

// decide asks the door; nil = may play.
func (p *rtspPass) decide() *rtsp.Refusal {
	a := door.Ask{UID: p.ask.UID, Live: p.ask.Live, Unknown: p.ask.Unknown, Span: media.Span{From: p.ask.From, To: p.ask.To}, Address: p.ask.Address, Secret: p.ask.Token,
		MustBe: p.n.boot.RTSP.Auth == rtsp.AuthDigest}
	if u := p.ask.User; u.Name != "" {
		since := p.n.access.PlayerSince(u.Name)
		a.Certified = since != 0 && since == u.Since
	}
	if _, e := p.n.web.door.Admit(a); e != nil {
		return &rtsp.Refusal{Status: e.Status, Code: e.Code, Message: e.Message, Hint: e.Hint}
	}
	switch _, offered, ok := (rtspSource{p.n}).Stream(p.ask.UID); {
	case !ok:
		return &rtsp.Refusal{Status: 404, Code: "no_such_stream", Message: "there is no such stream"}
	case !offered:
		return &rtsp.Refusal{Status: 404, Code: "proto_off", Message: "the stream does not offer rtsp", Hint: "stream-proto in its stream file lists what it offers"}
	}
	return nil
}

// watches counts the viewer; nil = he has a place.
func (p *rtspPass) watches() *rtsp.Refusal {
	if limit := p.n.watches(p.ask.UID, "rtsp", p.ask.Session); limit != "" {
		return &rtsp.Refusal{Status: 429, Code: "too_many_viewers", Message: "as many watch already as may", Hint: limit + " says how many"}
	}
	return nil
}

// Alive implements rtsp.Pass. A stream on demand stays captured by it.
func (p *rtspPass) Alive() error {
	if p.ask.Live {
		p.n.streams.want(p.ask.UID)
	}
	if r := p.decide(); r != nil {
		return r
	}
	if r := p.watches(); r != nil {
		return r
	}
	return nil
}

// Close implements rtsp.Pass.
func (p *rtspPass) Close() { p.n.viewers.gone(p.ask.UID, "rtsp", p.ask.Session) }

// rtspAccounts are the Digest accounts as rtsp sees them.
type rtspAccounts struct{ a *access.Access }

func (r rtspAccounts) Challenges(from netip.Addr, stale bool) []string {
	return r.a.Challenges(from, stale)
}

func (r rtspAccounts) Check(method, header string, same func(string) bool, from netip.Addr) (rtsp.Account, bool, error) {
	who, stale, err := r.a.CheckDigest(method, header, same, from)
	switch locked := new(access.Locked); {
	case errors.Is(err, access.ErrKeys):
		err = &rtsp.Refusal{Status: 503, Code: "keys", Message: "accounts of this server cannot be checked now", Hint: "its operator finds why in the log", Cause: err}
	case errors.As(err, &locked):
		err = &rtsp.Refusal{Status: 403, Code: "locked", Message: locked.Error(), Hint: "[auth] lockout says for how long"}
	}
	return rtsp.Account{Name: who.Name, Since: who.CreatedMS}, stale, err
}

// sealer encrypts Digest accounts with the keys of this server.
type sealer struct{ v *keys.Vault }

func (s sealer) Seal(ctx context.Context, plain, about []byte) (key [16]byte, sealed []byte, err error) {
	id, sealed, err := s.v.Seal(ctx, plain, about)
	return id, sealed, err
}

func (s sealer) Open(key [16]byte, sealed, about []byte) ([]byte, error) {
	return s.v.Open(keys.KeyID(key), sealed, about)
}
