package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/archive"
	"media-server/core/export/jobs"
	"media-server/core/media"
	"media-server/core/timeline"
)

// exporting is what fake has of exports.
type exporting struct {
	jobs []jobs.Job
	fail error
	file string // of those that are done
}

func (f *fake) CreateExport(a jobs.Ask) (jobs.Job, error) {
	if f.exporting.fail != nil {
		return jobs.Job{}, f.exporting.fail
	}
	name, err := jobs.CleanName("x" + a.Name)
	if err != nil {
		return jobs.Job{}, err
	}
	x := jobs.Job{ID: fmt.Sprintf("%016x", len(f.exporting.jobs)), Ask: a, File: name, State: jobs.Queued, Made: media.WallMilli(1000), Size: 7}
	f.exporting.jobs = append(f.exporting.jobs, x)
	return x, nil
}
func (f *fake) ExportJobs() []jobs.Job { return f.exporting.jobs }
func (f *fake) ExportJob(id string) (jobs.Job, error) {
	for _, x := range f.exporting.jobs {
		if x.ID == id {
			return x, nil
		}
	}
	return jobs.Job{}, jobs.ErrNoJob
}
func (f *fake) RemoveExport(id string) error {
	x, err := f.ExportJob(id)
	if err == nil && x.State == jobs.Failed {
		return errors.New("the disk is away")
	}
	return err
}
func (f *fake) OpenExport(id string, _ bool) (*os.File, jobs.Job, error) {
	x, err := f.ExportJob(id)
	switch {
	case err != nil:
		return nil, x, err
	case x.State != jobs.Done:
		return nil, x, &jobs.Failure{Code: jobs.CodeNotDone, What: "not done"}
	}
	file, err := os.Open(f.exporting.file)
	return file, x, err
}

func TestExportRequests(t *testing.T) {
	now := time.Now()
	iso := func(d time.Duration) string { return now.Add(d).UTC().Format(time.RFC3339) }
	for _, c := range []struct {
		name, who, body string
		status          int
		code            string
	}{
		{"nobody", "", `{}`, 401, "login"},
		{"a viewer", "viewer", `{}`, 403, "role"},
		{"no body", "operator", ``, 400, "bad_body"},
		{"rubbish", "operator", `[`, 400, "bad_body"},
		{"an unknown field", "operator", `{"uid":"a","form":1}`, 400, "bad_body"},
		{"no uid", "operator", `{"from":1,"to":2}`, 400, "no_uid"},
		{"no such stream", "operator", `{"uid":"zz","from":1,"to":2}`, 404, "no_such_stream"},
		{"no end", "operator", `{"uid":"a","from":1}`, 400, "bad_range"},
		{"two ends", "operator", `{"uid":"a","from":1,"to":2,"duration":"1s"}`, 400, "bad_range"},
		{"no begin", "operator", `{"uid":"a","to":2}`, 400, "bad_range"},
		{"rubbish time", "operator", `{"uid":"a","from":"dawn","to":2}`, 400, "bad_time"},
		{"reversed", "operator", `{"uid":"a","from":200,"to":100}`, 400, "bad_range"},
		{"no length", "operator", `{"uid":"a","from":100,"to":100}`, 400, "bad_range"},
		{"negative duration", "operator", `{"uid":"a","from":100,"duration":"-5s"}`, 400, "bad_duration"},
		{"absurd duration", "operator", `{"uid":"a","from":100,"duration":"1e300"}`, 400, "bad_duration"},
		{"from in the future", "operator", `{"uid":"a","from":"` + iso(time.Hour) + `","duration":"1m"}`, 400, "future"},
		{"to in the future", "operator", `{"uid":"a","from":"-1m","to":"` + iso(time.Minute) + `"}`, 400, "future"},
		{"the year 9999", "operator", `{"uid":"a","from":"9999-01-01T00:00:00Z","duration":"1m"}`, 400, "bad_time"},
		{"a long reason", "operator", `{"uid":"a","from":"-2m","to":"-1m","reason":"` + strings.Repeat("x", mostReason+1) + `"}`, 400, "bad_reason"},
		{"a path", "operator", `{"uid":"a","from":"-2m","to":"-1m","file_name":"/../../etc/passwd"}`, 400, "bad_file_name"},

		{"relative", "operator", `{"uid":"a","from":"-2m","to":"now"}`, 202, ""},
		{"ISO", "operator", `{"uid":"a","from":"2026-03-01T08:00:00Z","to":"2026-03-01 08:10:00 02:00","file_name":".mp4"}`, 400, "bad_range"}, // 06:10Z
		{"local", "operator", `{"uid":"a","from":"2026-03-01T08:00:00","duration":"10m"}`, 202, ""},
		{"Unix", "operator", `{"uid":"a","from":1772352000,"to":1772352600000,"proof":true,"reason":"case 12"}`, 202, ""},
		{"Unix, fraction", "operator", `{"uid":"a","from":1772352000.5,"duration":60}`, 202, ""},
	} {
		f := &fake{}
		ctx, _ := do(newAPI(f), c.who, "POST", "/api/v1/exports", c.body)
		if got := ctx.Response.StatusCode(); got != c.status {
			t.Errorf("%s: %d %s", c.name, got, ctx.Response.Body())
			continue
		}
		if c.code != "" {
			shape(t, ctx, c.code)
			if len(f.exporting.jobs)+len(f.audited) != 0 {
				t.Errorf("%s: %+v %v", c.name, f.exporting.jobs, f.audited)
			}
			continue
		}
		var x Export
		if err := json.Unmarshal(ctx.Response.Body(), &x); err != nil || x.ID == "" || x.State != "queued" || x.URL != "" || x.Who != "operator" || x.UID != "a" || x.To <= x.From ||
			string(ctx.Response.Header.Peek("Location")) != "/api/v1/exports/"+x.ID || len(f.audited) != 1 || !strings.HasPrefix(f.audited[0], "operator: exports a from ") {
			t.Errorf("%s: %v %s %q", c.name, err, ctx.Response.Body(), f.audited)
		}
	}
}

// TestExportFaults: what cannot be exported has the status that says whose
// matter it is.
func TestExportFaults(t *testing.T) {
	for _, c := range []struct {
		err    error
		status int
		code   string
	}{
		{&jobs.Failure{Code: jobs.CodeNoRoom, What: "w", Hint: "h"}, 507, "no_room"},
		{&jobs.Failure{Code: jobs.CodeMaxSize, What: "w"}, 507, "max_size"},
		{&jobs.Failure{Code: jobs.CodeTooMany, What: "w"}, 429, "too_many_exports"},
		{&jobs.Failure{Code: jobs.CodeFolder, What: "w"}, 503, "export_folder"},
		{timeline.ErrNoFootage, 404, "no_footage"},
		{archive.ErrGone, 410, "deleted"},
		{&archive.KeyError{Err: errors.New("x")}, 503, "no_key"},
		{errors.New("EIO"), 503, "storage"},
	} {
		ctx, _ := do(newAPI(&fake{exporting: exporting{fail: c.err}}), "operator", "POST", "/api/v1/exports", `{"uid":"a","from":"-2m","to":"-1m"}`)
		if ctx.Response.StatusCode() != c.status {
			t.Errorf("%v: %d %s", c.err, ctx.Response.StatusCode(), ctx.Response.Body())
		}
		shape(t, ctx, c.code)
	}
}

// TestExports: what is listed, told, downloaded, deleted.
func TestExports(t *testing.T) {
	file := filepath.Join(t.TempDir(), "big")
	out, err := os.Create(file)
	if err != nil {
		t.Fatal(err)
	}
	const size = 5 << 30 // above 4 GiB; the file takes a block of the disk
	if _, err := out.WriteAt([]byte("the end"), size-7); err != nil {
		t.Skipf("no sparse file of 5 GiB can be made: %v", err)
	}
	out.Close()
	f := &fake{exporting: exporting{file: file, jobs: []jobs.Job{
		{ID: "1", Ask: jobs.Ask{UID: "a", Who: "anna", Proof: true}, File: "x.mp4", State: jobs.Done, Size: size, SHA256: "ab", Progress: 1},
		{ID: "2", Ask: jobs.Ask{UID: "b"}, State: jobs.Running, Size: 9, Progress: 0.123456, Bytes: 1},
		{ID: "3", Ask: jobs.Ask{UID: "b"}, State: jobs.Failed, Why: &jobs.Failure{Code: "c", What: "w", Hint: "h"}},
	}}}
	a := newAPI(f)
	ask := func(who, method, path string, headers ...string) *fasthttp.RequestCtx {
		var req fasthttp.Request
		req.Header.SetMethod(method)
		req.SetRequestURI("/api/v1/" + path)
		req.Header.SetHost("server.example")
		req.Header.Set("Who", who)
		for i := 0; i < len(headers); i += 2 {
			req.Header.Set(headers[i], headers[i+1])
		}
		var ctx fasthttp.RequestCtx
		ctx.Init(&req, nil, nil)
		a.Handle(&ctx)
		return &ctx
	}
	for path, want := range map[string]string{"exports": "1 2 3", "exports?state=done,failed": "1 3", "exports?uid=b": "2 3", "exports?limit=1": "1", "exports?state=expired": ""} {
		var l struct {
			Items []Export
			Next  *string
		}
		ctx := ask("operator", "GET", path)
		err := json.Unmarshal(ctx.Response.Body(), &l)
		var got []string
		for _, x := range l.Items {
			got = append(got, x.ID)
		}
		if err != nil || strings.Join(got, " ") != want || l.Items == nil || (l.Next != nil) != strings.Contains(path, "limit") {
			t.Errorf("%s: %v %s", path, err, ctx.Response.Body())
		}
	}
	var x Export
	if err := json.Unmarshal(ask("operator", "GET", "exports/1").Response.Body(), &x); err != nil || x.URL != "https://video.example.org/api/v1/exports/1/file" || x.ProofURL == "" || x.SHA256 != "ab" {
		t.Errorf("%v %+v", err, x)
	}
	x = Export{}
	if err := json.Unmarshal(ask("operator", "GET", "exports/2").Response.Body(), &x); err != nil || x.URL != "" || x.Progress != 0.1234 || x.State != "running" {
		t.Errorf("%v %+v", err, x)
	}
	x = Export{}
	if err := json.Unmarshal(ask("operator", "GET", "exports/3").Response.Body(), &x); err != nil || x.Error == nil || x.Error.Hint != "h" {
		t.Errorf("%v %+v", err, x)
	}
	for _, c := range []struct {
		who, method, path string
		status            int
	}{
		{"viewer", "GET", "exports", 403}, {"viewer", "GET", "exports/1", 403}, {"viewer", "GET", "exports/1/file", 403}, {"", "GET", "exports/1/file", 401}, {"viewer", "DELETE", "exports/1", 403},
		{"operator", "GET", "exports/9", 404}, {"operator", "GET", "exports/2/file", 409}, {"operator", "GET", "exports/9/file", 404}, {"operator", "DELETE", "exports/9", 404},
		{"operator", "DELETE", "exports/1", 204}, {"operator", "DELETE", "exports/3", 503}, {"operator", "PUT", "exports/1", 405}, {"operator", "POST", "exports/1/file", 405},
	} {
		if ctx := ask(c.who, c.method, c.path); ctx.Response.StatusCode() != c.status {
			t.Errorf("%s %s by %s: %d %s", c.method, c.path, c.who, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	f.audited = nil
	head := ask("operator", "HEAD", "exports/1/file")
	if h := &head.Response.Header; head.Response.StatusCode() != 200 || h.ContentLength() != size || string(h.Peek("ETag")) != `"ab"` || string(h.Peek("Accept-Ranges")) != "bytes" ||
		string(h.Peek("Content-Disposition")) != "attachment; filename*=UTF-8''x.mp4" || string(h.ContentType()) != "video/mp4" || len(f.audited) != 0 {
		t.Errorf("%s %q", h, f.audited)
	}
	for _, c := range []struct {
		rg, ifRange string
		status      int
		answer      string
		length      int
	}{
		{"bytes=-7", "", 206, "the end", 7},
		{fmt.Sprintf("bytes=%d-", int64(size-4)), `"ab"`, 206, " end", 4},
		{fmt.Sprintf("bytes=%d-%d", int64(size-7), int64(size-5)), "", 206, "the", 3},
		{fmt.Sprintf("bytes=%d-", int64(size)), "", 416, "", -1},
		{"bytes=0-1", `"old"`, 200, "", size},
	} {
		ctx := ask("operator", "GET", "exports/1/file", "Range", c.rg, "If-Range", c.ifRange)
		if ctx.Response.StatusCode() != c.status || c.length >= 0 && ctx.Response.Header.ContentLength() != c.length {
			t.Errorf("%s: %d %d", c.rg, ctx.Response.StatusCode(), ctx.Response.Header.ContentLength())
		}
		if c.answer != "" && string(ctx.Response.Body()) != c.answer {
			t.Errorf("%s: %q", c.rg, ctx.Response.Body())
		}
		_ = ctx.Response.CloseBodyStream()
	}
	if ctx := ask("operator", "GET", "exports/1/file", "If-None-Match", `"ab"`); ctx.Response.StatusCode() != 304 {
		t.Errorf("unchanged: %d", ctx.Response.StatusCode())
	}
}
