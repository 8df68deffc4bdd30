package inspect

import (
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

const (
	// settle is how much may be missing behind the last footage before it counts:
	// cameras reconnect in a few seconds, and drivers keep what was not stored.
	settle = 10 * time.Second
	// settleActive is the same while the newest run is being stored: a camera that
	// sends a picture every half minute is healthy.
	settleActive = time.Minute
)

// Capture is how a stream that is to be recorded stands at an instant.
type Capture struct {
	Now     media.Wall
	Active  bool             // units come
	GoesOn  bool             // and those of the run that is under way are stored
	Begins  bool             // it was started a moment ago: what its driver has kept may yet come
	Newest  media.Wall       // arrival of its newest unit; 0 = none yet
	Watched media.Wall       // since when somebody would have noticed that none come
	Why     archive.GapCause // why nothing is stored, or was not until a moment ago
	Keeps   time.Duration    // how much its driver keeps of what storage does not take now; 0 = storage takes everything
	Off     []media.Span     // times at which nothing is recorded, in order
	Paused  []media.Span     // times at which the stream was not to be recorded, in order
	Event   []media.Span     // times at which only events are, in order
}

// Tail is what is missing of a stream behind its last footage, which ends at
// from: nobody has listed it, as a gap is known when it is over. What has only
// not been listed yet is not missing.
func Tail(from media.Wall, c Capture) []archive.Gap {
	end := c.Now
	if c.Active && c.Keeps == 0 {
		end = min(end, c.Newest) // what comes now is listed in a moment
	}
	if end.Sub(from) <= settle {
		return nil
	}
	off := slices.Clone(c.Off)
	for _, e := range c.Event {
		if !c.Active { // as long as it was there, or nobody watched, no event asked for footage
			e.To = min(e.To, max(c.Newest, c.Watched))
		}
		if !e.Empty() {
			off = append(off, e)
		}
	}
	slices.SortFunc(off, func(a, b media.Span) int { return int(min(max(a.From-b.From, -1), 1)) })
	gs := OffSchedule(Disabled([]archive.Gap{{Span: media.Span{From: from, To: end}, State: "open", Why: c.Why}}, c.Paused), off)
	least, missing := max(settle, c.Keeps), time.Duration(0)
	if c.GoesOn {
		least = max(least, settleActive)
	}
	for _, g := range gs {
		if wanted(g.Why) {
			missing += g.Span.Duration()
		}
	}
	if missing <= least || c.Begins {
		gs = slices.DeleteFunc(gs, func(g archive.Gap) bool { return wanted(g.Why) })
	}
	return gs
}

// Missed is a tail without what is left out at its end: nobody lists that the
// time since the last event, or since a schedule's last hour, is not recorded.
func Missed(tail []archive.Gap) []archive.Gap {
	for len(tail) > 0 && !wanted(tail[len(tail)-1].Why) {
		tail = tail[:len(tail)-1]
	}
	return tail
}

// Open tells whether a gap is of footage that should be there and might yet come.
func Open(g archive.Gap) bool { return wanted(g.Why) && g.State == "open" }
