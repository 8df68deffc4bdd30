package titop

import (
	"encoding/json"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"

	"media-server/core/export/jobs"
	"media-server/core/media"
	"media-server/core/web"
	"media-server/core/web/api"
)

type exports struct{ asked []jobs.Ask }

func (x *exports) NewExport(_ *fasthttp.RequestCtx, a jobs.Ask) (jobs.Job, *web.Error) {
	if a.Span.Empty() {
		return jobs.Job{}, web.E(400, "bad_range", "reversed", "")
	}
	x.asked = append(x.asked, a)
	return jobs.Job{ID: "00ff", Ask: a, File: "x.mp4", State: jobs.Queued}, nil
}

func (x *exports) FindExport(id string) (jobs.Job, *web.Error) {
	if id != "00ff" {
		return jobs.Job{}, web.E(404, "no_such_export", "no", "")
	}
	return jobs.Job{ID: id, File: "x.mp4", State: jobs.Done, Progress: 1, Size: 9}, nil
}

func (x *exports) ExportOf(_ *fasthttp.RequestCtx, j jobs.Job) api.Export {
	return api.Export{ID: j.ID, FileName: j.File, State: string(j.State), Progress: j.Progress, Size: j.Size, URL: "https://video.example.org/api/v1/exports/" + j.ID + "/file"}
}

func handler(x *exports) *Handler {
	return &Handler{On: true, Exports: x,
		Auth: func(ctx *fasthttp.RequestCtx) (api.Identity, *web.Error) {
			switch string(ctx.QueryArgs().Peek("token")) {
			case "":
				return api.Identity{}, nil
			case "operator":
				return api.Identity{Name: "anna", Role: api.Operator}, nil
			case "viewer":
				return api.Identity{Name: "v", Role: api.Viewer}, nil
			case "first":
				return api.Identity{Name: "admin", Role: api.Administrator, MustChange: true}, nil
			}
			return api.Identity{}, web.E(401, "bad_token", "bad", "")
		},
		Allow: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
		Listed: func(ctx *fasthttp.RequestCtx, nets []netip.Prefix) bool {
			return nets[0].Contains(netip.MustParseAddr(ctx.RemoteIP().String()))
		},
		Application: func(uid string) (string, bool) {
			app, ok := map[string]string{"gate": "live", "old": ""}[uid]
			return app, ok
		}}
}

func ask(h *Handler, from, method, uri, body string) *fasthttp.RequestCtx {
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(uri)
	req.SetBodyString(body)
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, &net.TCPAddr{IP: net.ParseIP(from), Port: 1}, nil)
	if !h.Handle(&ctx) {
		ctx.SetStatusCode(999)
	}
	return &ctx
}

const far = "203.0.113.7"

func TestConvert(t *testing.T) {
	const from, to = 1772352000000, 1772352600000
	body := func(format string, args ...any) string { return fmt.Sprintf(format, args...) }
	whole := body(`{"app_name":"live","stream_name":"gate","start_time":%d,"end_time":%d,"file_name":"a.mp4"}`, from, to)
	for _, c := range []struct {
		name, from, method, uri, body string
		status                        int
		to                            int64 // asked for; 0 = nothing was
	}{
		{"a token", far, "POST", root + "?token=operator", whole, 200, to},
		{"a slash at the end", far, "POST", root + "/?token=operator", whole, 200, to},
		{"a listed address", "192.0.2.9", "POST", root, whole, 200, to},
		{"a listed address, a bad token", "192.0.2.9", "POST", root + "?token=x", whole, 200, to},
		{"nobody", far, "POST", root, whole, 401, 0},
		{"a bad token", far, "POST", root + "?token=x", whole, 401, 0},
		{"a viewer", far, "POST", root + "?token=viewer", whole, 403, 0},
		{"a first password", far, "POST", root + "?token=first", whole, 403, 0},
		{"GET", far, "GET", root + "?token=operator", "", 405, 0},
		{"POST of one", far, "POST", root + "/00ff?token=operator", "", 405, 0},
		{"another address", far, "POST", root + "x?token=operator", whole, 999, 0},

		{"a duration", far, "POST", root + "?token=operator", body(`{"stream_name":"gate","start_time":%d,"duration":5000}`, from), 200, from + 5000},
		{"end_time wins", far, "POST", root + "?token=operator", body(`{"app_name":"live","stream_name":"gate","start_time":%d,"duration":5000,"end_time":%d}`, from, to), 200, to},
		{"digits in quotes", far, "POST", root + "?token=operator", body(`{"app_name":"live","stream_name":"gate","start_time":"%d","end_time":"%d"}`, from, to), 200, to},
		{"no longer configured", far, "POST", root + "?token=operator", body(`{"app_name":"any","stream_name":"old","start_time":%d,"end_time":%d}`, from, to), 200, to},
		{"another application", far, "POST", root + "?token=operator", strings.Replace(whole, "live", "shop", 1), 404, 0},
		{"no such stream", far, "POST", root + "?token=operator", strings.Replace(whole, "gate", "../x", 1), 404, 0},
		{"no stream", far, "POST", root + "?token=operator", body(`{"app_name":"live","start_time":%d,"end_time":%d}`, from, to), 400, 0},
		{"rubbish", far, "POST", root + "?token=operator", `{`, 400, 0},
		{"an unknown field", far, "POST", root + "?token=operator", strings.Replace(whole, "file_name", "filename", 1), 400, 0},
		{"no times", far, "POST", root + "?token=operator", `{"stream_name":"gate"}`, 400, 0},
		{"no end", far, "POST", root + "?token=operator", body(`{"stream_name":"gate","start_time":%d}`, from), 400, 0},
		{"seconds", far, "POST", root + "?token=operator", `{"stream_name":"gate","start_time":1772352000,"end_time":1772352600}`, 400, 0},
		{"reversed", far, "POST", root + "?token=operator", body(`{"stream_name":"gate","start_time":%d,"end_time":%d}`, to, from), 400, 0},
		{"an absurd end", far, "POST", root + "?token=operator", body(`{"stream_name":"gate","start_time":%d,"end_time":9223372036854775807}`, from), 400, 0},
		{"an absurd duration", far, "POST", root + "?token=operator", body(`{"stream_name":"gate","start_time":%d,"duration":9223372036854775807}`, from), 400, 0},
		{"a negative duration", far, "POST", root + "?token=operator", body(`{"stream_name":"gate","start_time":%d,"duration":-1}`, from), 400, 0},
		{"a fraction", far, "POST", root + "?token=operator", `{"stream_name":"gate","start_time":1.5,"end_time":2}`, 400, 0},
	} {
		x := &exports{}
		ctx := ask(handler(x), c.from, c.method, c.uri, c.body)
		if ctx.Response.StatusCode() != c.status || (len(x.asked) > 0) != (c.to != 0) {
			t.Errorf("%s: %d %s, asked %+v", c.name, ctx.Response.StatusCode(), ctx.Response.Body(), x.asked)
			continue
		}
		if c.to != 0 {
			if got := string(ctx.Response.Body()); got != `{"code":200,"data":{"id":"00ff","file_name":"x.mp4"}}`+"\n" {
				t.Errorf("%s: %s", c.name, got)
			}
			if a := x.asked[0]; a.Span != (media.Span{From: media.WallMilli(from), To: media.WallMilli(c.to)}) || a.Who == "" {
				t.Errorf("%s: %+v", c.name, a)
			}
		}
	}
}

func TestStatus(t *testing.T) {
	h := handler(&exports{})
	ctx := ask(h, far, "GET", root+"/00ff?token=operator", "")
	var a answer
	if err := json.Unmarshal(ctx.Response.Body(), &a); err != nil || a.Code != 200 || a.Data.State != "done" || *a.Data.Progress != 1 || !strings.HasSuffix(a.Data.URL, "/api/v1/exports/00ff/file") {
		t.Errorf("%v %s", err, ctx.Response.Body())
	}
	for uri, status := range map[string]int{root + "/1?token=operator": 404, root + "/00ff": 401, root + "/00ff?token=viewer": 403} {
		if ctx := ask(h, far, "GET", uri, ""); ctx.Response.StatusCode() != status {
			t.Errorf("%s: %d", uri, ctx.Response.StatusCode())
		}
	}
	h.On = false
	if ctx := ask(h, "192.0.2.9", "POST", root, "{}"); ctx.Response.StatusCode() != 404 || !strings.Contains(string(ctx.Response.Body()), "titop = on") {
		t.Errorf("off: %s", ctx.Response.Body())
	}
}

// FuzzRead: whatever is sent, what is understood is a span of this era.
func FuzzRead(f *testing.F) {
	f.Add([]byte(`{"app_name":"live","stream_name":"gate","start_time":1772352000000,"end_time":"1772352600000"}`))
	f.Add([]byte(`{"start_time":1772352000000,"duration":9223372036854775807}`))
	f.Add([]byte(`{"start_time":null}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		in, e := read(b)
		if e != nil {
			return
		}
		s, e := in.span()
		if e == nil && (s.From < media.WallMilli(leastMillis) || s.To < media.WallMilli(leastMillis) || s.From.Time().Year() > 2262) {
			t.Fatalf("%s: %+v", b, s)
		}
	})
}
