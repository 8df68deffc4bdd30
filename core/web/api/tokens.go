package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/fault"
	"media-server/core/timeline"
	"media-server/core/web"
)

// Token is an API token without its secret.
type Token struct {
	ID      string `json:"id"`
	Name    string `json:"name"`
	Role    string `json:"role"`
	By      string `json:"by"`
	Created int64  `json:"created_ms"`
	Expires int64  `json:"expires_ms"` // 0 = never
}

// NewToken asks for an API token; the answer carries the secret, once.
type NewToken struct {
	Name string `json:"name"`
	Role string `json:"role"`
	TTL  string `json:"ttl"` // ini notation; empty or 0 = never expires
}

// ErrSealed says that the keys which Digest accounts are encrypted with are not at hand.
var ErrSealed = errors.New("the account cannot be encrypted")

// Accounts is the part of Backend that the command line works on; node's
// access room implements it.
type Accounts interface {
	CreateToken(name, role string, ttl time.Duration, by string) (secret string, t Token, err error)
	Tokens() []Token
	RevokeToken(id string) error
	SetPassword(user, password string) error
	// SetPlayer makes a Digest account, or gives it another password. The error wraps
	// ErrSealed, or is a *fault.Problem where name or password will not do.
	SetPlayer(user, password string) error
	RemovePlayer(user string) error
}

func decode(ctx *fasthttp.RequestCtx, v any) *web.Error {
	if err := json.Unmarshal(ctx.PostBody(), v); err != nil {
		return web.E(400, "bad_body", "the body must be JSON: "+err.Error(), "")
	}
	return nil
}

func (a *API) createToken(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	var in NewToken
	if e := decode(ctx, &in); e != nil {
		return e
	}
	var ttl time.Duration
	if in.TTL != "" {
		var err error
		if ttl, err = timeline.ParseSpan(in.TTL); err != nil {
			return web.E(400, "bad_ttl", "ttl: "+err.Error(), "")
		}
	}
	secret, t, err := a.b.CreateToken(in.Name, in.Role, ttl, who.Name)
	if err != nil {
		return web.E(400, "token", err.Error(), "roles: viewer, operator, administrator")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("made API token %s (%s)", t.ID, t.Role))
	ctx.SetStatusCode(201)
	ctx.Response.Header.Set("Location", "/api/v1/tokens/"+t.ID)
	web.JSON(ctx, struct {
		Token
		Secret string `json:"token"`
	}{t, secret})
	return nil
}

// tokens lists API tokens, or with kind=play the play tokens that are good.
func (a *API) tokens(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	switch kind := string(ctx.QueryArgs().Peek("kind")); kind {
	case "", "api":
	case "play":
		return a.playTokens(ctx)
	default:
		return web.E(400, "bad_kind", "there is no such kind of token", "kind=api, kind=play")
	}
	return answerPage(ctx, a.b.Tokens(), func(x *Token) string { return x.ID })
}

func (a *API) revokeToken(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	revoke := a.b.RevokeToken
	if v := string(ctx.QueryArgs().Peek("foreign")); v == "true" || v == "1" { // made elsewhere, with our secret
		revoke = a.b.RevokeForeign
	}
	if err := revoke(args[0]); err != nil {
		return tokenFault(err, 404, "no_such_token")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "revoked token "+args[0])
	ctx.SetStatusCode(204)
	return nil
}

func (a *API) setPassword(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	var in struct {
		Password string `json:"password"`
	}
	if e := decode(ctx, &in); e != nil {
		return e
	}
	if err := a.b.SetPassword(args[0], in.Password); err != nil {
		return web.E(400, "password", err.Error(), "")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "set the password of "+args[0])
	ctx.SetStatusCode(204)
	return nil
}

func (a *API) setPlayer(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	var in struct {
		Password string `json:"password"`
	}
	if e := decode(ctx, &in); e != nil {
		return e
	}
	if err := a.b.SetPlayer(args[0], in.Password); err != nil {
		return playerFault(err)
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "set the password of the Digest account "+args[0])
	ctx.SetStatusCode(204)
	return nil
}

func playerFault(err error) *web.Error {
	p := new(fault.Problem)
	switch {
	case errors.Is(err, ErrSealed):
		return web.E(503, "keys", err.Error(), "see the problems page")
	case errors.As(err, &p):
		return web.E(400, "password", err.Error(), "")
	}
	return web.E(503, "accounts", err.Error(), "see the problems page")
}

func (a *API) removePlayer(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	if err := a.b.RemovePlayer(args[0]); err != nil {
		return web.E(404, "no_such_user", err.Error(), "")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "removed the Digest account "+args[0])
	ctx.SetStatusCode(204)
	return nil
}
