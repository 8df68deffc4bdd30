package api

import (
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// PlayToken is a play token without its text.
type PlayToken struct {
	ID      string `json:"id"`
	Kind    string `json:"kind"` // play
	UID     string `json:"uid"`
	User    string `json:"user"`
	Address string `json:"ip,omitempty"`   // who may use it; empty = anyone
	From    int64  `json:"from,omitempty"` // span that may be played, Unix ms; 0 = no bound
	To      int64  `json:"to,omitempty"`
	By      string `json:"by"`
	Created int64  `json:"created_ms"`
	Expires int64  `json:"expires_ms"`
}

// NewPlayToken asks for a play token.
type NewPlayToken struct {
	UID      string
	User     string
	TTL      time.Duration
	Address  netip.Prefix // the zero Prefix = anyone's
	From, To media.Wall
	By       string
}

// PlayTokens is the part of Backend that makes play tokens.
type PlayTokens interface {
	CreatePlayToken(t NewPlayToken) (text string, made PlayToken, err error)
	// PlayTokens lists those behind an id, at most limit.
	PlayTokens(after string, limit int) ([]PlayToken, error)
	// RevokeForeign revokes a token that was made elsewhere, by its jti.
	RevokeForeign(id string) error
	// RotateTokenSecret makes a new secret of play tokens; revoke = those made before
	// are good for nothing.
	RotateTokenSecret(revoke bool) error
}

var playTokenRoutes = []route{
	{"POST", "tokens/play", Operator, (*API).createPlayToken},
	{"POST", "keys/token/rotate", Administrator, (*API).rotateTokenSecret},
}

// playTTL is how long a play token is good if nobody says.
const playTTL = time.Hour

// createPlayToken answers {uid, user, ttl, ip, from, to} with a token and the URLs
// that it opens.
func (a *API) createPlayToken(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	var in struct {
		UID, User, IP string
		TTL, From, To moment
	}
	if e := strict(ctx, &in); e != nil {
		return e
	}
	s, e := a.one([]string{in.UID})
	if e != nil {
		return e
	}
	t := NewPlayToken{UID: s.UID, User: in.User, TTL: playTTL, By: who.Name}
	var err error
	if in.TTL != "" {
		if t.TTL, err = timeline.ParseSpan(string(in.TTL)); err != nil {
			return web.E(400, "bad_ttl", "ttl: "+err.Error(), "")
		}
	}
	if t.Address, err = ParseAddress(in.IP); err != nil {
		return web.E(400, "bad_ip", "ip: "+err.Error(), "an address or a network: 10.0.0.7, 10.0.0.0/24")
	}
	now := time.Now()
	for _, x := range []struct {
		in   moment
		name string
		to   *media.Wall
	}{{in.From, "from", &t.From}, {in.To, "to", &t.To}} {
		if x.in == "" {
			continue
		}
		if *x.to, err = timeline.ParseTime(string(x.in), now, a.zone()); err != nil {
			return web.E(400, "bad_time", x.name+": "+err.Error(), "")
		}
	}
	text, made, err := a.b.CreatePlayToken(t)
	if err != nil {
		return tokenFault(err, 400, "token")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("made play token %s for %s", made.ID, made.UID))
	ctx.SetStatusCode(201)
	ctx.Response.Header.Set("Location", "/api/v1/tokens/"+made.ID)
	web.JSON(ctx, struct {
		PlayToken
		Text string            `json:"token"`
		End  int64             `json:"expires"`
		URLs map[string]string `json:"urls"`
	}{made, text, made.Expires, a.addresses.URLs(ctx, t.Address.Addr(), made.UID, text)}) // as those find it whom it is for
	return nil
}

// tokenFault turns an error about tokens into an answer: status and code for what the
// client got wrong.
func tokenFault(err error, status int, code string) *web.Error {
	var p *fault.Problem
	switch {
	case errors.Is(err, access.ErrTooManyTokens):
		return web.E(429, "too_many_tokens", err.Error(), "give them a shorter ttl, or revoke some")
	case errors.As(err, &p):
		return web.E(status, code, err.Error(), p.Hint)
	}
	return web.E(503, "accounts", "accounts and keys cannot be written at present: "+err.Error(), "see the problems page: is the disk of data-dir full?")
}

// ParseAddress reads an address or a network; empty = the zero Prefix.
func ParseAddress(s string) (netip.Prefix, error) {
	if s == "" {
		return netip.Prefix{}, nil
	}
	if p, err := netip.ParsePrefix(s); err == nil {
		return p.Masked(), nil
	}
	ip, err := netip.ParseAddr(s)
	if err != nil || ip.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is neither an address nor a network", s)
	}
	ip = ip.Unmap()
	return netip.PrefixFrom(ip, ip.BitLen()), nil
}

func (a *API) playTokens(ctx *fasthttp.RequestCtx) *web.Error {
	limit, e := intArg(ctx, "limit", 1000, 1, 10000)
	if e != nil {
		return e
	}
	items, err := a.b.PlayTokens(string(ctx.QueryArgs().Peek("cursor")), limit+1)
	if err != nil {
		return web.E(503, "accounts", err.Error(), "see the problems page")
	}
	l := list{Items: append([]PlayToken{}, items[:min(limit, len(items))]...)}
	if len(items) > limit {
		l.Next = items[limit-1].ID
	}
	web.JSON(ctx, l)
	return nil
}

func (a *API) rotateTokenSecret(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	var in struct{ Revoke bool }
	if len(ctx.PostBody()) > 0 {
		if e := strict(ctx, &in); e != nil {
			return e
		}
	}
	if err := a.b.RotateTokenSecret(in.Revoke); err != nil {
		return tokenFault(err, 409, "keys")
	}
	what := "made a new secret of play tokens"
	if in.Revoke {
		what += " and threw those before away"
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), what)
	ctx.SetStatusCode(204)
	return nil
}
