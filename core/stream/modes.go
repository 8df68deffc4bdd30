package stream

import (
	"time"

	"media-server/core/media"
	"media-server/core/schedule"
)

// Modes is when a stream is recorded.
type Modes struct {
	Week *schedule.Week // nil = always
	Zone *time.Location // of the schedule's times; nil = UTC
	Pre  time.Duration  // kept before an event: at least so much, back to a key frame
	Post time.Duration  // kept behind it, to the end of its group of pictures
}

// Always tells that everything is recorded at all times. The zero value does.
func (m *Modes) Always() bool {
	return m.Week == nil || !m.Week.Changes() && m.Week.At(time.Time{}) == schedule.Continuous
}

// Event is something that happened before a camera.
type Event struct {
	Kind  string
	At    media.Wall
	Phase Phase
}

// Phase is what of an event is told.
type Phase uint8

// Phases.
const (
	Once   Phase = iota // it was an instant
	Begins              // it goes on until Ends comes, or longestOpen is over
	Ends
)

// longestOpen ends an event whose end is never told: the driver died meanwhile.
const longestOpen = time.Hour

// Kept says what an event made of the recording.
type Kept struct {
	Recorded  bool // footage around it is kept because of it
	Pre, Post time.Duration
}

// gate decides which parts of a stream that is not always recorded go to the
// recorder. All parts go into the memory ring; when footage is wanted the
// recorder gets those of the ring first. It works in whole segments: recording
// begins with a key frame and ends in front of one.
type gate struct {
	modes Modes
	on    bool                  // parts go to the recorder
	last  uint64                // number of the newest segment that the recorder has; with any
	any   bool                  //
	idle  int                   // segments since, that it has not
	open  map[string]media.Wall // events under way, since when

	// The newest stretch that events want: from the earliest Pre on, until the
	// latest Post ends. Events under way want everything behind from.
	from, until media.Wall

	acked media.RunPosition // what the driver was told last while nothing is recorded

	mode             schedule.Mode // of the time from modeFrom to modeTo
	modeFrom, modeTo media.Wall
}

func newGate(m Modes) *gate { return &gate{modes: m, open: map[string]media.Wall{}} }

// set changes the modes; events under way stay.
func (g *gate) set(m Modes) {
	g.modes = m
	g.modeFrom, g.modeTo = 0, 0
}

// at is the mode at an instant.
func (g *gate) at(w media.Wall) schedule.Mode {
	if g.modes.Always() {
		return schedule.Continuous
	}
	if w >= g.modeFrom && w < g.modeTo {
		return g.mode
	}
	zone := g.modes.Zone
	if zone == nil {
		zone = time.UTC
	}
	t := w.Time().In(zone)
	g.mode, g.modeFrom, g.modeTo = g.modes.Week.At(t), w, 1<<63-1
	if next := g.modes.Week.Next(t); !next.IsZero() {
		g.modeTo = media.WallOf(next)
	}
	return g.mode
}

// wanted tells whether footage of s has to be kept.
func (g *gate) wanted(s media.Span) bool {
	if g.at(s.From) == schedule.Continuous || g.at(max(s.To-1, s.From)) == schedule.Continuous {
		return true
	}
	return s.To > g.from && (s.From < g.until || len(g.open) > 0)
}

// since is where the wanted footage begins that s is part of.
func (g *gate) since(s media.Span) media.Wall {
	switch {
	case g.at(s.From) == schedule.Continuous:
		return s.From
	case g.at(max(s.To-1, s.From)) == schedule.Continuous:
		return g.modeFrom
	}
	return g.from
}

// event takes an event in; now ends those that were never said to end.
func (g *gate) event(e Event, now media.Wall) Kept {
	for kind, since := range g.open {
		if now.Sub(since) > longestOpen {
			delete(g.open, kind)
			g.until = max(g.until, since.Add(longestOpen).Add(g.modes.Post))
		}
	}
	_, goesOn := g.open[e.Kind]
	if e.Phase == Ends {
		if !goesOn {
			return Kept{}
		}
		delete(g.open, e.Kind)
		g.until = max(g.until, e.At.Add(g.modes.Post))
		return Kept{true, g.modes.Pre, g.modes.Post}
	}
	if g.at(e.At) != schedule.Event {
		return Kept{}
	}
	from := e.At.Add(-g.modes.Pre)
	if len(g.open) == 0 && from > g.until {
		g.from = from
	}
	g.from = min(g.from, from)
	if e.Phase == Begins {
		if !goesOn {
			g.open[e.Kind] = e.At
		}
	} else {
		g.until = max(g.until, e.At.Add(g.modes.Post))
	}
	return Kept{true, g.modes.Pre, g.modes.Post}
}

// goOn takes over an event that was under way in an earlier process: until is
// when its footage ends.
func (g *gate) goOn(from, until media.Wall) {
	if until > g.until {
		g.from, g.until = from, until
	}
}
