package api

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/export/jobs"
)

// TestDownloadsAudited: whoever got bytes of an export stands in the audit, once;
// who got none does not.
func TestDownloadsAudited(t *testing.T) {
	file := filepath.Join(t.TempDir(), "x")
	if err := os.WriteFile(file, []byte("0123456789"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		method  string
		headers []string
		status  int
		audited int
	}{
		"all":                      {"GET", nil, 200, 1},
		"from the beginning":       {"GET", []string{"Range", "bytes=0-"}, 206, 1},
		"all but the first byte":   {"GET", []string{"Range", "bytes=1-"}, 206, 1},
		"the end":                  {"GET", []string{"Range", "bytes=-9"}, 206, 1},
		"no range of bytes":        {"GET", []string{"Range", "x"}, 200, 1},
		"two ranges":               {"GET", []string{"Range", "bytes=1-2,4-5"}, 200, 1},
		"a range of something old": {"GET", []string{"Range", "bytes=5-", "If-Range", `"old"`}, 200, 1},
		"unchanged":                {"GET", []string{"If-None-Match", `"ab"`}, 304, 0},
		"changed":                  {"GET", []string{"If-Match", `"old"`}, 412, 0},
		"outside":                  {"GET", []string{"Range", "bytes=10-"}, 416, 0},
		"how long":                 {"HEAD", nil, 200, 0},
	} {
		f := &fake{exporting: exporting{file: file, jobs: []jobs.Job{{ID: "1", File: "x.mp4", State: jobs.Done, Size: 10, SHA256: "ab"}}}}
		a := newAPI(f)
		for range 2 {
			var req fasthttp.Request
			req.Header.SetMethod(c.method)
			req.SetRequestURI("/api/v1/exports/1/file")
			req.Header.Set("Who", "operator")
			for i := 0; i < len(c.headers); i += 2 {
				req.Header.Set(c.headers[i], c.headers[i+1])
			}
			var ctx fasthttp.RequestCtx
			ctx.Init(&req, nil, nil)
			a.Handle(&ctx)
			if ctx.Response.StatusCode() != c.status || len(f.audited) != c.audited {
				t.Errorf("%s: %d, audited %q", name, ctx.Response.StatusCode(), f.audited)
			}
			_ = ctx.Response.CloseBodyStream()
		}
	}
}

// TestDownloads: what is remembered is bounded, and no download is missed for it.
func TestDownloads(t *testing.T) {
	var d downloads
	now := time.Now()
	x := download{"anna", "192.0.2.1", "1"}
	for at, want := range []bool{true, false, true, false} {
		if got := d.begins(x, now.Add(time.Duration(at)*downloadAgain/2)); got != want {
			t.Errorf("%d: %v", at, got)
		}
	}
	now = now.Add(downloadAgain)
	for i := range 2 * mostDownloads {
		if !d.begins(download{id: fmt.Sprint(i)}, now) {
			t.Fatalf("%d is missed", i)
		}
	}
	if len(d.at) != mostDownloads {
		t.Errorf("%d are remembered", len(d.at))
	}
	if d.begins(x, now.Add(2*downloadAgain)); len(d.at) != 1 {
		t.Errorf("%d old ones are remembered", len(d.at))
	}
}
