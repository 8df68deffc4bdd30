package stream

import (
	"bytes"
	"errors"
	"fmt"
	"slices"

	"media-server/core/archive"
	"media-server/core/clock"
	"media-server/core/media"
	"media-server/core/mux"
)

// run is one capture session as this core sees it.
type run struct {
	id     media.RunID
	tracks []runTrack
	clock  *clock.Map
	state  []byte // scratch for the map's state

	// Until the map has settled, units wait here with payloads of their own.
	pending []media.AccessUnit
	firstAt media.Wall

	// While no key frame comes: what had been received two to four seconds
	// ago, and at waitedAt.
	waited, waitedNext media.RunPosition
	waitedAt           media.Wall

	writer  *mux.Writer
	taken   ends          // by what had been handed on when the writer was made
	started bool          // the writer's file has begun
	fed     bool          // somebody watched a unit of it
	inFile  []media.Track // what it carries
	zero    media.Wall
	resumed bool
	holeWhy archive.GapCause // why units may be missing where it was resumed

	// The server's clock was set then (CLOCK_BOOTTIME); the next key frame begins
	// by the new one. 0 = it was not.
	set int64
}

type runTrack struct {
	media.Track
	next   uint64 // first sequence number not yet taken
	seen   bool
	jumped bool       // units before the next one are lost
	last   media.Wall // presentation time of the newest unit stored; 0 = none yet
	from   media.Wall // what lies before is not stored: a core before this one has refused it

	newest   media.Wall // arrival of the newest unit
	badSince media.Wall // none was stored since; 0 = the newest was
	badWhy   mux.Drop
}

func newRun(o Opened, cfg clock.Config) *run {
	r := &run{id: o.Run}
	for _, t := range o.Tracks {
		rt := runTrack{Track: t}
		for _, f := range o.First {
			if f.Track == t.ID {
				rt.next = f.Next
			}
		}
		r.tracks = append(r.tracks, rt)
	}
	r.restart(cfg)
	return r
}

// restart begins another time map; the writer of the old one has been flushed.
func (r *run) restart(cfg clock.Config) {
	r.clock = clock.New(cfg)
	for i := range r.tracks {
		r.clock.Track(r.tracks[i].ID, r.tracks[i].Timescale)
	}
	for i := range r.tracks {
		r.tracks[i].from = 0
	}
	r.writer, r.started, r.fed, r.resumed, r.pending, r.firstAt, r.set = nil, false, false, false, nil, 0, 0
}

func (r *run) track(id int) *runTrack {
	for i := range r.tracks {
		if r.tracks[i].ID == id {
			return &r.tracks[i]
		}
	}
	return nil
}

func (r *run) position() media.RunPosition {
	p := media.RunPosition{Run: r.id, Tracks: make([]media.Position, 0, len(r.tracks))}
	for i := range r.tracks {
		p.Tracks = append(p.Tracks, media.Position{Track: r.tracks[i].ID, Next: r.tracks[i].next})
	}
	return p
}

// notInFile lists the tracks that the file does not carry, with how far they
// were received: nobody will store them, so nobody need keep them.
func (r *run) notInFile() (out []media.Position) {
	if !r.started {
		return nil
	}
	for i := range r.tracks {
		in := false
		for j := range r.inFile {
			in = in || r.inFile[j].ID == r.tracks[i].ID
		}
		if !in {
			out = append(out, media.Position{Track: r.tracks[i].ID, Next: r.tracks[i].next})
		}
	}
	return out
}

func (r *run) hold(u *media.AccessUnit) {
	c := *u
	c.Payload = bytes.Clone(u.Payload)
	if len(r.pending) == 0 {
		r.firstAt = u.Received
	}
	r.pending = append(r.pending, c)
}

func (r *run) plainTracks() []media.Track {
	out := make([]media.Track, len(r.tracks))
	for i := range r.tracks {
		out[i] = r.tracks[i].Track
	}
	return out
}

// settle makes the writer and writes what has been waiting.
func (s *Stream) settle(r *run) error {
	first := media.Wall(0)
	for i := range r.pending {
		u := &r.pending[i]
		if w := r.clock.Wall(u.Track, u.PTS); w != 0 && (first == 0 || w < first) {
			first = w
		}
	}
	if first == 0 {
		return nil
	}
	r.zero, r.taken = mux.Zero(first), s.ends
	seg, disc := s.nextSegment(first)
	r.writer = mux.NewWriter(s.muxConfig(), mux.Start{
		Run: r.id, Zero: r.zero, Tracks: r.plainTracks(), Segment: seg, Discontinuity: disc,
		Hold: r.clock.Start, Covered: func(track int, wall media.Wall) bool { return s.covered(r, track, wall) },
	})
	held := r.pending
	r.pending = nil
	for i := range held {
		if err := s.write(r, &held[i]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Stream) muxConfig() mux.Config {
	c := mux.Default()
	c.Epoch, c.Chain = s.dep.Epoch, s.dep.Chain
	return c
}

// nextSegment numbers the first segment of a run that starts at first, leaving
// numbers free for the hole before it.
func (s *Stream) nextSegment(first media.Wall) (segment, discontinuity uint64) {
	n := s.nextNumbers()
	segment, discontinuity = n.Segment, n.Discontinuity
	if end, ok := s.lastEnd(); ok {
		return segment + media.GapSegments(first.Sub(end)), discontinuity + 1
	}
	return segment, discontinuity
}

// restore goes on where the archive ends, if o is the run that it holds.
func (s *Stream) restore(o Opened) bool {
	res := s.resume
	var st clock.State
	if err := st.UnmarshalBinary(res.Clock); err != nil {
		s.dep.Log.Warn("the time map of a recording cannot be read; a new run begins", "stream", s.spec.Capture.UID, "err", err)
		return false
	}
	r := newRun(o, clock.Config{})
	for i := range r.tracks {
		t := &r.tracks[i]
		held := res.Positions.Next(t.ID)
		t.jumped = t.next > held // the driver had to drop what came after
		t.next, t.seen, t.last = max(held, t.next), true, res.LastEnd
		if held == 0 && t.Kind() != media.Video {
			// A driver keeps the newest unit of each track until it is stored, and
			// that of a silent metadata track came before the run's first picture.
			t.from = res.SegmentStart
		}
	}
	r.holeWhy = s.resumeWhy
	r.clock = clock.Restore(clock.Config{}, st)
	for i := range r.tracks {
		r.clock.Track(r.tracks[i].ID, r.tracks[i].Timescale)
	}
	start := mux.Start{
		Run: r.id, Zero: res.Zero, Tracks: res.Tracks, Segment: res.Segment, Discontinuity: res.Discontinuity,
		PartIndex: res.PartIndex, Continue: true,
	}
	start.Expect = res.Expect
	start.SegmentStart, start.Fragments = res.SegmentStart, res.Fragments
	if s.gate != nil { // it was being recorded when it was left
		s.gate.on, s.status.Recording = true, true
		s.gate.last, s.gate.any = res.Segment, true
	}
	if err := s.begin(r.id, res.Zero, res.Tracks); err != nil {
		s.dep.Log.Warn("a recording cannot be continued; a new run begins", "stream", s.spec.Capture.UID, "err", err)
		return false
	}
	s.handed = media.RunPosition{Run: r.id, Tracks: slices.Clone(res.Positions.Tracks)}
	r.zero, r.started, r.resumed, r.inFile = res.Zero, true, true, res.Tracks
	r.writer = mux.NewWriter(s.muxConfig(), start)
	s.cur = r
	return true
}

// write gives one unit to the writer and passes on the parts that come out.
func (s *Stream) write(r *run, u *media.AccessUnit) error {
	for attempt := 0; ; attempt++ {
		wall := r.clock.Wall(u.Track, u.PTS)
		if wall == 0 {
			s.status.Odd++
			return nil
		}
		if wall < r.track(u.Track).from || r.started && s.covered(r, u.Track, wall) {
			s.count(mux.DropWaiting)
			return nil
		}
		parts, ev, err := r.writer.Write(*u, wall, func() []byte {
			r.state = r.clock.AppendState(r.state[:0])
			return r.state
		})
		if err != nil {
			releaseParts(parts)
			return fmt.Errorf("mux: %w", err)
		}
		if ev.Started != nil {
			if err := s.begin(r.id, r.zero, ev.Started); err != nil {
				releaseParts(parts)
				return err
			}
			r.started, r.inFile = true, ev.Started
			wall = r.clock.Wall(u.Track, u.PTS) // the run may have been moved
			s.status.Tracks = ev.Started
		}
		if err := s.deliver(r, parts); err != nil {
			return err
		}
		if ev.Changed == nil || attempt > 0 {
			s.count(ev.Dropped)
			if t := r.track(u.Track); ev.Dropped == mux.DropWaiting && !r.resumed && t.last == 0 {
				r.clock.Forget(u.Track) // of the track nothing is stored yet
			}
			if !ev.Kept {
				r.track(u.Track).refused(ev.Dropped, u.Received)
			}
			if ev.Dropped == mux.Stored && !ev.Kept {
				s.feed(r, u, &ev)
			}
			if ev.Dropped == mux.Stored {
				s.noteHole(r, u.Track, wall)
			}
			return nil
		}
		if err := s.deliver(r, r.writer.Flush()); err != nil {
			return err
		}
		s.notify("stream.parameters", "info", "the camera changed its coding parameters", nil)
		r.writer = mux.NewWriter(s.muxConfig(), r.writer.Next(ev.Changed))
		r.started = false
	}
}

// noteHole tells the recorder of units that are lost inside the run, once the
// unit behind them has its time.
func (s *Stream) noteHole(r *run, track int, wall media.Wall) {
	t := r.track(track)
	if t.jumped && t.last != 0 && wall > t.last && s.dep.Recorder != nil && (s.gate == nil || s.gate.on) {
		s.dep.Recorder.Gap(media.Span{From: t.last, To: wall}, r.holeWhy)
	}
	if t.jumped {
		t.jumped, r.holeWhy = false, archive.GapNone
	}
	t.last = max(t.last, wall)
}

func (s *Stream) count(d mux.Drop) {
	switch d {
	case mux.Stored:
	case mux.DropWaiting, mux.DropNoSet:
		s.status.Waiting++
	case mux.DropDuplicate:
		s.status.Duplicates++
	default:
		s.status.Odd++
	}
}

func (s *Stream) begin(id media.RunID, zero media.Wall, tracks []media.Track) error {
	if s.ring != nil {
		s.ring.begin(id, zero, tracks)
		if s.gate == nil || !s.gate.on {
			if s.lost == archive.GapClockSet {
				s.lost = archive.GapNone // nothing is recorded now
			}
			return nil
		}
	}
	why := s.lost
	s.before = why
	if err := s.dep.Recorder.Begin(id, zero, tracks, why); err != nil {
		return err
	}
	s.lost = archive.GapNone
	return nil
}

// deliver hands parts on and releases them. The first refusal ends it: what
// follows a missing part must come again, behind it.
func (s *Stream) deliver(r *run, parts []*media.Part) error {
	defer releaseParts(parts)
	for _, p := range parts {
		if s.gate != nil {
			if err := s.pass(p); err != nil {
				return err
			}
			s.noteEnds(r, p)
			continue
		}
		if s.ring != nil {
			s.ring.add(p)
			s.noteEnds(r, p)
			continue
		}
		if err := s.dep.Recorder.Append(p); err != nil {
			return err
		}
		s.hand(p)
		s.noteEnds(r, p)
		s.behindTold = false
	}
	return nil
}

// noRoom tells whether a part was refused for now: storage is behind, or no
// space of the pool can be written to. The driver keeps what was refused.
func noRoom(err error) bool {
	return errors.Is(err, archive.ErrBehind) || errors.Is(err, archive.ErrNoSpace)
}

func releaseParts(parts []*media.Part) {
	for _, p := range parts {
		p.Release()
	}
}

// flush writes what the writer still holds.
func (s *Stream) flush(r *run) error {
	if r.writer == nil {
		if len(r.pending) == 0 {
			return nil
		}
		if err := s.settle(r); err != nil || r.writer == nil {
			return err
		}
	}
	return s.deliver(r, r.writer.Flush())
}

// endRun ends the current run, if any: everything held is stored. When storage
// is behind just then it returns false and the stream falls behind: the
// driver still has what was not stored, and the end of the run with it.
func (s *Stream) endRun(c Cause) bool {
	r := s.cur
	s.cur = nil
	if r == nil {
		return true
	}
	err := s.flush(r)
	if noRoom(err) {
		s.fallBehind()
		return false
	}
	if err != nil {
		s.dep.Log.Warn("the end of a run could not be stored", "stream", s.spec.Capture.UID, "err", err)
	}
	if s.dep.Recorder != nil && (s.gate == nil || s.gate.on) {
		s.lost = gapCause(c)
		s.dep.Recorder.End(s.lost)
	}
	s.leftOut.Store(nil)
	return true
}
