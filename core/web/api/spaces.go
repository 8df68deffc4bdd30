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
	Name     string  `json:"name"`
	Pool     string  `json:"pool"`
	Driver   string  `json:"driver"`
	Path     string  `json:"path,omitempty"`
	ID       string  `json:"id,omitempty"` // from its marker
	State    string  `json:"state"`        // normal, scanning, full, read_only, failing, lost, opening
	Why      string  `json:"why,omitempty"`
	Hint     string  `json:"hint,omitempty"`
	Since    int64   `json:"since_ms,omitempty"`
	Done     int64   `json:"scanned_files,omitempty"`
	Found    int64   `json:"found_files,omitempty"`
	Progress float64 `json:"progress,omitempty"` // of a scan, 0 to 1
	Total    int64   `json:"total_bytes"`
	Used     int64   `json:"used_bytes"`
	Free     int64   `json:"free_bytes"`
	Waiting  int64   `json:"waiting_bytes"` // in memory, for the space to take them
}

// Pool is a set of spaces.
type Pool struct {
	Name     string            `json:"name"`
	Spaces   []string          `json:"spaces"`
	Settings map[string]string `json:"settings"` // by ini key, in ini notation
	Streams  []string          `json:"streams"`
	Total    int64             `json:"total_bytes"`
	Free     int64             `json:"free_bytes"`
	Locked   int64             `json:"locked_bytes"`
	PerDay   int64             `json:"bytes_per_day"`
	Days     float64           `json:"days,omitempty"`
	FullIn   float64           `json:"full_in,omitempty"`
}

// ErrNoSpace is what RestoreSpace returns for a name that no space has.
var ErrNoSpace = errors.New("there is no such space")

// Spaces is the part of Backend that knows where footage lies.
type Spaces interface {
	SpaceStatuses() []SpaceStatus
	Pools() ([]Pool, error)
	// RestoreSpace takes what lies at the path of a lost space for it, with all
	// it holds.
	RestoreSpace(name string) error
}

var spaceRoutes = []route{
	{"GET", "spaces", Viewer, (*API).spaces},
	{"GET", "pools", Viewer, (*API).pools},
	{"POST", "spaces/{name}/restore", Administrator, (*API).restoreSpace},
	{"POST", "spaces/{name}/initialize", Administrator, (*API).restoreSpace},
}

func (a *API) spaces(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	ss := a.b.SpaceStatuses()
	if ss == nil {
		ss = []SpaceStatus{}
	}
	web.JSON(ctx, list{Items: ss})
	return nil
}

func (a *API) pools(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	ps, err := a.b.Pools()
	if err != nil {
		return unreadable(err)
	}
	if ps == nil {
		ps = []Pool{}
	}
	web.JSON(ctx, list{Items: ps})
	return nil
}

// restoreSpace takes what lies there: an empty folder becomes a new space, a
// space of an earlier installation is attached. Nothing is ever deleted by it.
func (a *API) restoreSpace(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	err := a.b.RestoreSpace(args[0])
	p := new(fault.Problem)
	switch {
	case errors.Is(err, ErrNoSpace):
		return web.E(404, "no_such_space", fmt.Sprintf("there is no space %q", args[0]), "the list is at /api/v1/spaces")
	case errors.As(err, &p):
		return web.E(409, "space", p.What, p.Hint)
	case err != nil:
		return web.E(503, "storage", err.Error(), "see problems; try again")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "took what lies at the path of space "+args[0])
	ctx.SetStatusCode(202)
	web.JSON(ctx, map[string]string{"state": "restoring", "url": "/api/v1/spaces"})
	return nil
}
