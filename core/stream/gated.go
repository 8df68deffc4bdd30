package stream

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/schedule"
)

// setGate gives the stream a gate and the ring that it needs, or none. The
// lock is held; the recorder is in place.
func (s *Stream) setGate(m Modes) {
	s.modes = m
	if s.dep.Recorder == nil || s.gate == nil && m.Always() {
		return
	}
	if s.gate != nil {
		s.gate.set(m)
		s.ring.keep(m.Pre)
		return
	}
	s.gate = newGate(m)
	s.gateRing()
	if r := s.cur; r != nil && r.started {
		// It is being recorded; where that ends the next segment decides.
		s.gate.on = true
		s.ring.begin(r.id, r.zero, r.inFile)
	}
}

// gateRing makes the ring of a gated stream, whose numbers are the recorder's.
func (s *Stream) gateRing() {
	n := s.nextNumbers()
	s.ring = newRing(s.spec.Capture.UID, fmt.Sprint(s.spec.Capture.UID, s.dep.Now().UnixNano()))
	s.ring.number, s.ring.disc = n.Segment, n.Discontinuity
	s.ring.keep(s.modes.Pre)
}

// SetModes changes when the stream is recorded, at once; the capture does not
// notice.
func (s *Stream) SetModes(m Modes) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.setGate(m)
}

// Event tells of something that happened before the camera. What it makes of
// the recording has begun when Event returns.
func (s *Stream) Event(e Event) Kept {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate == nil || s.over {
		return Kept{}
	}
	k := s.gate.event(e, media.WallOf(s.dep.Now()))
	if b, ok := s.ring.Bounds(s.spec.Capture.UID); ok && k.Recorded && !s.gate.on && s.gate.wanted(b) {
		switch err := s.startRecording(s.gate.from); {
		case noRoom(err):
			s.fallBehind()
		case err != nil:
			s.complain(err)
		}
	}
	return k
}

// GoOn takes over an event whose footage an earlier process was recording.
// Call it before Start.
func (s *Stream) GoOn(m archive.EventMark) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.gate == nil {
		return
	}
	end := m.To
	if end == 0 { // whether it still goes on nobody has told yet
		end = media.WallOf(s.dep.Now())
	}
	s.gate.goOn(m.From.Add(-m.Pre), end.Add(m.Post))
}

// pass hands a part of a gated stream on.
func (s *Stream) pass(p *media.Part) error {
	g := s.gate
	if p.Index == 0 && g.on && !g.wanted(media.Span{From: p.Start, To: p.Start + 1}) {
		s.stopRecording()
	}
	if g.on {
		// The recorder writes into the part's header: nobody else may have it yet.
		if err := s.dep.Recorder.Append(p); err != nil {
			return err
		}
		s.recorded(p)
	} else if p.Index == 0 {
		g.idle++
	}
	s.ring.add(p)
	if sp := (media.Span{From: p.Start, To: p.End}); !g.on && g.wanted(sp) {
		return s.startRecording(g.since(sp))
	}
	return nil
}

func (s *Stream) recorded(p *media.Part) {
	s.hand(p)
	s.behindTold = false
	s.gate.last, s.gate.any, s.gate.idle = p.Segment, true, 0
}

// startRecording gives the recorder what the ring has from the group of
// pictures on that holds from, as far as it was not recorded already.
func (s *Stream) startRecording(from media.Wall) error {
	g := s.gate
	files := s.ring.since(from, g.last, g.any)
	if len(files) == 0 {
		return nil // no key frame yet
	}
	defer func() {
		for _, f := range files {
			releaseParts(f.parts)
		}
	}()
	g.on, s.status.Recording = true, true
	why := archive.GapOffSchedule
	for _, f := range files {
		if err := s.dep.Recorder.Begin(f.run, f.zero, f.tracks, why); err != nil {
			return err
		}
		why = archive.GapNone
		for _, p := range f.parts {
			q := forRecorder(p)
			err := s.dep.Recorder.Append(q)
			q.Release()
			if err != nil {
				return err
			}
			s.recorded(p)
		}
	}
	return nil
}

// forRecorder is the part with a header of its own: viewers have the ring's.
func forRecorder(p *media.Part) *media.Part {
	q := &media.Part{Run: p.Run, Segment: p.Segment, Discontinuity: p.Discontinuity, Index: p.Index, Independent: p.Independent,
		Start: p.Start, End: p.End, Fragments: slices.Clone(p.Fragments)}
	for i := range q.Fragments {
		q.Fragments[i].Head = bytes.Clone(q.Fragments[i].Head)
	}
	p.Retain()
	q.Own(func(*media.Part) { p.Release() })
	return q
}

// stopRecording ends what the recorder has, in front of a segment.
func (s *Stream) stopRecording() {
	s.dep.Recorder.End(archive.GapOffSchedule)
	s.gate.on, s.status.Recording = false, false
	s.lost = archive.GapNone
}

// acknowledgeGated lets the driver forget what will not be wanted any more: all
// but the seconds that an event might ask for. What is recorded is acknowledged
// by the recorder.
func (s *Stream) acknowledgeGated() {
	r, g := s.cur, s.gate
	if g.on || s.session == nil {
		return
	}
	now := media.WallOf(s.dep.Now())
	if g.at(now) == schedule.Off {
		if s.allDurable(r.id) {
			s.session.Ack(r.position())
		}
		return
	}
	keep := g.modes.Pre
	if s.dep.DriverKeeps > 0 {
		keep = min(keep, s.dep.DriverKeeps)
	}
	pos, ok := s.ring.before(now.Add(-keep))
	if !ok || pos.Run != r.id || pos.Run == g.acked.Run && slices.Equal(pos.Tracks, g.acked.Tracks) {
		return
	}
	if !s.allDurable(r.id) {
		return
	}
	g.acked = media.RunPosition{Run: pos.Run, Tracks: slices.Clone(pos.Tracks)}
	s.session.Ack(media.RunPosition{Run: pos.Run, Tracks: append(pos.Tracks, r.notInFile()...)})
}

// mode says what is recorded now, and why.
func (s *Stream) mode() (mode, why string) {
	switch {
	case s.dep.Recorder == nil:
		return "off", ""
	case s.gate == nil:
		return "continuous", "continuous"
	}
	now := media.WallOf(s.dep.Now())
	m := s.gate.at(now)
	mode = m.String()
	switch {
	case !s.gate.on:
	case m == schedule.Continuous && s.modes.Week.Changes():
		why = "schedule"
	case m == schedule.Continuous:
		why = "continuous"
	default:
		why = "event"
	}
	return mode, why
}

// longestRing is the most that a ring keeps for events.
const longestRing = 5 * time.Minute
