package api

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// Mark is something that happened before a camera.
type Mark struct {
	UID      string `json:"uid"`
	Kind     string `json:"kind"`
	At       int64  `json:"at"`       // Unix ms
	End      int64  `json:"end"`      // = at: it was an instant; 0: it goes on
	Recorded bool   `json:"recorded"` // footage from keeps_from to keeps_to is kept because of it
	From     int64  `json:"keeps_from,omitempty"`
	To       int64  `json:"keeps_to,omitempty"`
}

// NewMark is an event that somebody tells of.
type NewMark struct {
	Kind string
	At   media.Wall
	Data map[string]any // for the journal
	Who  string
}

// Marks is the part of Backend that knows what happened.
type Marks interface {
	// AddMark returns when the mark is on disk and what it makes of the
	// recording has begun.
	AddMark(uid string, m NewMark) (Mark, error)
	MarksOf(uid string, s media.Span) ([]Mark, error)
}

var eventRoutes = []route{
	{"POST", "streams/{uid}/event", Operator, (*API).addMark},
	{"GET", "streams/{uid}/events", Viewer, (*API).marks},
}

func (a *API) addMark(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	var in struct {
		Kind string
		At   moment
		Data map[string]any
	}
	if e := strict(ctx, &in); e != nil {
		return e
	}
	if in.Kind == "" || len(in.Kind) > 64 || strings.Trim(in.Kind, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") != "" {
		return web.E(400, "bad_kind", "kind is a word of letters, digits, dots, - and _, at most 64", `for example {"kind":"motion"}`)
	}
	now := time.Now()
	m := NewMark{Kind: in.Kind, At: media.WallOf(now), Data: in.Data, Who: who.Name}
	if in.At != "" {
		at, err := timeline.ParseTime(string(in.At), now, a.zone())
		if err != nil {
			return web.E(400, "bad_time", "at: "+err.Error(), "leave it out for now")
		}
		if at.Sub(m.At) > 5*time.Second {
			return web.E(400, "bad_time", "at lies in the future", "leave it out for now")
		}
		m.At = at
	}
	mark, err := a.b.AddMark(s.UID, m)
	if err != nil {
		what, hint := err.Error(), "see problems; try again"
		if p := new(fault.Problem); errors.As(err, &p) {
			what, hint = p.What, p.Hint
		}
		return web.E(503, "event", what, hint)
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("told of an event %s at %s", in.Kind, s.UID))
	ctx.SetStatusCode(201)
	web.JSON(ctx, mark)
	return nil
}

func (a *API) marks(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	span, e := a.window(ctx)
	if e != nil {
		return e
	}
	ms, err := a.b.MarksOf(s.UID, span)
	if err != nil {
		return web.E(503, "storage", "state.db cannot be read at present: "+err.Error(), "see problems; try again")
	}
	return answerPage(ctx, ms, func(x *Mark) string { return fmt.Sprint(x.Kind, x.At) })
}
