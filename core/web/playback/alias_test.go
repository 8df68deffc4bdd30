package playback

import (
	"net"
	"testing"

	"github.com/valyala/fasthttp"
)

// TestForeignNames: names of other servers lead to ours, with whatever the query said.
func TestForeignNames(t *testing.T) {
	a := Aliases{newHandler()}
	ask := func(method, uri string) (*fasthttp.RequestCtx, bool) {
		var req fasthttp.Request
		req.Header.SetMethod(method)
		req.SetRequestURI(uri)
		var ctx fasthttp.RequestCtx
		ctx.Init(&req, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, nil)
		ok := a.Handle(&ctx)
		return &ctx, ok
	}
	for uri, want := range map[string]string{
		"/gate/index.m3u8":                           "/live/gate/playlist.m3u8",
		"/gate/index.m3u8?token=a%26b":               "/live/gate/playlist.m3u8?token=a%26b",
		"/gate/index.m3u8&token=x":                   "/live/gate/playlist.m3u8?token=x",
		"/none/preview.mp4":                          "/live/none/preview.mp4", // who knows no stream is told nothing of it here
		"/gate/index-1700000000-60.m3u8":             "/dvr/gate/playlist.m3u8?duration=60&from=1700000000",
		"/gate/archive-1700000000-60.m3u8":           "/dvr/gate/playlist.m3u8?duration=60&from=1700000000",
		"/gate/archive-1700000000-60.mp4?token=x":    "/dvr/gate/record.mp4?duration=60&from=1700000000&token=x",
		"/gate/archive-1700000000-60.mp4?from=1&to=": "/dvr/gate/record.mp4?duration=60&from=1700000000&to=",
		"/gate/archive-1700000000-60.ts":             "/dvr/gate/record.ts?duration=60&from=1700000000",
		"/gate/archive-1700000000-now.m3u8":          "/dvr/gate/playlist.m3u8?from=1700000000",
		"/gate/timeshift_abs-1700000000.m3u8":        "/live/gate/playlist.m3u8?from=1700000000",
		"/gate/timeshift_rel-3600.m3u8":              "/live/gate/playlist.m3u8?from=-3600s",
		"/gate/rewind-7200.m3u8":                     "/live/gate/playlist.m3u8?from=-7200s",
	} {
		ctx, ok := ask("GET", uri)
		if got := string(ctx.Response.Header.Peek("Location")); !ok || ctx.Response.StatusCode() != 302 || got != want {
			t.Errorf("%s: %v %d %q, want %q", uri, ok, ctx.Response.StatusCode(), got, want)
		}
		if ctx, _ := do(a.Handler, "GET", want); ctx.Response.StatusCode() == 400 || ctx.Response.StatusCode() == 501 {
			t.Errorf("%s leads to %s: %s", uri, want, ctx.Response.Body())
		}
	}
	for uri, status := range map[string]int{"/gate/recording_status.json": 200, "/gate/recording_status.json?from=1&to=2": 200, "/gate/recording_status.json?from=x": 400, "/none/recording_status.json": 404, "/shut/recording_status.json": 401} {
		if ctx, ok := ask("GET", uri); !ok || ctx.Response.StatusCode() != status {
			t.Errorf("%s: %v %d %s", uri, ok, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	if ctx, _ := ask("GET", "/gate/recording_status.json"); string(ctx.Response.Body()) != `[{"stream":"gate","ranges":[]}]`+"\n" && string(ctx.Response.Body()) != `[{"stream":"gate","ranges":[]}]` {
		t.Errorf("%q", ctx.Response.Body())
	}
	for _, uri := range []string{"/", "/gate", "/gate/", "/index.m3u8", "/a/gate/index.m3u8", "/gate/index.m3u8x", "/gate/index--60.m3u8", "/gate/archive-1-2.tsx", "/gate/rewind-12345678901.m3u8",
		"/-gate/index.m3u8", "/ga%2Fte/index.m3u8", "/../index.m3u8"} {
		if ctx, ok := ask("GET", uri); ok {
			t.Errorf("%s was answered: %d", uri, ctx.Response.StatusCode())
		}
	}
	if ctx, ok := ask("OPTIONS", "/gate/recording_status.json"); !ok || ctx.Response.StatusCode() != 204 {
		t.Errorf("OPTIONS: %v %d", ok, ctx.Response.StatusCode())
	}
	if _, ok := ask("POST", "/gate/index.m3u8"); ok {
		t.Error("POST was answered")
	}
}
