package api

import (
	"fmt"

	"github.com/valyala/fasthttp"

	"media-server/core/web"
)

// Move is how moving footage from one pool to another goes.
type Move struct {
	From     string `json:"from"`            // pool
	To       string `json:"to"`              // pool
	Stage    bool   `json:"stage,omitempty"` // from the stage of the pool itself
	State    string `json:"state"`           // idle, moving, waiting, failing
	Why      string `json:"why,omitempty"`   // of waiting and failing
	Files    int64  `json:"files"`           // moved since the start
	Bytes    int64  `json:"bytes"`
	Failures int64  `json:"failures"`
	DueFiles int64  `json:"due_files"` // that should have been moved and are not yet
	DueBytes int64  `json:"due_bytes"`
	UID      string `json:"uid,omitempty"` // stream of the file being moved
	File     string `json:"file,omitempty"`
	Done     int64  `json:"done_bytes,omitempty"` // of that file
	Size     int64  `json:"size_bytes,omitempty"`
}

// Moves is the part of Backend that moves footage between pools.
type Moves interface {
	Moves() []Move
}

var moveRoutes = []route{
	{"GET", "moves", Viewer, (*API).moves},
}

func (a *API) moves(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	return answerPage(ctx, a.b.Moves(), func(x *Move) string { return fmt.Sprint(x.From, "\x00", x.To, x.Stage) })
}
