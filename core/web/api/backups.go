package api

import (
	"errors"
	"io/fs"

	"github.com/valyala/fasthttp"

	"media-server/core/fault"
	"media-server/core/web"
)

// Backup is a backup of the server.
type Backup struct {
	Name    string `json:"name"`
	Node    string `json:"node,omitempty"` // id of the server that made it; none = its name does not tell
	Own     bool   `json:"own"`            // made by this server, which deletes old ones of its own alone
	Offered bool   `json:"offered,omitempty"`
	Path    string `json:"path,omitempty"`
	Size    int64  `json:"size_bytes"`
	Made    int64  `json:"made_ms"`
}

// StagedRestore is a restore that the next start carries out.
type StagedRestore struct {
	Name     string   `json:"name"`
	Made     int64    `json:"made_ms"`
	Program  string   `json:"program"`
	Restores int      `json:"files"`
	Left     []string `json:"left,omitempty"` // settings that exist and stay
}

// Backups is the part of Backend that saves what no media file says.
type Backups interface {
	Backups() ([]Backup, error)
	MakeBackup() (Backup, error)
	// StageRestore prepares the restore of a backup of the list; the next start
	// of the server carries it out.
	StageRestore(name string) (StagedRestore, error)
	// DismissBackup ends the offer of a backup that was found when this server
	// started anew, and tells which it was; "" = none is offered.
	DismissBackup() (string, error)
}

var backupRoutes = []route{
	{"GET", "backups", Administrator, (*API).backups},
	{"POST", "backups", Administrator, (*API).makeBackup},
	{"POST", "restore", Administrator, (*API).stageRestore},
}

func (a *API) backups(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	bs, err := a.b.Backups()
	if err != nil {
		return web.E(503, "backup", "the folder of backups cannot be read: "+err.Error(), "see [backup] path")
	}
	return answerPage(ctx, bs, func(x *Backup) string { return x.Name })
}

func (a *API) makeBackup(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	b, err := a.b.MakeBackup()
	if err != nil {
		return web.E(503, "backup", err.Error(), "is there room in [backup] path, and may the server write there?")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "made backup "+b.Name)
	ctx.SetStatusCode(201)
	web.JSON(ctx, b)
	return nil
}

func (a *API) stageRestore(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	var in struct {
		File, Confirm string
		Dismiss       bool
	}
	if e := strict(ctx, &in); e != nil {
		return e
	}
	if in.Dismiss {
		return a.dismissBackup(ctx, who, in.File)
	}
	if in.File == "" || in.Confirm != in.File {
		return web.E(409, "confirm", "a restore replaces databases and keys at the next start of the server", `say so: {"file":"NAME","confirm":"NAME"}, with a name of /api/v1/backups`)
	}
	s, err := a.b.StageRestore(in.File)
	p := new(fault.Problem)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return web.E(404, "no_such_backup", "there is no backup of that name", "the list is at /api/v1/backups")
	case errors.As(err, &p):
		return web.E(409, "backup", p.Error(), p.Hint)
	case err != nil:
		return web.E(503, "backup", err.Error(), "")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "staged the restore of backup "+in.File)
	ctx.SetStatusCode(202)
	web.JSON(ctx, s)
	return nil
}

// dismissBackup answers a restore that nobody wants.
func (a *API) dismissBackup(ctx *fasthttp.RequestCtx, who Identity, file string) *web.Error {
	if file != "" {
		return web.E(400, "bad_body", "restore a backup or dismiss the offer of one, not both", `{"dismiss":true}`)
	}
	was, err := a.b.DismissBackup()
	switch {
	case err != nil:
		return web.E(503, "backup", err.Error(), "may the server write to its data folder?")
	case was == "":
		return web.E(404, "nothing_offered", "no backup is offered to this server", "the list is at /api/v1/backups")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "goes on without backup "+was)
	ctx.SetStatusCode(204)
	return nil
}
