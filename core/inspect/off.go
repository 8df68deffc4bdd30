package inspect

import (
	"slices"

	"media-server/core/archive"
	"media-server/core/media"
)

// OffSchedule gives gaps the cause off_schedule where they reach into times at
// which nothing was to be recorded (off, in order): a camera that is lost on
// Friday evening misses nothing on a Saturday without recording.
func OffSchedule(gs []archive.Gap, off []media.Span) []archive.Gap {
	return rename(gs, off, archive.GapOffSchedule)
}

// Disabled gives gaps the cause disabled where they reach into times at which
// the stream was not to be recorded (paused, in order). Footage ends a moment
// before it is switched off, and that moment is not missing. Files that were
// taken, damaged or made unreadable prove that it was recorded.
func Disabled(gs []archive.Gap, paused []media.Span) []archive.Gap {
	paused = slices.Clone(paused)
	for i := range paused {
		p := &paused[i]
		for _, g := range gs {
			if g.Span.From < p.From && p.From < g.Span.To && p.From.Sub(g.Span.From) <= settle {
				p.From = g.Span.From
			}
		}
	}
	return rename(tooFar(gs, paused), paused, archive.GapDisabled)
}

// tooFar cuts gaps of the cause disabled where the stream was switched on again
// long before they ended, or before it was switched off once more: the archive
// knows that a capture was ended, and its gap goes on until there was footage.
// What ailed the stream then it does not tell.
func tooFar(gs []archive.Gap, paused []media.Span) (out []archive.Gap) {
	for _, g := range gs {
		if g.Why != archive.GapDisabled {
			out = append(out, g)
			continue
		}
		at, on := g.Span.From, media.Wall(0) // on: it was switched on again then; 0 = not yet switched off
		add := func(from, to media.Wall) {
			if on == 0 || to.Sub(on) <= settle {
				return
			}
			out = append(out, archive.Gap{Span: media.Span{From: at, To: from}, State: g.State, Why: g.Why},
				archive.Gap{Span: media.Span{From: from, To: to}, State: g.State, Why: archive.GapUnknown})
			at = to
		}
		for _, p := range paused {
			if p = p.Intersect(g.Span); !p.Empty() {
				add(on, p.From)
				on = p.To
			}
		}
		add(on, g.Span.To)
		if g.Span.From = at; !g.Span.Empty() {
			out = append(out, g)
		}
	}
	return out
}

// rename gives the stretches of gaps that lie in off (in order) a cause. What
// was left out anyway keeps its own.
func rename(gs []archive.Gap, off []media.Span, why archive.GapCause) []archive.Gap {
	if len(off) == 0 {
		return gs
	}
	var out []archive.Gap
	for _, g := range gs {
		if !wanted(g.Why) || why == archive.GapDisabled && (g.Why == archive.GapDeleted || g.Why == archive.GapDamaged || g.Why == archive.GapKeyDestroyed) {
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
				add(o.To, why)
			}
		}
		add(g.Span.To, g.Why)
	}
	return out
}
