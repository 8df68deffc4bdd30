package media

import "time"

// Wall is a wall-clock time: nanoseconds since the Unix epoch, UTC. Zero means
// "not known". It is an integer so that it can be stored, compared and
// subtracted without a location or a monotonic part.
type Wall int64

// WallOf converts t, dropping its location and monotonic reading.
func WallOf(t time.Time) Wall { return Wall(t.UnixNano()) }

// WallMilli converts Unix milliseconds.
func WallMilli(ms int64) Wall { return Wall(ms * int64(time.Millisecond)) }

// Time converts w to a time.Time in UTC.
func (w Wall) Time() time.Time { return time.Unix(0, int64(w)).UTC() }

// Milli returns Unix milliseconds, rounded down (towards the past).
func (w Wall) Milli() int64 { return floorDiv(int64(w), int64(time.Millisecond)) }

// Add returns w moved by d.
func (w Wall) Add(d time.Duration) Wall { return w + Wall(d) }

// Sub returns the duration w - o.
func (w Wall) Sub(o Wall) time.Duration { return time.Duration(w - o) }

// Span is the half-open range of wall-clock time [From, To).
type Span struct{ From, To Wall }

// Empty tells whether the span holds no time at all.
func (s Span) Empty() bool { return s.To <= s.From }

// Duration is To - From, or 0 for an empty span.
func (s Span) Duration() time.Duration {
	if s.Empty() {
		return 0
	}
	return s.To.Sub(s.From)
}

// Overlaps tells whether the two spans share any instant.
func (s Span) Overlaps(o Span) bool { return s.From < o.To && o.From < s.To }

// Contains tells whether w lies in [From, To).
func (s Span) Contains(w Wall) bool { return s.From <= w && w < s.To }

// Intersect returns the common part of the two spans; it may be empty.
func (s Span) Intersect(o Span) Span {
	return Span{max(s.From, o.From), min(s.To, o.To)}
}
