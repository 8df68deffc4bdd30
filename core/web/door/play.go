package door

import (
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/media"
	"media-server/core/web"
	"media-server/core/web/api"
	"media-server/core/web/cpanel"
	"media-server/core/web/playback"
)

// Ask is what somebody wants to play, over any protocol, and what he shows for it.
type Ask struct {
	UID     string
	Live    bool
	Unknown bool       // which part of a recording is not known yet; Span does not count
	Span    media.Span // of a recording; To 0 = to the end

	Address   netip.Addr // zero = not known: he came by way of somebody else
	Secret    string     // play token, API token, or session's cookie
	Cookie    bool       // Secret is a session's
	Certified bool       // by a Digest account that may play
	MustBe    bool       // certified, or else allowed: also what is public

	person *api.Identity // of the control socket, or an address that needs no login
}

// Admit decides. It may be asked again and again while somebody plays: a token
// expires, a session is ended, a stream is made private.
func (d *Door) Admit(a Ask) (playback.Grant, *web.Error) {
	rule, whitelist := d.Rule(a.UID)
	g := playback.Grant{Who: "address " + a.Address.String()}
	if rule == access.Public && !a.MustBe && !access.IsPlayToken(a.Secret) {
		return g, nil
	}
	r := access.Request{UID: a.UID, Rule: rule, Whitelist: whitelist, Address: a.Address, Live: a.Live, Unknown: a.Unknown,
		FromMS: a.Span.From.Milli(), ToMS: a.Span.To.Milli(), NowMS: time.Now().UnixMilli(),
		Certified: a.Certified, MustBeCertified: a.MustBe}
	switch {
	case a.person != nil:
		r.Who = access.Identity{Name: a.person.Name, Role: access.Role(a.person.Role), MustChange: a.person.MustChange}
		g.Who = "user " + a.person.Name
	case a.Secret == "":
	case access.IsPlayToken(a.Secret):
		if t, err := d.Accounts.PlayToken(a.Secret); err != nil {
			r.PlayErr = err
		} else {
			r.Play, g.Who = &t, "token "+t.ID
		}
	default:
		id, ok := d.Accounts.Identify(a.Secret)
		if ok = ok && (id.Session != "") == a.Cookie; ok {
			r.Who = id
			g.Who = "user " + id.Name
		}
		r.Presented = ok || !a.Cookie
	}
	v := access.Decide(r)
	if !v.Allow {
		e := web.E(v.Status, v.Code, v.Message, v.Hint)
		if v.FromMS != 0 || v.ToMS != 0 {
			_ = e.With("allowed", map[string]int64{"from": v.FromMS, "to": v.ToMS})
		}
		return playback.Grant{}, e
	}
	g.Within = media.Span{From: media.WallMilli(v.FromMS), To: media.WallMilli(v.ToMS)}
	return g, nil
}

// Play implements playback.Gate.
func (d *Door) Play(ctx *fasthttp.RequestCtx, uid string, live bool) (playback.Grant, *web.Error) {
	a := Ask{UID: uid, Live: live, Unknown: true, Address: d.client(ctx)}
	if p, ok := web.UserOf(ctx.Conn()); ok {
		a.person = &api.Identity{Name: person(p), Role: api.Administrator}
	} else if a.Secret = bearer(ctx); a.Secret == "" {
		if c := ctx.Request.Header.Cookie(cpanel.Cookie); len(c) > 0 {
			a.Secret, a.Cookie = string(c), true
		}
		if rule, _ := d.Rule(uid); rule != access.Public {
			if id, e := d.Identify(ctx); e == nil && id.Role != api.Anybody && a.Secret == "" {
				a.person = &id // of an address that needs no login
			}
		}
	}
	g, e := d.Admit(a)
	g.Alive = func() bool {
		_, e := d.Admit(a)
		return e == nil
	}
	g.Known = func() bool { return d.known(a) }
	return g, e
}

// known tells whether a good token or login was shown. A public stream lets everybody
// in without looking at it.
func (d *Door) known(a Ask) bool {
	switch {
	case a.person != nil:
		return true
	case a.Secret == "":
		return false
	case access.IsPlayToken(a.Secret):
		_, err := d.Accounts.PlayToken(a.Secret)
		return err == nil
	}
	id, ok := d.Accounts.Identify(a.Secret)
	return ok && (id.Session != "") == a.Cookie
}
