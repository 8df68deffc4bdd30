package inspect

import (
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Footage is what is known of a stream in a window.
type Footage struct {
	Life   media.Span // from its first footage to now, or to its last where it is over
	Ranges []archive.Range
	Gaps   []archive.Gap
}

// Bucket is the account of one stretch of time.
type Bucket struct {
	Span     media.Span
	Expected time.Duration
	Recorded time.Duration
	Missing  time.Duration
	Causes   map[archive.GapCause]time.Duration // of Missing; nil = nothing is missing
}

// wanted tells whether a cause means that footage should have been there.
func wanted(c archive.GapCause) bool {
	return c != archive.GapOffSchedule && c != archive.GapDisabled && c != archive.GapExpired && c != archive.GapClockSet
}

// Sum accounts for f in the stretches between the edges given.
func Sum(f Footage, edges []media.Wall) []Bucket {
	var out []Bucket
	for i := 1; i < len(edges); i++ {
		b := Bucket{Span: media.Span{From: edges[i-1], To: edges[i]}}
		life := b.Span.Intersect(f.Life)
		if life.Empty() {
			out = append(out, b)
			continue
		}
		b.Expected = life.Duration()
		for _, r := range f.Ranges {
			b.Recorded += over(r.Span, life)
		}
		for _, g := range f.Gaps {
			d := over(g.Span, life)
			switch {
			case d == 0:
			case !wanted(g.Why):
				b.Expected -= d
			default:
				b.Missing += d
				if b.Causes == nil {
					b.Causes = map[archive.GapCause]time.Duration{}
				}
				b.Causes[g.Why] += d
			}
		}
		out = append(out, b)
	}
	return out
}

func over(a, b media.Span) time.Duration {
	s := a.Intersect(b)
	if s.Empty() {
		return 0
	}
	return s.Duration()
}
