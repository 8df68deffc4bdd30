package api

import (
	"errors"
	"fmt"

	"github.com/valyala/fasthttp"

	"media-server/core/fault"
	"media-server/core/web"
)

// SpaceStatus is a storage space.
type SpaceStatus struct {
	Name     string            `json:"name"`
	Pool     string            `json:"pool"`  // the first of Pools
	Pools    []string          `json:"pools"` // that it belongs to
	Driver   string            `json:"driver"`
	Path     string            `json:"path,omitempty"`
	Settings map[string]string `json:"settings,omitempty"` // by ini key, in ini notation
	ID       string            `json:"id,omitempty"`       // from its marker
	State    string            `json:"state"`              // normal, restoring, scanning, initializing, full, read_only, failing, lost, opening
	Leaving  bool              `json:"leaving,omitempty"`  // nothing new comes to it: it goes once it is empty
	Why      string            `json:"why,omitempty"`
	Hint     string            `json:"hint,omitempty"`
	Since    int64             `json:"since_ms,omitempty"`
	Done     int64             `json:"scanned_files,omitempty"`
	Found    int64             `json:"found_files,omitempty"`
	Progress float64           `json:"progress,omitempty"` // of a scan or an initialisation, 0 to 1
	Total    int64             `json:"total_bytes"`
	Used     int64             `json:"used_bytes"`
	Free     int64             `json:"free_bytes"`
	Waiting  int64             `json:"waiting_bytes"` // in memory, for the space to take them
}

// Pool is a set of spaces.
type Pool struct {
	Name     string            `json:"name"`
	Spaces   []string          `json:"spaces"`
	Settings map[string]string `json:"settings"` // by ini key, in ini notation
	Streams  []string          `json:"streams"`
	Leaving  bool              `json:"leaving,omitempty"` // not in the settings any more, but still recorded in
	Total    int64             `json:"total_bytes"`
	Free     int64             `json:"free_bytes"`
	Locked   int64             `json:"locked_bytes"`
	PerDay   int64             `json:"bytes_per_day"`
	Days     float64           `json:"days,omitempty"`
	FullIn   float64           `json:"full_in,omitempty"`
}

// SpaceContents is what lies in a space.
type SpaceContents struct {
	Streams []SpaceStream `json:"streams"`
	Files   int64         `json:"files"`
	Bytes   int64         `json:"bytes"`
	Locked  int64         `json:"locked_bytes"`
	From    int64         `json:"from"`
	To      int64         `json:"to"`
	Confirm string        `json:"confirm,omitempty"` // to be sent back, for it to be deleted
}

// SpaceStream is what lies in a space of one stream.
type SpaceStream struct {
	UID    string `json:"uid"`
	Files  int64  `json:"files"`
	Bytes  int64  `json:"bytes"`
	Locked int64  `json:"locked_bytes"`
	From   int64  `json:"from"`
	To     int64  `json:"to"`
}

// ErrNoSpace and ErrNoPool: nothing has that name.
var (
	ErrNoSpace = errors.New("there is no such space")
	ErrNoPool  = errors.New("there is no such pool")
)

// RefusedSettings is what is wrong with settings that were sent.
type RefusedSettings struct{ Problems []Problem }

func (e *RefusedSettings) Error() string {
	if len(e.Problems) == 0 {
		return "the settings are refused"
	}
	return e.Problems[0].Where + ": " + e.Problems[0].What
}

// Unconfirmed is what would be deleted, and nobody has said that it may.
type Unconfirmed struct {
	What, Hint string
	Contents   SpaceContents
}

func (e *Unconfirmed) Error() string { return e.What }

// Spaces is the part of Backend that knows where footage lies. Errors are
// ErrNoSpace, ErrNoPool, RefusedSettings, Unconfirmed, or a fault.Problem.
type Spaces interface {
	SpaceStatuses() []SpaceStatus
	Pools() ([]Pool, error)
	AddSpace(name string, keys []Setting) error
	ChangeSpace(name string, keys []Setting) error
	RemoveSpace(name string) error
	AddPool(name string, keys []Setting) error
	ChangePool(name string, keys []Setting) error
	RemovePool(name string) error
	// RestoreSpace takes what lies at the path of a lost space for it, with all
	// it holds.
	RestoreSpace(name string) error
	// InitializeSpace deletes what a space holds, once that is confirmed.
	InitializeSpace(name, confirm string, locked bool) (*SpaceContents, error)
}

var spaceRoutes = []route{
	{"GET", "spaces", Viewer, (*API).spaces},
	{"POST", "spaces", Administrator, (*API).addSpace},
	{"GET", "spaces/{name}", Viewer, (*API).space},
	{"PATCH", "spaces/{name}", Administrator, (*API).changeSpace},
	{"DELETE", "spaces/{name}", Administrator, (*API).removeSpace},
	{"GET", "pools", Viewer, (*API).pools},
	{"POST", "pools", Administrator, (*API).addPool},
	{"GET", "pools/{name}", Viewer, (*API).pool},
	{"PATCH", "pools/{name}", Administrator, (*API).changePool},
	{"DELETE", "pools/{name}", Administrator, (*API).removePool},
	{"POST", "spaces/{name}/restore", Administrator, (*API).restoreSpace},
	{"POST", "spaces/{name}/initialize", Administrator, (*API).initializeSpace},
}

func (a *API) spaces(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	return answerPage(ctx, a.b.SpaceStatuses(), func(x *SpaceStatus) string { return x.Name })
}

func (a *API) space(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	for _, s := range a.b.SpaceStatuses() {
		if s.Name == args[0] {
			web.JSON(ctx, s)
			return nil
		}
	}
	return placeError(ErrNoSpace, args[0])
}

func (a *API) pools(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	ps, err := a.b.Pools()
	if err != nil {
		return unreadable(err)
	}
	return answerPage(ctx, ps, func(x *Pool) string { return x.Name })
}

func (a *API) pool(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	ps, err := a.b.Pools()
	if err != nil {
		return unreadable(err)
	}
	for _, p := range ps {
		if p.Name == args[0] {
			web.JSON(ctx, p)
			return nil
		}
	}
	return placeError(ErrNoPool, args[0])
}

// placeError gives an error of Spaces its status.
func placeError(err error, name string) *web.Error {
	var refused *RefusedSettings
	var ask *Unconfirmed
	p := new(fault.Problem)
	switch {
	case errors.Is(err, ErrNoSpace):
		return web.E(404, "no_such_space", fmt.Sprintf("there is no space %q", name), "the list is at /api/v1/spaces")
	case errors.Is(err, ErrNoPool):
		return web.E(404, "no_such_pool", fmt.Sprintf("there is no pool %q", name), "the list is at /api/v1/pools")
	case errors.As(err, &refused):
		e := web.E(400, "settings", "the settings are refused; nothing was changed", "see problems").With("problems", refused.Problems)
		if len(refused.Problems) > 0 {
			e.Message, e.Hint = refused.Error(), refused.Problems[0].Hint
		}
		return e
	case errors.As(err, &ask):
		return web.E(409, "confirm", ask.What, ask.Hint).With("would_delete", ask.Contents)
	case errors.As(err, &p):
		what := p.What
		if p.Where != "" {
			what = p.Where + ": " + what
		}
		return web.E(409, "space", what, p.Hint)
	}
	return web.E(503, "storage", err.Error(), "see problems; try again")
}

func (a *API) addSpace(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	name, keys, e := settingsBody(ctx, true)
	if e != nil {
		return e
	}
	if err := a.b.AddSpace(name, keys); err != nil {
		return placeError(err, name)
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "added space "+name)
	ctx.Response.Header.Set("Location", prefix+"spaces/"+name)
	if e := a.space(ctx, who, []string{name}); e != nil {
		return e
	}
	ctx.SetStatusCode(201)
	return nil
}

func (a *API) addPool(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	name, keys, e := settingsBody(ctx, true)
	if e != nil {
		return e
	}
	if err := a.b.AddPool(name, keys); err != nil {
		return placeError(err, name)
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "added pool "+name)
	ctx.Response.Header.Set("Location", prefix+"pools/"+name)
	if e := a.pool(ctx, who, []string{name}); e != nil {
		return e
	}
	ctx.SetStatusCode(201)
	return nil
}

func (a *API) changeSpace(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	_, keys, e := settingsBody(ctx, false)
	if e != nil {
		return e
	}
	if err := a.b.ChangeSpace(args[0], keys); err != nil {
		return placeError(err, args[0])
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "changed space "+args[0])
	return a.space(ctx, who, args)
}

func (a *API) changePool(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	_, keys, e := settingsBody(ctx, false)
	if e != nil {
		return e
	}
	if err := a.b.ChangePool(args[0], keys); err != nil {
		return placeError(err, args[0])
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "changed pool "+args[0])
	return a.pool(ctx, who, args)
}

func (a *API) removeSpace(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	if err := a.b.RemoveSpace(args[0]); err != nil {
		return placeError(err, args[0])
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "removed space "+args[0])
	ctx.SetStatusCode(204)
	return nil
}

func (a *API) removePool(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	if err := a.b.RemovePool(args[0]); err != nil {
		return placeError(err, args[0])
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "removed pool "+args[0])
	ctx.SetStatusCode(204)
	return nil
}

// restoreSpace takes what lies there: an empty folder becomes a new space, a
// space of an earlier installation is attached. Nothing is ever deleted by it.
func (a *API) restoreSpace(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	if err := a.b.RestoreSpace(args[0]); err != nil {
		return placeError(err, args[0])
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "took what lies at the path of space "+args[0])
	web.JSON(ctx, map[string]string{"state": "restoring", "url": prefix + "spaces/" + args[0]})
	ctx.SetStatusCode(202)
	return nil
}

// initializeSpace deletes what a space holds. It asks first: without the confirm
// of its first answer nothing is touched.
func (a *API) initializeSpace(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	var in struct {
		Confirm string
		Locked  bool // what is locked as well
	}
	if len(ctx.PostBody()) > 0 {
		if e := strict(ctx, &in); e != nil {
			return e
		}
	}
	c, err := a.b.InitializeSpace(args[0], in.Confirm, in.Locked)
	if err != nil {
		return placeError(err, args[0])
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("initialised space %s: %d files, %d bytes", args[0], c.Files, c.Bytes))
	web.JSON(ctx, map[string]any{"state": "initializing", "url": prefix + "spaces/" + args[0], "deletes": c})
	ctx.SetStatusCode(202)
	return nil
}
