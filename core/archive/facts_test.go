package archive

import (
	"log/slog"
	"testing"

	"media-server/core/media"
)

// TestFactsOnTheirWay: a mark and the gap that begins with it explain a hole
// the same while they are on their way to the database and once they are in it.
func TestFactsOnTheirWay(t *testing.T) {
	s, err := openState(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer s.close()
	hole := media.Span{From: 10e9, To: 90e9}
	mark, gap := &fact{Type: factMark, UID: "gate", At: hole.From, Cause: GapDisabled}, &fact{Type: factGap, UID: "gate", At: hole.From, Until: hole.To, Cause: GapCameraLost}
	for range 50 { // they lie in a map
		s.queued = map[*fact]struct{}{gap: {}, mark: {}}
		fs, err := s.facts("gate", hole)
		if err != nil || len(fs) != 2 {
			t.Fatal(fs, err)
		}
		if gs := explain(hole, fs); len(gs) != 1 || gs[0].Why != GapCameraLost {
			t.Fatalf("%v", gs)
		}
	}
}
