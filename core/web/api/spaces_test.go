package api

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

// TestSettingsBody: what is sent reaches the settings in ini notation, in its
// order.
func TestSettingsBody(t *testing.T) {
	f := &fake{}
	a := newAPI(f)
	ctx, _ := do(a, "admin", "POST", "/api/v1/pools", `{"name":"p","spaces":["a","b"],"overwrite":false,"days":"4w","lock-max":1000000000000,"stage":null}`)
	want := []Setting{{Key: "spaces", Value: "a, b"}, {Key: "overwrite", Value: "false"}, {Key: "days", Value: "4w"}, {Key: "lock-max", Value: "1000000000000"}, {Key: "stage", Unset: true}}
	if ctx.Response.StatusCode() != 201 || !reflect.DeepEqual(f.set, want) {
		t.Errorf("%d %+v", ctx.Response.StatusCode(), f.set)
	}
	if at := string(ctx.Response.Header.Peek("Location")); at != "/api/v1/pools/p" {
		t.Errorf("Location %q", at)
	}
}

// TestInitializeAsks: the first answer says what would be deleted and how to
// confirm it.
func TestInitializeAsks(t *testing.T) {
	f := &fake{}
	ctx, _ := do(newAPI(f), "admin", "POST", "/api/v1/spaces/main/initialize", "")
	var e struct {
		Error struct {
			Code  string
			Would SpaceContents `json:"would_delete"`
		}
	}
	if err := json.Unmarshal(ctx.Response.Body(), &e); err != nil {
		t.Fatal(err)
	}
	if w := e.Error.Would; e.Error.Code != "confirm" || w.Files != 2 || w.Bytes != 10 || w.Confirm != "yes" || len(w.Streams) != 1 || len(f.audited) != 0 {
		t.Errorf("%s %v", ctx.Response.Body(), f.audited)
	}
}

// TestStoredFilesAreNotForEverybody: an administrator from elsewhere reads no
// files as they are stored.
func TestStoredFilesAreNotForEverybody(t *testing.T) {
	a := newAPI(&fake{})
	for _, uri := range []string{"/api/v1/spaces/main/files", "/api/v1/spaces/main/file?name=gate/x.mp4"} {
		if ctx, _ := do(a, "admin", "GET", uri, ""); ctx.Response.StatusCode() != 403 || !strings.Contains(string(ctx.Response.Body()), "control_socket") {
			t.Errorf("%s: %d %s", uri, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
}
