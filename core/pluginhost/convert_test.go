package pluginhost

import (
	"testing"

	"media-server/plugins/sdk/pb"
)

// TestProblemNamesItsKey: a driver says "unknown key"; the operator must read
// which.
func TestProblemNamesItsKey(t *testing.T) {
	for _, c := range []struct{ key, what, want string }{
		{"", "127.0.0.1:554 refuses the connection", "127.0.0.1:554 refuses the connection"},
		{"codek", "unknown key", "driver-codek: unknown key"},
		{"url", "not a sim:// URL", "stream-url: not a sim:// URL"},
	} {
		got := closedOf(&pb.Closed{Cause: pb.Cause_SETTINGS, Problem: &pb.Problem{Key: c.key, What: c.what, Hint: "h"}})
		if got.What != c.want || got.Hint != "h" {
			t.Errorf("%q, %q: %q", c.key, c.what, got.What)
		}
	}
}
