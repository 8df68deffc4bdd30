package export

import (
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/plugins/sim/clip"
)

// TestGroomed: an export from groomed footage into footage that is whole is
// proven frame by frame, and says which is which. A key frame altered in the
// export is found.
func TestGroomed(t *testing.T) {
	r := newRigWith(t, true, func(o *archive.Options) {
		o.MoveEvery, o.Pools[0].GroomAfter = 5*time.Millisecond, 30*time.Minute
	})
	r.record(1, 0, 14*time.Second, false, clip.H264, clip.AAC)
	// Grooming has begun: which of the files that lie there now are originals nobody can tell.
	r.until("groomed", func() bool {
		g := r.a.Groomings()[0]
		rs, _, err := r.a.Ranges("gate", media.Span{To: 1<<63 - 1})
		whole := slices.ContainsFunc(rs, func(x archive.Range) bool { return !x.Groomed })
		return err == nil && len(rs) > 0 && !whole && g.State == "idle" && int64(len(r.files(""))) == g.Files
	})
	const later = 55 * time.Minute
	r.record(2, later, 9*time.Second, false, clip.H264, clip.AAC)

	for _, c := range []struct {
		name     string
		from, to time.Duration
		groomed  bool
		whole    bool
	}{
		{"groomed alone", time.Second, 12 * time.Second, true, false},
		{"groomed, then whole", 4 * time.Second, later + 7*time.Second, true, true},
		{"whole alone", later, later + 7*time.Second, false, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			x := r.export(c.from, c.to)
			rep := verify(t, x.file, x.proof)
			said := text(rep)
			t.Log("\n" + said)
			if !rep.Identical || !rep.Sound || len(rep.Findings) != 0 || len(rep.Notes) != 0 {
				t.Fatalf("%+v", rep)
			}
			groomed := 0
			for _, s := range rep.Sources {
				if s.Groomed != "" {
					groomed++
				}
				if !s.Proven || s.State != stateSigned {
					t.Errorf("%+v", s)
				}
			}
			if (groomed > 0) != c.groomed || (groomed < len(rep.Sources)) != c.whole || strings.Contains(said, "keeps the key frames") != c.groomed {
				t.Errorf("%d of %d sources are groomed", groomed, len(rep.Sources))
			}
			for _, k := range rep.Tracks {
				if k.Recorded != k.Frames || k.Signed != k.Frames || k.Frames == 0 || k.Before+k.After != 0 {
					t.Errorf("%+v", k)
				}
			}
			b, err := os.ReadFile(x.file)
			if err != nil {
				t.Fatal(err)
			}
			s := video(t, b).samples[0]
			b[s.at+9] ^= 1
			write(t, x.file, b)
			if rep := verify(t, x.file, x.proof); len(rep.Findings) == 0 || rep.Tracks[0].Altered != 1 {
				t.Errorf("a frame altered: %s", text(rep))
			}
		})
	}
}
