package mp4

import (
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// take is a piece of footage under one time map. Takes lie over each other where the
// server's clock was set back between them.
type take struct {
	run  media.RunID
	zero media.Wall
	span media.Span // of the file
}

func takeOf(e *archive.Extent) take { return take{e.Run, e.Zero, e.Span} }

// over is by how much takes lie over each other only where the clock was set back.
const over = time.Second

// later moves what was recorded when the clock showed a time again behind what was
// recorded at that time before: both are in the movie, one after the other. What
// follows a hole that is long enough is at its own time again. Within a take nothing
// is moved: sound may run ahead of the pictures from file to file, or be silent for
// hours.
func (p *plan) later() {
	var shift time.Duration
	var end media.Wall // of what is before, as moved
	for i, f := range p.files {
		t := f.of
		t.span.From, t.span.To = max(t.span.From, p.start), min(t.span.To, p.to)
		if i > 0 {
			prev := p.files[i-1].of
			same := t.run == prev.run && t.zero == prev.zero
			switch room := t.span.From.Sub(end); { // without being moved
			case same && (shift == 0 || t.span.From-prev.span.To < media.Wall(over)):
			case room < -over, shift > 0 && room < 0:
				shift = -room
			default:
				shift = 0
			}
		}
		end = max(end, t.span.To.Add(shift))
		if shift == 0 {
			continue
		}
		for ti := range f.tracks {
			c := &f.tracks[ti]
			by := media.TicksOf(shift, p.tracks[ti].scale)
			c.origin, c.base, c.end, c.lastStart = c.origin+by, c.base+by, c.end+by, c.lastStart+by
		}
	}
}
