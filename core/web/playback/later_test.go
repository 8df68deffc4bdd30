package playback

import (
	"encoding/json"
	"testing"
)

// TestLater walks the names of the published interface that are not built:
// each is refused by name and tells what to use instead. Files are refused
// alike for every stream, so that nothing is told of one.
func TestLater(t *testing.T) {
	h := newHandler()
	for _, c := range []struct{ method, uri string }{
		{"POST", "/live/gate/whep"},
		{"POST", "/live/gate/whep/"},
		{"GET", "/live/gate/whep"},
		{"DELETE", "/live/gate/whep/17"},
		{"PATCH", "/live/gate/whep/17"},
	} {
		ctx, _ := do(h, c.method, c.uri)
		var f failure
		if err := json.Unmarshal(ctx.Response.Body(), &f); err != nil || ctx.Response.StatusCode() != 501 || f.Error.Hint == "" {
			t.Errorf("%s %s: %d %s", c.method, c.uri, ctx.Response.StatusCode(), ctx.Response.Body())
		}
		shape(t, ctx, "not_in_this_version")
	}
	for uri, want := range map[string]string{ // what stands near the names
		"/live/gate/playlist.m3u8?container=mkv":   "bad_container",
		"/live/gate/playlist.m3u8?container=fmp4":  "no_footage",
		"/live/shut/playlist.m3u8?container=ts":    "login",
		"/live/gate/playlist.m3u8&container=ts":    "no_footage",
		"/dvr/gate/scrub.m3u8?from=1&container=ts": "bad_container",
		"/dvr/gate/ranges.json?from=x&container=y": "bad_time",
	} {
		ctx, _ := do(h, "GET", uri)
		shape(t, ctx, want)
	}
}
