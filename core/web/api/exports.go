package api

import (
	"errors"
	"fmt"
	"math"
	"os"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/export"
	"media-server/core/export/jobs"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
	"media-server/core/web/playback"
)

// Exports is the part of Backend that makes exports in the background. Errors
// are a *jobs.Failure, jobs.ErrNoJob, or those of the footage.
type Exports interface {
	CreateExport(jobs.Ask) (jobs.Job, error)
	ExportJobs() []jobs.Job // newest first
	ExportJob(id string) (jobs.Job, error)
	RemoveExport(id string) error
	// OpenExport opens the file, or its proof; the caller closes it.
	OpenExport(id string, proof bool) (*os.File, jobs.Job, error)
}

// Export is an export that is made in the background; times in Unix ms.
type Export struct {
	ID         string        `json:"id"`
	UID        string        `json:"uid"`
	State      string        `json:"state"`    // queued, running, done, failed, canceled, expired
	Progress   float64       `json:"progress"` // of all work, 0 to 1
	Bytes      int64         `json:"bytes"`    // written
	Size       int64         `json:"size_bytes"`
	From       int64         `json:"from"`
	To         int64         `json:"to"`
	CoversFrom int64         `json:"covers_from_ms,omitempty"` // first picture
	CoversTo   int64         `json:"covers_to_ms,omitempty"`
	FileName   string        `json:"file_name"` // in the export folder
	URL        string        `json:"url,omitempty"`
	ProofURL   string        `json:"proof_url,omitempty"`
	Proof      bool          `json:"proof"`
	Reason     string        `json:"reason,omitempty"`
	Who        string        `json:"who"`
	Created    int64         `json:"created_ms"`
	Started    int64         `json:"started_ms,omitempty"`
	Finished   int64         `json:"finished_ms,omitempty"`
	Expires    int64         `json:"expires_ms,omitempty"`
	SHA256     string        `json:"sha256,omitempty"`
	Error      *jobs.Failure `json:"error,omitempty"`
}

// The right to export is an operator's, also to look at what others export: it
// tells who wants what, and why.
var exportRoutes = []route{
	{"GET", "exports", Operator, (*API).exports},
	{"POST", "exports", Operator, (*API).createExport},
	{"GET", "exports/{id}", Operator, (*API).export},
	{"DELETE", "exports/{id}", Operator, (*API).removeExport},
	{"GET", "exports/{id}/file", Operator, (*API).exportFile},
	{"GET", "exports/{id}/proof", Operator, (*API).exportProof},
}

// ExportOf is a job as it is told in answer to a request.
func (a *API) ExportOf(ctx *fasthttp.RequestCtx, x jobs.Job) Export {
	ms := func(w media.Wall) int64 {
		if w == 0 {
			return 0
		}
		return w.Milli()
	}
	e := Export{ID: x.ID, UID: x.UID, State: string(x.State), Progress: math.Floor(x.Progress*10000) / 10000, Bytes: x.Bytes, Size: x.Size,
		From: x.Span.From.Milli(), To: x.Span.To.Milli(), CoversFrom: ms(x.Covers.From), CoversTo: ms(x.Covers.To), FileName: x.File, Proof: x.Proof, Reason: x.Reason, Who: x.Who,
		Created: ms(x.Made), Started: ms(x.Started), Finished: ms(x.Ended), Expires: ms(x.ExpireAt), Error: x.Why}
	if x.State == jobs.Done {
		base := a.addresses.Base(ctx) + prefix + "exports/" + x.ID
		e.URL, e.SHA256 = base+"/file", x.SHA256
		if x.Proof {
			e.ProofURL = base + "/proof"
		}
	}
	return e
}

// clockSlack is how far ahead of this server's clock an asker's may be.
const clockSlack = 5 * time.Second

// NewExport queues an export of a stream that exists, for whoever has the right
// to; who it is stands in ask. What the span is wrong in is told as playback does.
func (a *API) NewExport(ctx *fasthttp.RequestCtx, ask jobs.Ask) (jobs.Job, *web.Error) {
	now := media.WallOf(time.Now())
	switch {
	case ask.Span.Empty():
		return jobs.Job{}, web.E(400, "bad_range", "the range ends before it begins", "the end has to lie behind the beginning")
	case ask.Span.From >= now.Add(clockSlack), ask.Span.To > now.Add(clockSlack):
		return jobs.Job{}, web.E(400, "future", "the range reaches into the future: nothing is recorded there yet", "end it at now or before; this server's clock is "+now.Time().Format(time.RFC3339))
	case len(ask.Reason) > mostReason || len(ask.Who) > mostReason:
		return jobs.Job{}, web.E(400, "bad_reason", fmt.Sprintf("a reason has at most %d bytes", mostReason), "")
	}
	x, err := a.b.CreateExport(ask)
	if err != nil {
		e := a.exportFault(ask, err)
		if e.Status == 429 {
			ctx.Response.Header.Set("Retry-After", "30")
		}
		return x, e
	}
	at := func(w media.Wall) string { return w.Time().Format(time.RFC3339Nano) }
	what := fmt.Sprintf("exports %s from %s to %s as %s (%s)", x.UID, at(x.Span.From), at(x.Span.To), x.File, x.ID)
	if x.Reason != "" {
		what += ": " + x.Reason
	}
	a.b.Audit(x.Who, ctx.RemoteIP().String(), what)
	return x, nil
}

// FindExport is an export by its id.
func (a *API) FindExport(id string) (jobs.Job, *web.Error) {
	x, err := a.b.ExportJob(id)
	if err != nil {
		return x, a.exportFault(jobs.Ask{}, err)
	}
	return x, nil
}

var exportStatus = map[string]int{
	jobs.CodeBadName: 400, jobs.CodeNoRoom: 507, jobs.CodeMaxSize: 507, jobs.CodeTooMany: 429,
	jobs.CodeNotDone: 409, jobs.CodeBusy: 409, jobs.CodeExpired: 410, jobs.CodeNoFile: 404,
}

func (a *API) exportFault(ask jobs.Ask, err error) *web.Error {
	f := new(jobs.Failure)
	switch {
	case errors.Is(err, jobs.ErrNoJob):
		return web.E(404, "no_such_export", "there is no such export: it was never there, or it has expired", "the list is at /api/v1/exports")
	case errors.As(err, &f):
		status := exportStatus[f.Code]
		if status == 0 {
			status = 503
		}
		return web.E(status, f.Code, f.What, f.Hint)
	}
	return playback.Fault(a.tl, ask.UID, ask.Span, err)
}

func (a *API) exports(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	states, uid := listArg(ctx, "state"), string(ctx.QueryArgs().Peek("uid"))
	items := []Export{}
	for _, x := range a.b.ExportJobs() {
		if (states == nil || has(states, string(x.State))) && (uid == "" || x.UID == uid) {
			items = append(items, a.ExportOf(ctx, x))
		}
	}
	return answerPage(ctx, items, func(x *Export) string { return x.ID })
}

func has(list []string, s string) bool {
	for _, x := range list {
		if strings.TrimSpace(x) == s {
			return true
		}
	}
	return false
}

func (a *API) createExport(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	const example = `for example {"uid":"gate","from":"2026-03-01T08:00:00Z","to":"2026-03-01T08:10:00Z"}`
	var in struct {
		UID                string
		From, To, Duration moment
		FileName           string `json:"file_name"`
		Proof              bool
		Reason             string
	}
	if e := strict(ctx, &in); e != nil {
		return e
	}
	if in.UID == "" {
		return web.E(400, "no_uid", "uid is missing", example)
	}
	s, e := a.one([]string{in.UID[:min(len(in.UID), 100)]})
	if e != nil {
		return e
	}
	ask := jobs.Ask{UID: s.UID, Name: in.FileName, Proof: in.Proof, Reason: in.Reason, Who: who.Name}
	if in.From == "" || (in.To == "") == (in.Duration == "") {
		return web.E(400, "bad_range", "an export has two ends: from, and to or duration", example)
	}
	now := time.Now()
	for _, t := range []struct {
		key  string
		text moment
		at   *media.Wall
	}{{"from", in.From, &ask.Span.From}, {"to", in.To, &ask.Span.To}} {
		if t.text == "" {
			continue
		}
		w, err := timeline.ParseTime(string(t.text), now, a.zone())
		if err != nil {
			return web.E(400, "bad_time", t.key+": "+err.Error(), example)
		}
		*t.at = w
	}
	if in.Duration != "" {
		d, err := timeline.ParseSpan(string(in.Duration))
		if err != nil || d <= 0 || ask.Span.From.Add(d) < ask.Span.From {
			return web.E(400, "bad_duration", fmt.Sprintf("duration %q is not understood", string(in.Duration)), "allowed: 30s, 5m, 2h, plain seconds")
		}
		ask.Span.To = ask.Span.From.Add(d)
	}
	x, e := a.NewExport(ctx, ask)
	if e != nil {
		return e
	}
	ctx.SetStatusCode(202)
	ctx.Response.Header.Set("Location", prefix+"exports/"+x.ID)
	web.JSON(ctx, a.ExportOf(ctx, x))
	return nil
}

func (a *API) export(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	x, e := a.FindExport(args[0])
	if e == nil {
		web.JSON(ctx, a.ExportOf(ctx, x))
	}
	return e
}

// removeExport cancels an export, or deletes one that is over with its file.
func (a *API) removeExport(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	x, e := a.FindExport(args[0])
	if e != nil {
		return e
	}
	if err := a.b.RemoveExport(x.ID); err != nil {
		return a.exportFault(x.Ask, err)
	}
	did := "cancelled"
	if x.State.Over() {
		did = "deleted"
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("%s export %s of %s (%s)", did, x.File, x.UID, x.ID))
	ctx.SetStatusCode(204)
	return nil
}

func (a *API) exportFile(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	f, x, err := a.b.OpenExport(args[0], false)
	if err != nil {
		return a.exportFault(x.Ask, err)
	}
	body := new(timeline.Body)
	body.Hold(onDisk{f})
	body.AddFile(onDisk{f}, 0, x.Size)
	hd := &ctx.Response.Header
	hd.Set("Content-Disposition", playback.Disposition(x.File, ".mp4"))
	hd.Set("Cache-Control", "private, no-cache")
	hd.Set("Last-Modified", x.Ended.Time().Format("Mon, 02 Jan 2006 15:04:05 GMT"))
	ctx.SetContentType("video/mp4")
	// Audited where bytes are sent, whichever: what a range is called or whether
	// it is obeyed does not hide a download.
	return playback.Send(ctx, body, `"`+x.SHA256+`"`, func() func(int64) {
		address := ctx.RemoteIP().String()
		if a.fetched.begins(download{who.Name, address, x.ID}, time.Now()) {
			a.b.Audit(who.Name, address, fmt.Sprintf("downloads export %s of %s (%s)", x.File, x.UID, x.ID))
		}
		return func(int64) {}
	})
}

func (a *API) exportProof(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	f, x, err := a.b.OpenExport(args[0], true)
	if err != nil {
		return a.exportFault(x.Ask, err)
	}
	fi, err := f.Stat()
	if err != nil {
		f.Close()
		return web.E(503, "export_folder", "the proof cannot be read: "+err.Error(), "see [export] path")
	}
	body := new(timeline.Body)
	body.Hold(onDisk{f})
	body.AddFile(onDisk{f}, 0, fi.Size())
	ctx.SetContentType("text/plain; charset=utf-8")
	ctx.Response.Header.Set("Content-Disposition", playback.Disposition(x.File+export.Suffix, export.Suffix))
	return playback.Send(ctx, body, `"`+x.SHA256+`-proof"`, nil)
}

// onDisk is a file of this machine as a body holds it.
type onDisk struct{ f *os.File }

func (d onDisk) ReadAt(p []byte, off int64) (int, error) { return d.f.ReadAt(p, off) }
func (d onDisk) File() (*os.File, int64, bool)           { return d.f, 1<<63 - 1, true }
func (d onDisk) Release()                                { _ = d.f.Close() }
