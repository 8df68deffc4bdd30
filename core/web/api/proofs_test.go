package api

import (
	"errors"
	"io"
	"strings"
	"testing"

	"media-server/core/archive"
	"media-server/core/export"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/timeline"
)

func (f *fake) Proof(uid string, p NewProof) (Proof, error) {
	f.proof = p
	return Proof{ETag: `"e"`, Body: io.NopCloser(strings.NewReader("media-server proof 1 of " + uid))}, f.fail
}

// TestProof: who may ask for the proof of an export, with which words, and what
// stands in the audit.
func TestProof(t *testing.T) {
	const good = "streams/a/proof?from=2026-03-01T08:00:00Z&to=2026-03-01T08:10:00Z&reason=theft"
	for _, c := range []struct {
		name, who, method, path string
		fail                    error
		status                  int
		code                    string
	}{
		{"nobody", "", "GET", good, nil, 401, "login"},
		{"a viewer", "viewer", "GET", good, nil, 403, "role"},
		{"an operator", "operator", "GET", good, nil, 200, ""},
		{"a duration", "operator", "GET", "streams/a/proof?from=2026-03-01T08:00:00Z&duration=10m", nil, 200, ""},
		{"HEAD", "operator", "HEAD", good, nil, 405, ""},
		{"no such stream", "operator", "GET", "streams/zz/proof?from=1&to=2", nil, 404, "no_such_stream"},
		{"no end", "operator", "GET", "streams/a/proof?from=2026-03-01T08:00:00Z", nil, 400, "bad_range"},
		{"two ends", "operator", "GET", good + "&duration=5m", nil, 400, "bad_range"},
		{"no beginning", "operator", "GET", "streams/a/proof?to=2026-03-01T08:00:00Z", nil, 400, "bad_range"},
		{"backwards", "operator", "GET", "streams/a/proof?from=200&to=100", nil, 400, "bad_range"},
		{"a bad time", "operator", "GET", "streams/a/proof?from=dawn&to=100", nil, 400, "bad_time"},
		{"a bad duration", "operator", "GET", "streams/a/proof?from=100&duration=soon", nil, 400, "bad_duration"},
		{"a long reason", "operator", "GET", good + strings.Repeat("x", 1000), nil, 400, "bad_reason"},
		{"nothing there", "operator", "GET", good, timeline.ErrNoFootage, 404, "no_footage"},
		{"another export by now", "operator", "GET", good, ErrChanged, 412, "changed"},
		{"too many", "operator", "GET", good, ErrBusy, 429, "busy"},
		{"too long", "operator", "GET", good, mp4.ErrTooLong, 400, "range_too_long"},
		{"not recorded", "operator", "GET", good, export.ErrMemory, 409, "not_recorded"},
		{"deleted", "operator", "GET", good, archive.ErrGone, 410, "deleted"},
		{"a key that does not open", "operator", "GET", good, fault.New("keys", "the signing key cannot be used", "set the passphrase"), 503, "proof"},
		{"storage away", "operator", "GET", good, errors.New("the disk is away"), 503, "storage"},
	} {
		t.Run(c.name, func(t *testing.T) {
			f := &fake{fail: c.fail}
			ctx, ok := do(newAPI(f), c.who, c.method, "/api/v1/"+c.path, "")
			if !ok || ctx.Response.StatusCode() != c.status {
				t.Fatalf("status %d: %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
			if c.status != 200 {
				if c.code != "" {
					shape(t, ctx, c.code)
				}
				if len(f.audited) != 0 {
					t.Errorf("audited %q", f.audited)
				}
				return
			}
			ten := int64(10 * 60e9)
			if string(ctx.Response.Body()) != "media-server proof 1 of a" || string(ctx.Response.Header.Peek("ETag")) != `"e"` ||
				f.proof.Who != "operator" || int64(f.proof.Span.To.Sub(f.proof.Span.From)) != ten || f.proof.Span.From != media.WallMilli(1772352000000) {
				t.Errorf("%s %+v", ctx.Response.Body(), f.proof)
			}
			if len(f.audited) != 1 || !strings.HasPrefix(f.audited[0], "operator: exported a with proof from 2026-03-01T08:00:00Z to 2026-03-01T08:10:00Z: "+f.proof.Reason) {
				t.Errorf("audited %q", f.audited)
			}
		})
	}
}
