package node

import (
	"strings"
	"testing"
	"time"

	"media-server/core/fault"
)

// TestFootageOnly: of a stream that has footage and does not run its file was removed,
// or is refused: then it says why, and what to do.
func TestFootageOnly(t *testing.T) {
	n := newLive(t)
	n.record("gate", time.Now().Add(-time.Minute))
	n.home = &home{}
	b := backend{n.Node}
	s, ok := b.Stream("gate")
	if !ok || !s.Removed || !strings.Contains(s.Reason, "removed") || len(s.Problems) != 0 || s.Bytes == 0 {
		t.Errorf("removed: %+v", s)
	}
	p := fault.Problem{File: "streams.d/gate.ini", Line: 3, Col: 1, What: `there is no pool "default"`, Hint: "pools: tiny"}
	n.current.Store(&Settings{Refused: map[string]fault.Problems{"gate": {p}}})
	s, _ = b.Stream("gate")
	for _, s := range append(b.Streams(), s) {
		if s.Removed || s.State != "refused" || !strings.Contains(s.Reason, p.What) || s.Hint != p.Hint || len(s.Problems) != 1 || s.Bytes == 0 {
			t.Errorf("refused: %+v", s)
		}
	}
}
