package archive_test

import (
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// TestMetrics: what is missing is counted for the stream that misses it, and
// the sums of times come with what they are sums of.
func TestMetrics(t *testing.T) {
	h := open(t, options(t.TempDir(), 1, newDir(t)))
	defer h.close()
	var last *feeder
	for i, uid := range []string{"gate", "yard"} {
		rec, err := h.a.Recorder(uid, archive.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		defer rec.Close()
		last = start(t, newCamera(uid, byte(i+1)), rec, archive.GapNone)
		if err := last.feed(25 * 4); err != nil {
			t.Fatal(err)
		}
	}
	for _, from := range []media.Wall{1e9, 5e9} {
		last.rec.Gap(media.Span{From: from, To: from.Add(1500 * time.Millisecond)}, archive.GapDriver)
	}
	last.rec.Gap(media.Span{From: 9e9, To: 9e9 + 1}, archive.GapDriver) // rounding, not a gap
	if g := h.a.Metrics().Gaps; len(g) != 2 || g["gate"] != 0 || g["yard"] != 3*time.Second {
		t.Errorf("gaps %v", g)
	}
	eventually(t, "everything stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
	if s := h.a.Metrics().Spaces[0]; s.Appends == 0 || s.AppendTime <= 0 || s.Syncs == 0 || s.Syncs > s.Appends {
		t.Errorf("%d appends in %s, %d syncs in %s", s.Appends, s.AppendTime, s.Syncs, s.SyncTime)
	}
}
