package titop

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/export/jobs"
	"media-server/core/media"
	"media-server/core/web"
	"media-server/core/web/api"
)

// Exports makes exports; api.API does.
type Exports interface {
	NewExport(ctx *fasthttp.RequestCtx, ask jobs.Ask) (jobs.Job, *web.Error)
	FindExport(id string) (jobs.Job, *web.Error)
	// ExportOf is a job as it is told in answer to a request.
	ExportOf(ctx *fasthttp.RequestCtx, x jobs.Job) api.Export
}

// Handler answers /v1/nvr/convert2mp4. Safe for concurrent use.
type Handler struct {
	On      bool // false: nothing is answered but that
	Exports Exports
	Auth    api.Auth
	Allow   []netip.Prefix // who needs no token
	// Listed tells whether the request comes from one of the networks.
	Listed func(ctx *fasthttp.RequestCtx, nets []netip.Prefix) bool
	// Application is that of a stream; known = the stream is there. One that is no
	// longer configured has none.
	Application func(uid string) (application string, known bool)
}

const root = "/v1/nvr/convert2mp4"

// Handle implements web.Room.
func (h *Handler) Handle(ctx *fasthttp.RequestCtx) bool {
	rest, ok := strings.CutPrefix(strings.TrimSuffix(string(ctx.Path()), "/"), root)
	if !ok || rest != "" && rest[0] != '/' {
		return false
	}
	ctx.Response.Header.Set("Cache-Control", "no-store")
	if e := h.answer(ctx, strings.TrimPrefix(rest, "/")); e != nil {
		if e.Status == 401 {
			ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="media-server"`)
		}
		web.Fail(ctx, e)
	}
	return true
}

func (h *Handler) answer(ctx *fasthttp.RequestCtx, id string) *web.Error {
	if !h.On {
		return web.E(404, "switched_off", root+" is switched off here", "[compat] titop = on serves it; POST /api/v1/exports does the same")
	}
	method := "POST"
	if id != "" {
		method = "GET"
	}
	if got := string(ctx.Method()); got != method && !(got == "HEAD" && method == "GET") {
		ctx.Response.Header.Set("Allow", method)
		return web.E(405, "method", "this address does not take "+got, "POST "+root+" begins an export, GET "+root+"/{id} tells of it")
	}
	who, e := h.admit(ctx)
	if e != nil {
		return e
	}
	var x jobs.Job
	if id == "" {
		x, e = h.convert(ctx, who)
	} else {
		x, e = h.Exports.FindExport(id)
	}
	if e != nil {
		return e
	}
	web.JSON(ctx, answer{200, h.dataOf(ctx, x, id != "")})
	return nil
}

// admit finds out who asks, and whether he may.
func (h *Handler) admit(ctx *fasthttp.RequestCtx) (string, *web.Error) {
	if h.Listed(ctx, h.Allow) {
		return ctx.RemoteIP().String() + ", titop-allow", nil
	}
	who, e := h.Auth(ctx)
	switch {
	case e != nil:
		return "", e
	case who.Role == api.Anybody:
		return "", web.E(401, "login", root+" needs an API token, or an address in [compat] titop-allow", "make a token with: media-server token api --role operator; give it as Authorization: Bearer or ?token=")
	case who.MustChange:
		return "", web.E(403, "change_password", "the first password has to be changed before anything else", "log in at /cpanel/")
	case who.Role < api.Operator:
		return "", web.E(403, "role", "your role may not export", "it takes the role operator: media-server token api --role operator")
	}
	return who.Name, nil
}

type answer struct {
	Code int  `json:"code"`
	Data data `json:"data"`
}

type data struct {
	ID       string        `json:"id"`
	FileName string        `json:"file_name"`
	State    string        `json:"state,omitempty"`
	Progress *float64      `json:"progress,omitempty"`
	Size     int64         `json:"size_bytes,omitempty"`
	URL      string        `json:"url,omitempty"`
	Error    *jobs.Failure `json:"error,omitempty"`
}

// dataOf is what is told of an export; all of it where it was asked for.
func (h *Handler) dataOf(ctx *fasthttp.RequestCtx, x jobs.Job, all bool) data {
	d := data{ID: x.ID, FileName: x.File}
	if all {
		e := h.Exports.ExportOf(ctx, x)
		d.State, d.Progress, d.Size, d.URL, d.Error = e.State, &e.Progress, e.Size, e.URL, e.Error
	}
	return d
}

// millis is a number of milliseconds, as a number or its digits.
type millis struct {
	n   int64
	set bool
}

// UnmarshalJSON implements json.Unmarshaler.
func (m *millis) UnmarshalJSON(b []byte) error {
	text := strings.Trim(string(b), `"`)
	if text == "null" || text == "" {
		return nil
	}
	n, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return fmt.Errorf("%s is no whole number of milliseconds", b)
	}
	m.n, m.set = n, true
	return nil
}

// request is the body of convert2mp4.
type request struct {
	AppName    string `json:"app_name"`
	StreamName string `json:"stream_name"`
	StartTime  millis `json:"start_time"`
	EndTime    millis `json:"end_time"`
	Duration   millis `json:"duration"`
	FileName   string `json:"file_name"`
}

const example = `for example {"app_name":"live","stream_name":"gate","start_time":1772352000000,"end_time":1772352600000,"file_name":"gate.mp4"}`

// read reads a body that may have no other fields.
func read(body []byte) (in request, e *web.Error) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	if err := d.Decode(&in); err != nil {
		return in, web.E(400, "bad_body", "the body must be a JSON object: "+err.Error(), example)
	}
	return in, nil
}

// leastMillis is where Unix milliseconds begin: below it lie Unix seconds, as
// everywhere here.
const leastMillis = 1e11

// mostMillis is the last that fits into nanoseconds.
const mostMillis = math.MaxInt64 / int64(time.Millisecond)

// span is the range that a request asks for.
func (in *request) span() (s media.Span, e *web.Error) {
	bad := func(code, format string, args ...any) (media.Span, *web.Error) {
		return s, web.E(400, code, fmt.Sprintf(format, args...), example)
	}
	end := in.EndTime.n
	switch {
	case !in.StartTime.set:
		return bad("bad_range", "start_time is missing")
	case !in.EndTime.set && !in.Duration.set:
		return bad("bad_range", "end_time or duration is missing")
	case in.StartTime.n < leastMillis || in.StartTime.n > mostMillis:
		return bad("bad_time", "start_time %d is no time in Unix milliseconds", in.StartTime.n)
	case !in.EndTime.set && (in.Duration.n <= 0 || in.Duration.n > mostMillis-in.StartTime.n):
		return bad("bad_duration", "duration %d is no length in milliseconds", in.Duration.n)
	case !in.EndTime.set:
		end = in.StartTime.n + in.Duration.n
	case end < leastMillis || end > mostMillis:
		return bad("bad_time", "end_time %d is no time in Unix milliseconds", end)
	}
	return media.Span{From: media.WallMilli(in.StartTime.n), To: media.WallMilli(end)}, nil
}

func (h *Handler) convert(ctx *fasthttp.RequestCtx, who string) (jobs.Job, *web.Error) {
	in, e := read(ctx.PostBody())
	if e != nil {
		return jobs.Job{}, e
	}
	if in.StreamName == "" {
		return jobs.Job{}, web.E(400, "no_stream", "stream_name is missing", example)
	}
	app, known := h.Application(in.StreamName)
	if !known || app != "" && in.AppName != "" && app != in.AppName {
		name := in.StreamName
		if in.AppName != "" {
			name = in.AppName + "/" + name
		}
		return jobs.Job{}, web.E(404, "no_such_stream", fmt.Sprintf("there is no stream %.100q", name), "app_name is the stream's application, stream_name its uid; the list of streams is at /api/v1/streams")
	}
	span, e := in.span()
	if e != nil {
		return jobs.Job{}, e
	}
	return h.Exports.NewExport(ctx, jobs.Ask{UID: in.StreamName, Span: span, Name: in.FileName, Who: who})
}
