package inspect

import (
	"media-server/core/archive"
	"media-server/core/media"
)

// OffSchedule gives gaps the cause off_schedule where they reach into times at
// which nothing was to be recorded (off, in order): a camera that is lost on
// Friday evening misses nothing on a Saturday without recording. Only schedules
// in force are known; of earlier ones the gaps themselves tell.
func OffSchedule(gs []archive.Gap, off []media.Span) []archive.Gap {
	if len(off) == 0 {
		return gs
	}
	var out []archive.Gap
	for _, g := range gs {
		if !wanted(g.Why) {
			out = append(out, g)
			continue
		}
		at := g.Span.From
		add := func(to media.Wall, why archive.GapCause) {
			if to > at {
				out = append(out, archive.Gap{Span: media.Span{From: at, To: to}, State: g.State, Why: why})
				at = to
			}
		}
		for _, o := range off {
			if o = o.Intersect(g.Span); !o.Empty() {
				add(o.From, g.Why)
				add(o.To, archive.GapOffSchedule)
			}
		}
		add(g.Span.To, g.Why)
	}
	return out
}
