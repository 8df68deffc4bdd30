package playback

import "testing"

// TestTags: If-None-Match compares weakly, If-Match strongly (RFC 9110, 13.1).
func TestTags(t *testing.T) {
	for _, c := range []struct {
		list         string
		strong, weak bool
	}{{`"a"`, true, true}, {`W/"a"`, false, true}, {`"b", "a"`, true, true}, {`"b",W/"a"`, false, true}, {"*", true, true}, {`"b"`, false, false}, {"", false, false}, {"a", false, false}} {
		if tagIn(c.list, `"a"`, false) != c.strong || tagIn(c.list, `"a"`, true) != c.weak {
			t.Errorf("%s", c.list)
		}
	}
}
