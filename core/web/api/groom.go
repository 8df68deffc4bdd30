package api

import (
	"github.com/valyala/fasthttp"

	"media-server/core/web"
)

// Grooming is how reducing the old footage of a pool to key frames goes.
type Grooming struct {
	Pool     string `json:"pool"`
	After    string `json:"groom-after"`   // in ini notation
	State    string `json:"state"`         // idle, grooming, waiting, failing
	Why      string `json:"why,omitempty"` // of waiting and failing
	Files    int64  `json:"files"`         // groomed since the start
	Freed    int64  `json:"freed_bytes"`   // by that
	Failures int64  `json:"failures"`
	Damaged  int64  `json:"damaged_files"` // found damaged: they stay as they are
	DueFiles int64  `json:"due_files"`     // that are old enough and not groomed yet
	DueBytes int64  `json:"due_bytes"`
	DueGain  int64  `json:"due_gain_bytes"` // what of that will be free, estimated
	UID      string `json:"uid,omitempty"`  // stream of the file that is read
	File     string `json:"file,omitempty"`
	Done     int64  `json:"done_bytes,omitempty"` // of that file
	Size     int64  `json:"size_bytes,omitempty"`
}

// Groomings is the part of Backend that reduces old footage.
type Groomings interface {
	Groomings() []Grooming
}

var groomRoutes = []route{
	{"GET", "groomings", Viewer, (*API).groomings},
}

func (a *API) groomings(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	return answerPage(ctx, a.b.Groomings(), func(x *Grooming) string { return x.Pool })
}
