package stream

import (
	"fmt"
	"time"

	"media-server/core/archive"
	"media-server/core/clock"
	"media-server/core/media"
)

// sink is a Stream as its driver sees it.
type sink Stream

// Positions implements Sink.
func (k *sink) Positions() []media.RunPosition {
	s := (*Stream)(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.over:
	case s.cur != nil:
		return []media.RunPosition{s.cur.position()}
	case s.resume != nil:
		return []media.RunPosition{s.resume.Positions}
	case s.gate != nil:
		// The recording was ended, the run perhaps not: what an event had kept of
		// it must not come again.
		if pos, ok := s.dep.Recorder.Held(); ok {
			return []media.RunPosition{pos}
		}
	}
	return nil
}

// Opened implements Sink.
func (k *sink) Opened(o Opened) {
	s := (*Stream)(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if s.behind {
		return // taken up again by Tick, from where the archive ends
	}
	s.status.Device, s.status.LeftOut, s.status.Tracks = o.Device, o.LeftOut, o.Tracks
	switch {
	case s.cur != nil && s.cur.id == o.Run:
		// The driver's connection was cut and is back; the run never ended.
	case s.resume != nil && s.resume.Positions.Run == o.Run && s.restore(o):
	default:
		if !s.endRun(CauseLost) {
			return
		}
		s.cur = newRun(o, s.clockConfig())
	}
	s.resume = nil
	s.status.Runs++
	for _, l := range o.LeftOut {
		s.notify("stream.tracks", "warning", fmt.Sprintf("track %s is left out: %s", l.Name, l.Reason), nil)
	}
}

func (s *Stream) clockConfig() clock.Config {
	var cfg clock.Config
	if end, ok := s.lastEnd(); ok {
		cfg.NotBefore = end
	}
	return cfg
}

// lastEnd is the end of what came last; a ring is behind what was recorded.
func (s *Stream) lastEnd() (media.Wall, bool) {
	if s.ring != nil {
		if end, ok := s.ring.Newest(s.spec.Capture.UID); ok {
			return end, true
		}
	}
	if s.dep.Recorder == nil {
		return 0, false
	}
	return s.dep.LastEnd(s.spec.Capture.UID)
}

// Units implements Sink.
func (k *sink) Units(us []media.AccessUnit) bool {
	s := (*Stream)(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.behind {
		return false
	}
	if s.cur == nil || s.over {
		return true
	}
	for i := range us {
		if err := s.take(&us[i]); err != nil {
			if noRoom(err) {
				s.fallBehind()
				return false
			}
			s.complain(err)
		}
	}
	s.acknowledge()
	return true
}

// take brings one unit through time map and writer.
func (s *Stream) take(u *media.AccessUnit) error {
	r := s.cur
	t := r.track(u.Track)
	if t == nil {
		s.status.Odd++
		return nil
	}
	switch {
	case u.Seq < t.next:
		s.status.Duplicates++
		return nil
	case u.Seq > t.next && t.seen:
		s.status.Lost += u.Seq - t.next
		t.jumped = true
	}
	t.next, t.seen, t.newest = u.Seq+1, true, u.Received
	s.status.Units++
	s.status.LastFrame = u.Received
	s.meter.add(len(u.Payload))
	if s.status.State != StateActive {
		s.setState(StateActive, "", "")
	}

	v := r.clock.Observe(clock.Observation{Track: u.Track, PTS: u.PTS, NTP: u.NTP, Received: u.Received, Mono: u.Mono})
	switch v.Kind {
	case clock.Step:
		s.status.Clock.ServerSteps++
		s.notify("server.clock", "warning", fmt.Sprintf("the server's clock was set by %v", v.After.Sub(v.Before).Round(time.Millisecond)),
			map[string]any{"before_ms": v.Before.Milli(), "after_ms": v.After.Milli()})
		r.clock.Postpone()
		if r.set == 0 {
			r.set = u.Mono
		}
	case clock.Jump:
		s.status.Clock.CameraJumps++
		s.notify("camera.clock", "info", fmt.Sprintf("the camera's media clock jumped by %v", v.By.Round(time.Millisecond)), nil)
		if err := s.split(r, u); err != nil {
			return err
		}
	}
	if r.set != 0 && r.beginsAnew(u) {
		began := r.started
		if err := s.split(r, u); err != nil {
			return err
		}
		for i := range r.tracks {
			r.tracks[i].last = 0 // by another clock
		}
		if began && (s.gate == nil || s.gate.on) { // else there is nothing for another reason
			s.lost = archive.GapClockSet
		}
	}
	if r.writer == nil {
		r.hold(u)
		if r.clock.Settled() {
			return s.settle(r)
		}
		return nil
	}
	return s.write(r, u)
}

// anewWithin is how long a key frame is waited for once the server's clock was set.
const anewWithin = int64(2 * time.Minute)

// beginsAnew tells whether the time that a clock was set to can be used from u on:
// behind it the recording begins anew, and what comes before the first key frame of
// a recording cannot be played. Until then it goes on by the clock as it was.
func (r *run) beginsAnew(u *media.AccessUnit) bool {
	if !r.started || u.Mono-r.set > anewWithin {
		return true
	}
	for i := range r.inFile {
		if t := &r.inFile[i]; t.Kind() == media.Video {
			return t.ID == u.Track && u.Key
		}
	}
	return true
}

// split ends the run's media time here and begins another: the same capture,
// another map, another zero, a discontinuity.
func (s *Stream) split(r *run, u *media.AccessUnit) error {
	if err := s.flush(r); err != nil {
		return err
	}
	r.restart(s.clockConfig())
	r.clock.Observe(clock.Observation{Track: u.Track, PTS: u.PTS, NTP: u.NTP, Received: u.Received, Mono: u.Mono})
	return nil
}

// fallBehind stops taking units until storage has room again.
func (s *Stream) fallBehind() {
	s.behind = true
	s.status.behindSince = media.WallOf(s.dep.Now())
	s.cur = nil
	if s.gate != nil {
		// What comes again is numbered behind what the archive holds: players
		// go on there.
		s.dep.First = s.nextNumbers()
		s.gateRing()
	}
	if !s.behindTold { // it may go on for hours, with a try each second
		s.behindTold = true
		s.notify("stream.behind", "warning", "storage does not keep up; the driver keeps the camera's frames meanwhile", nil)
	}
}

const complainEvery = 10 * time.Second

// complain logs units that were not taken, with their number, not each: a
// camera that sends rubbish sends a lot of it.
func (s *Stream) complain(err error) {
	s.failed++
	now := s.dep.Now()
	if now.Sub(s.complained) < complainEvery {
		return
	}
	s.dep.Log.Error("units could not be taken", "stream", s.spec.Capture.UID, "count", s.failed, "err", err)
	s.failed, s.complained = 0, now
}

// acknowledge tells the driver what need not be kept: everything, where nothing
// is recorded or nothing can be yet; else the recorder says so (durable).
func (s *Stream) acknowledge() {
	r := s.cur
	if s.dep.Recorder != nil && r.writer != nil && !r.started && !s.waitedLong(r) {
		return
	}
	if s.dep.Recorder == nil || r.writer != nil && !r.started {
		pos := r.position()
		if s.dep.Recorder != nil {
			pos = r.waited
		}
		// Between two files of a run the first one's end may still be on its way
		// to storage: an acknowledgement would take it from the driver as well.
		if s.session != nil && s.allDurable(r.id) {
			s.session.Ack(pos)
		}
		return
	}
	if s.gate != nil && !s.gate.on {
		s.acknowledgeGated()
		return
	}
	if out := r.notInFile(); len(out) > 0 {
		s.leftOut.Store(&media.RunPosition{Run: r.id, Tracks: out})
	} else if s.leftOut.Load() != nil {
		s.leftOut.Store(nil)
	}
}

// waitedLong tells whether a run has waited for its first key frame so long
// that what came up to r.waited is of no use any more: the writer keeps a
// second of sound (mux, early.go), and a core killed meanwhile must find that
// in the driver again.
func (s *Stream) waitedLong(r *run) bool {
	now := media.WallOf(s.dep.Now())
	if now.Sub(r.waitedAt) < 2*time.Second {
		return false
	}
	ok := r.waitedAt != 0
	r.waited, r.waitedNext = r.waitedNext, r.position()
	r.waitedAt = now
	return ok && !r.waited.Run.IsZero()
}

// allDurable tells whether everything of a run that the recorder was given
// survives a power cut.
func (s *Stream) allDurable(run media.RunID) bool {
	if s.handed.Run != run {
		return true
	}
	d := s.durableTo.Load()
	for _, t := range s.handed.Tracks {
		if d == nil || d.Run != run || d.Next(t.Track) < t.Next {
			return false
		}
	}
	return true
}

// hand notes what the recorder was given.
func (s *Stream) hand(p *media.Part) {
	if s.handed.Run != p.Run {
		s.handed = media.RunPosition{Run: p.Run}
	}
next:
	for i := range p.Fragments {
		f := &p.Fragments[i]
		for k := range s.handed.Tracks {
			if t := &s.handed.Tracks[k]; t.Track == f.Track {
				t.Next = f.LastSeq + 1
				continue next
			}
		}
		s.handed.Tracks = append(s.handed.Tracks, media.Position{Track: f.Track, Next: f.LastSeq + 1})
	}
}

// Closed implements Sink.
func (k *sink) Closed(c Closed) {
	s := (*Stream)(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	if s.cur != nil && (c.Run.IsZero() || c.Run == s.cur.id) {
		s.endRun(c.Cause)
	} else if c.Cause != CauseChanged && (s.gate == nil || s.gate.on) {
		s.lost = gapCause(c.Cause)
	}
	s.status.RetryIn = c.RetryIn
	if n := s.spec.Capture.ReconnectNumbers; n > 0 && c.RetryIn < 0 && (c.Cause == CauseUnreachable || c.Cause == CauseLost || c.Cause == CauseSilent) {
		c.What += fmt.Sprintf("; given up after %d tries", n)
		c.Hint = "reconnect-numbers = 0 tries for ever; a change of the stream's capture keys tries again"
	}
	switch c.Cause {
	case CauseChanged:
	case CauseSilent:
		s.setState(StateSilent, c.What, c.Hint)
	case CauseRefused, CauseSettings, CauseUnsupported, CauseNotFound:
		s.setState(StateRefused, c.What, c.Hint)
	case CauseStopped:
		s.setState(StateOff, c.What, c.Hint)
	default:
		s.setState(StateLost, c.What, c.Hint)
	}
}

// Stats implements Sink.
func (k *sink) Stats(st Stats) {
	s := (*Stream)(k)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.Driver = st
	s.watchClock()
}

// watchClock raises and clears camera.clock: a camera more than two seconds
// off is recorded at the right time all the same, but somebody should know.
func (s *Stream) watchClock() {
	if s.cur == nil {
		return
	}
	off, ok := s.cur.clock.CameraOffset()
	switch far := ok && (off > 2*time.Second || off < -2*time.Second); {
	case far && !s.clockOn:
		s.clockOn = true
		s.notify("camera.clock", "warning", fmt.Sprintf("the camera's clock differs from the server's by %v", off.Round(time.Millisecond)),
			map[string]any{"offset_ms": off.Milliseconds(), "raised": true})
	case ok && !far && s.clockOn:
		s.clockOn = false
		s.notify("camera.clock", "info", "the camera's clock agrees again", map[string]any{"raised": false})
	}
}
