package api

import (
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/timeline"
	"media-server/core/web"
)

// NewProof asks for the proof of an export.
type NewProof struct {
	Span    media.Span
	Reason  string
	Who     string
	IfMatch string // ETag of the export; "" = any
}

// Proof is one that is made while it is read.
type Proof struct {
	ETag string // of the export that it proves
	Body io.ReadCloser
}

// Errors of Proofs.
var (
	ErrChanged = errors.New("the range gives another export by now")
	ErrBusy    = errors.New("as many proofs as this server takes are being made")
)

// Proofs is the part of Backend that proves exports. What is asked is told in
// the journal before anything is read.
type Proofs interface {
	Proof(uid string, p NewProof) (Proof, error)
}

// The right to export is an operator's: the server signs what it hands out.
var proofRoutes = []route{
	{"GET", "streams/{uid}/proof", Operator, (*API).proof},
}

// mostReason bounds what is written into the proof and the journal.
const mostReason = 1000

// proof answers with the proof of what record.mp4 gives for the same range
// (core/export/PROOF.md). With If-Match it is that very export or none.
func (a *API) proof(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	if ctx.IsHead() {
		return web.E(405, "method", "a proof is made for who takes it", "ask with GET")
	}
	p := NewProof{Who: who.Name, Reason: string(ctx.QueryArgs().Peek("reason")), IfMatch: string(ctx.Request.Header.Peek("If-Match"))}
	if len(p.Reason) > mostReason || len(p.Who) > mostReason {
		return web.E(400, "bad_reason", fmt.Sprintf("a reason has at most %d bytes", mostReason), "")
	}
	if p.Span, e = a.closed(ctx); e != nil {
		return e
	}
	made, err := a.b.Proof(s.UID, p)
	if err != nil {
		return proofFault(s.UID, err)
	}
	a.b.Audit(p.Who, ctx.RemoteIP().String(), fmt.Sprintf("exported %s with proof from %s to %s: %s", s.UID,
		p.Span.From.Time().Format(time.RFC3339Nano), p.Span.To.Time().Format(time.RFC3339Nano), p.Reason))
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.Response.Header.Set("ETag", made.ETag)
	web.SendReader(ctx, made.Body)
	return nil
}

// closed is a window with both ends: from, and to or duration, as record.mp4
// takes them.
func (a *API) closed(ctx *fasthttp.RequestCtx) (media.Span, *web.Error) {
	q := ctx.QueryArgs()
	d := string(q.Peek("duration"))
	if len(q.Peek("from")) == 0 || (len(q.Peek("to")) == 0) == (d == "") {
		return media.Span{}, web.E(400, "bad_range", "an export has two ends: from, and to or duration", "for instance ?from=2026-03-01T08:00:00Z&duration=5m")
	}
	s, e := a.window(ctx)
	if e != nil || d == "" {
		return s, e
	}
	n, err := timeline.ParseSpan(d)
	if err != nil || n <= 0 {
		return s, web.E(400, "bad_duration", fmt.Sprintf("duration %q is not understood", d), "allowed: 30s, 5m, 2h, plain seconds")
	}
	s.To = s.From.Add(n)
	return s, nil
}

func proofFault(uid string, err error) *web.Error {
	p := new(fault.Problem)
	switch {
	case errors.Is(err, timeline.ErrNoFootage):
		return web.E(404, "no_footage", fmt.Sprintf("stream %s has no footage there", uid), "see streams/{uid}/ranges")
	case errors.Is(err, ErrChanged):
		return web.E(412, "changed", err.Error(), "the recording goes on, or footage was deleted: take the export again, with an end that is over")
	case errors.Is(err, ErrBusy):
		return web.E(429, "busy", err.Error(), "try again in a minute")
	case errors.Is(err, mp4.ErrTooLong), errors.Is(err, mp4.ErrHole):
		return web.E(400, "range_too_long", err.Error(), "ask for it in pieces, a day each for instance")
	case errors.Is(err, export.ErrMemory):
		return web.E(409, "not_recorded", err.Error(), "end the range where the recording ends, see streams/{uid}/ranges")
	case errors.Is(err, archive.ErrGone):
		return web.E(410, "deleted", "this footage has been deleted", "")
	case errors.As(err, &p):
		return web.E(503, "proof", p.What, p.Hint)
	}
	return web.E(503, "storage", "the footage cannot be proven at present: "+err.Error(), "see problems; try again")
}
