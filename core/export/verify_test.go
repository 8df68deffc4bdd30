package export

import (
	"strings"
	"testing"
	"time"

	"media-server/plugins/sim/clip"
)

func text(r *Report) string { return strings.Join(r.Lines(time.UTC), "\n") }

// TestUntouched: an export across files, a gap, other parameters and another
// gap verifies to the last frame.
func TestUntouched(t *testing.T) {
	r := newRig(t, true)
	r.record(1, 0, 14*time.Second, false, clip.H264, clip.AAC)
	r.record(2, 20*time.Second, 9*time.Second, false, clip.H264Small, clip.AAC)
	for _, c := range []struct {
		name     string
		from, to time.Duration
	}{
		{"inside one file", 4 * time.Second, 5 * time.Second},
		{"across files", time.Second, 13 * time.Second},
		{"all, across the gap and new parameters", -time.Second, 40 * time.Second},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := r.export(c.from, c.to)
			rep := verify(t, x.file, x.proof)
			t.Log("\n" + text(rep))
			if !rep.Identical || !rep.Sound || len(rep.Findings) != 0 || len(rep.Tracks) != 2 {
				t.Fatalf("%+v", rep)
			}
			for _, k := range rep.Tracks {
				if k.Recorded != k.Frames || k.Signed != k.Frames || k.Before+k.After != 0 {
					t.Errorf("%+v", k)
				}
			}
		})
	}
}
