package clock

import (
	"time"

	"media-server/core/media"
)

// Map is the time map of one run. Not safe for concurrent use.
type Map struct {
	cfg    Config
	tracks []*track

	first, latest int64 // arrival of the first and the newest unit
	fellAt        int64 // arrival at which a track's least delay last fell visibly
	hold          int64 // by how much Start moved the run, so that it does not lie before NotBefore
	heldAt        int64 // newest arrival at that time
	started       bool
	from          media.Wall // NotBefore, once Start has seen to it

	boot      int64 // Received − Mono
	bootKnown bool
	suspect   int64 // a differing Received − Mono seen once
	suspected bool
	step      int64 // of the verdict given last
	postponed int64 // by how much Received is ahead of the clock that the map goes by
}

// New makes the map of a run that begins.
func New(cfg Config) *Map { return &Map{cfg: cfg.filled()} }

// Track announces a track; the timescale is that of its PTS. Calling it again
// with the same values changes nothing.
func (m *Map) Track(id int, timescale uint32) {
	if m.track(id) == nil && timescale > 0 {
		m.tracks = append(m.tracks, &track{id: id, timescale: timescale})
	}
}

func (m *Map) track(id int) *track {
	for _, t := range m.tracks {
		if t.id == id {
			return t
		}
	}
	return nil
}

// Observe takes note of a unit's arrival. Units come in the order in which
// they arrived, before Wall is asked for them.
func (m *Map) Observe(o Observation) Verdict {
	t := m.track(o.Track)
	if t == nil || o.Received == 0 {
		return Verdict{}
	}
	o.Received -= media.Wall(m.postponed)
	if v, use := m.serverClock(o); !use {
		return v
	}
	at := int64(o.Received)
	fresh := !t.based
	x := t.x(o.PTS)
	a := at - x
	if by, jumped := t.jump(m.cfg, m.first, o, x, at, fresh); jumped {
		return Verdict{Kind: Jump, By: by}
	}
	t.reorders = t.reorders || x < t.maxX
	t.maxX, t.lastAt = max(t.maxX, x), at
	if t.arrivals++; t.arrivals == 1 {
		t.firstAt = at
	}
	had, before := t.floor.known, t.floor.value
	t.floor.add(at, a)
	if had && before-t.floor.value > int64(floorFell) {
		m.fellAt = at
	}
	if m.first == 0 {
		m.first = at
	}
	m.latest = max(m.latest, at)

	var v Verdict
	if o.NTP != 0 {
		v.CameraStep = time.Duration(t.reports.add(at, int64(o.NTP)-x))
	}
	m.realign(at)
	return v
}

// serverClock compares wall clock and boot clock of the same instant. A reader
// that is preempted between reading the two makes one odd pair, so a step
// needs two that agree; the first of them is not used for anything.
func (m *Map) serverClock(o Observation) (v Verdict, use bool) {
	if o.Mono == 0 {
		return Verdict{}, true
	}
	d := int64(o.Received) - o.Mono
	off := d - m.boot
	switch {
	case !m.bootKnown:
		m.bootKnown = true
	case abs(off) <= int64(m.cfg.StepTolerance):
	case m.suspected && abs(d-m.suspect) <= int64(m.cfg.StepTolerance)/2:
		before, set := media.Wall(o.Mono+m.boot), media.Wall(m.postponed)
		m.step, m.boot, m.suspected = off, d, false
		return Verdict{Kind: Step, Before: before + set, After: o.Received + set}, false
	default:
		m.suspect, m.suspected = d, true
		return Verdict{}, false
	}
	m.boot, m.suspected = d, false // a clock that is only slewed is followed
	return Verdict{}, true
}

// Postpone makes the map go on, after the verdict Step, by the clock as it was
// before: for a caller that cannot begin anew with this unit, which it may hand on
// like any other. Further steps are told as ever.
func (m *Map) Postpone() {
	m.boot -= m.step
	m.postponed += m.step
	m.step = 0
}

// Settled tells whether arrivals of at least Config.Settle have been seen, so
// that one slow first unit does not set the offset. A caller keeps the units
// of the start until then (or until a timer of its own ends) before it asks
// for the first Wall. A restored map is settled.
func (m *Map) Settled() bool {
	for _, t := range m.tracks {
		if t.n > 0 {
			return true
		}
	}
	if m.first == 0 || m.latest-m.first < int64(m.cfg.Settle) {
		return false
	}
	// One arrival may be late by anything. A track of one unit a second is given
	// time for another; begun with a late one it would be off for minutes.
	for _, t := range m.tracks {
		if t.arrivals == 1 && m.latest-t.firstAt < int64(startAlone) {
			return false
		}
	}
	// Arrivals that still get less and less late (a machine that starts fifty
	// cameras at once) are waited for, within three times as long.
	return m.latest-m.fellAt >= int64(m.cfg.Settle)/2 && !m.deepToCome() || m.latest-m.first >= 3*int64(m.cfg.Settle)
}

// deepToCome tells whether a track with B-frames can be earlier than its arrivals have
// shown, by a report that does not count yet. A sender that paces by decode time sends
// only the picture before the most B-frames as soon as it was taken, all others later;
// where their number varies there may be none of that kind among the first.
func (m *Map) deepToCome() bool {
	ref := m.reference(m.latest)
	if ref == nil {
		return false
	}
	least := m.leastDelayed(ref, m.latest)
	for _, t := range m.tracks {
		if t.reorders && t.reports.n < firmReports && m.believable(t, ref, m.latest) && t.behind()-least > int64(floorFell) {
			return true
		}
	}
	return false
}

// startAlone is how long the second unit of a track is waited for: units one
// second apart, and what both may be late by.
const startAlone = 1200 * time.Millisecond

// floorFell is a fall of the least delay that is not jitter.
const floorFell = 10 * time.Millisecond

// Wall returns the server time of a unit's PTS. The track must have been
// announced and observed; else the answer is 0.
func (m *Map) Wall(id int, pts int64) media.Wall {
	t := m.track(id)
	if t == nil || !t.based || !t.floor.known {
		return 0
	}
	x := t.x(pts)
	if t.n == 0 {
		m.begin(t, x)
	}
	return media.Wall(t.wall(x))
}

// begin sets the first knot of a track.
func (m *Map) begin(t *track, x int64) {
	w := x + t.floor.value + t.align
	// All tracks of the run have moved together. What is stored of it may begin long
	// behind its first arrival: a key frame may be half a minute away.
	if m.hold > 0 && m.latest-m.heldAt < int64(m.cfg.MaxHold) {
		w += m.hold
	}
	t.push(knot{at: x, wall: w})
}

// Start says which Wall is the first that is stored of the run, and returns by
// how much that and all others, answered or not, are later from now on: what is
// stored does not begin before NotBefore. Only the first call counts.
//
// Where a run begins only its caller knows. Sound that comes before the first
// key frame may lie before NotBefore, by up to a picture that is shown for long;
// it is not stored, and moving what is behind it would misplace that.
func (m *Map) Start(first media.Wall) (moved time.Duration) {
	if m.started {
		return 0
	}
	m.started = true
	early := int64(m.cfg.NotBefore) - int64(first)
	if early > int64(m.cfg.MaxHold) {
		return 0
	}
	m.from = m.cfg.NotBefore
	if early <= 0 {
		return 0
	}
	m.hold, m.heldAt = early, m.latest
	for _, t := range m.tracks {
		for i := range t.knots {
			t.knots[i].wall += early
		}
	}
	return time.Duration(early)
}

// Covered tells whether a unit at w lies where there is something else already:
// before end, to which units of its kind were stored when the run began. Behind the
// first unit of a run may come sound that was taken before it. 0 = not known: all
// that lies before NotBefore. An end more than MaxHold behind NotBefore counts as
// not known.
func (m *Map) Covered(w, end media.Wall) bool {
	if end == 0 || int64(end)-int64(m.from) > int64(m.cfg.MaxHold) {
		end = m.from
	}
	return m.from != 0 && w < end
}

// Forget lets a track begin anew with its next Wall, where it belongs by what
// has been seen since. It is for a caller that has used none of the track's
// answers so far: pictures that wait for a key frame. A camera may send one
// only every half minute, and what its first pictures were late by (an encoder
// that starts) would shrink by no more than 0.5 ms a second from there on.
// A run that Start has moved stays as it is.
func (m *Map) Forget(id int) {
	if t := m.track(id); t != nil && m.hold == 0 {
		t.n, t.top, t.knots = 0, 0, [8]knot{}
	}
}

// CameraOffset is the camera's NTP clock minus the server's, as far as its
// sender reports tell; it contains the least network delay.
func (m *Map) CameraOffset() (time.Duration, bool) {
	ref := m.reference(m.latest)
	if ref == nil {
		return 0, false
	}
	return time.Duration(-m.leastDelayed(ref, m.latest)), true
}
