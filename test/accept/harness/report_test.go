package harness

import (
	"slices"
	"strings"
	"testing"
)

func TestVerdicts(t *testing.T) {
	Row(t, "a row that holds", 0, "%d frames", 7)
	NotJudged(t, "a row nobody can judge", 0, "%d datagrams were dropped", 3)
	for want, name := range map[string]string{"| a row that holds | holds | 7 frames |": "holds", "| a row nobody can judge | not judged | 3 datagrams were dropped |": "not judged"} {
		if !slices.ContainsFunc(rows, func(r *row) bool { return strings.HasPrefix(r.line, want) && !r.fail }) {
			t.Errorf("no row says %q", name)
		}
	}
}
