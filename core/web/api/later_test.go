package api

import (
	"encoding/json"
	"testing"
)

// TestLater walks the routes of the published interface that are not built:
// each is refused by name, tells what to do instead, and does so to anybody.
func TestLater(t *testing.T) {
	for _, c := range []struct{ method, path string }{
		{"GET", "server/resources"},
		{"GET", "cluster"},
		{"GET", "cluster/nodes"},
		{"POST", "streams"},
		{"PUT", "streams/a"},
		{"PATCH", "streams/a"},
		{"DELETE", "streams/a"},
		{"DELETE", "streams/a?footage=delete"},
		{"POST", "streams/a/restart"},
		{"POST", "streams/a/pause"},
		{"POST", "streams/a/resume"},
		{"POST", "streams/a/rename"},
		{"POST", "streams/a/move"},
		{"GET", "drivers"},
		{"POST", "drivers/rtsp/discover"},
		{"POST", "drivers/rtsp/probe"},
		{"GET", "plugins"},
		{"GET", "packs"},
		{"POST", "backfill"},
		{"GET", "log"},
		{"DELETE", "log"},
		{"GET", "log.csv"},
		{"GET", "hooks"},
		{"POST", "hooks"},
		{"DELETE", "hooks/1"},
		{"GET", "users"},
		{"POST", "users"},
		{"DELETE", "users/anna"},
		{"GET", "audit"},
		{"GET", "lua"},
		{"GET", "x/lights"},
		{"GET", "openapi.json"},
	} {
		for _, who := range []string{"admin", ""} {
			ctx, _ := do(newAPI(&fake{}), who, c.method, "/api/v1/"+c.path, "{}")
			var e struct{ Error struct{ Hint string } }
			if err := json.Unmarshal(ctx.Response.Body(), &e); err != nil || ctx.Response.StatusCode() != 501 || e.Error.Hint == "" {
				t.Errorf("%s %s: %d %s", c.method, c.path, ctx.Response.StatusCode(), ctx.Response.Body())
			}
			shape(t, ctx, "not_in_this_version")
		}
	}
}

// TestLaterHidesNothing: no route that is built is refused.
func TestLaterHidesNothing(t *testing.T) {
	for _, r := range routes {
		if e := later.Refuse(r.method, r.pattern); e != nil {
			t.Errorf("%s %s: %s", r.method, r.pattern, e.Message)
		}
	}
}
