package mux

import (
	"errors"
	"time"

	"media-server/core/media"
)

const (
	joinWithin   = 2 * time.Millisecond
	maxPartBytes = 32 << 20 // of one track: a part is cut before
	noVideoWait  = 10 * time.Second
)

// Writer turns the access units of a run, in the order in which they came,
// into parts. One writer serves one set of track parameters. Not safe for
// concurrent use.
type Writer struct {
	cfg   Config
	start Start
	zero  media.Wall

	tracks  []*track
	primary *track // its clock spans parts and segments: the first video in the file, else audio, else data

	started     bool
	firstUnit   media.Wall // of the run, for the waits at the start
	videoPassed bool       // no key frame came in time: begin without video
	closed      bool

	segment     uint64
	partIndex   int
	segStart    int64 // ns since zero
	independent bool  // the segment starts with a key frame (or needs none)
	shift       int64 // presentation - decode time at the segment's start, ns
	fragments   uint32

	adding   *track // the track of the unit that is being added, and its decode time
	addingAt int64

	early []earlyUnit

	stats Stats
	out   []*media.Part
	clock func() []byte
}

// ErrClosed: the writer was flushed.
var ErrClosed = errors.New("mux: write after flush")

// NewWriter begins at start.
func NewWriter(cfg Config, start Start) *Writer {
	d := Default()
	for _, f := range []struct{ v, d *time.Duration }{{&cfg.PartDuration, &d.PartDuration},
		{&cfg.MinSegment, &d.MinSegment}, {&cfg.MaxSegment, &d.MaxSegment}, {&cfg.Wait, &d.Wait}} {
		if *f.v <= 0 {
			*f.v = *f.d
		}
	}
	w := &Writer{cfg: cfg, start: start, zero: start.Zero, segment: start.Segment,
		partIndex: start.PartIndex, fragments: start.Fragments, independent: true}
	for _, mt := range start.Tracks {
		FillParameters(&mt)
		t := &track{Track: mt, expect: -1, ended: -1, ready: mt.Ready()}
		t.order.depth, _ = reorderDepth(&mt)
		for _, e := range start.Expect {
			if e.Track == mt.ID {
				t.expect, t.next, t.last, t.nextSeq = e.NextTime, e.NextTime, e.LastDuration, e.NextSeq
			}
		}
		w.tracks = append(w.tracks, t)
	}
	if start.Continue && len(start.Tracks) > 0 {
		w.begin()
		if start.SegmentStart != 0 {
			w.segStart = int64(start.SegmentStart.Sub(w.zero))
		}
		if w.primary == nil { // nothing in the file is usable: begin like a new one
			w.started = false
			return w
		}
		w.shift = w.primary.ns(int64(w.primary.order.depth) * int64(w.primary.last))
	}
	return w
}

// Write takes one unit. wall is the server time of its PTS. The payload is
// copied. clockState is asked once a part for the state of the clock map; nil
// is allowed. The parts returned, each with one reference that is now the
// caller's, are in order; the slice is valid until the next call.
func (w *Writer) Write(u media.AccessUnit, wall media.Wall, clockState func() []byte) (parts []*media.Part, ev Event, err error) {
	if w.closed {
		return nil, ev, ErrClosed
	}
	w.out, w.clock = w.out[:0], clockState
	w.stats.Units++
	w.stats.Bytes += uint64(len(u.Payload))
	t := w.track(u.Track)
	if d := w.refuse(t, &u); d != Stored {
		return nil, w.drop(d), nil
	}
	if u.Damaged {
		w.stats.Damaged++
	}
	key := u.Key || t.Kind() != media.Video
	if t.Kind() == media.Video {
		c := inspect(&t.Track, u.Payload)
		if !c.wellFormed {
			return nil, w.drop(DropBadPayload), nil
		}
		key = key || c.key
		if changed := w.parameters(t, &c, key); changed {
			dts, _ := w.place(t, &u, wall)
			t.ended = dts
			ev.Changed = w.wanted()
			return nil, ev, nil
		}
	}
	if !w.started {
		if !w.mayStart(t, key, wall) {
			if t.Kind() == media.Video {
				return nil, w.drop(DropWaiting), nil
			}
			w.keepEarly(&u, wall)
			ev.Kept = true
			return nil, ev, nil
		}
		ev.Started = w.begin()
		wall = w.held(wall)
	}
	if !t.inFile {
		return nil, w.drop(DropNoSet), nil
	}
	t.nextSeq = u.Seq + 1
	ev.Key = key
	ev.DTS, ev.CTO = w.add(t, &u, wall, key)
	ev.Joined = w.addEarly(wall)
	return w.out, ev, nil
}

func (w *Writer) refuse(t *track, u *media.AccessUnit) Drop {
	switch {
	case t == nil:
		return DropNoTrack
	case len(u.Payload) == 0:
		return DropEmpty
	case len(u.Payload) > MaxUnit:
		return DropTooBig
	case u.Seq < t.nextSeq:
		return DropDuplicate
	}
	return Stored
}

func (w *Writer) drop(d Drop) Event {
	w.stats.Dropped[d]++
	return Event{Dropped: d}
}

func (w *Writer) track(id int) *track {
	for _, t := range w.tracks {
		if t.ID == id {
			return t
		}
	}
	return nil
}

// parameters compares what a unit carries with what is known. true: the file
// cannot go on with it.
func (w *Writer) parameters(t *track, c *contents, key bool) (changed bool) {
	news := c.vps != nil || c.sps != nil || c.pps != nil ||
		c.width > 0 && (c.width != t.Width || c.height != t.Height)
	late := w.started && !t.inFile && key && (t.ready || news)
	if !news {
		return late
	}
	if w.started && t.inFile && !key {
		return false // sets ahead of a key frame: that one brings them again, or decides
	}
	if w.started && t.inFile && c.width > 0 && t.Width == 0 {
		t.Width, t.Height = c.width, c.height // MJPEG of a resumed file that never knew
		return false
	}
	for _, s := range []struct {
		have *[]byte
		got  []byte
	}{{&t.VPS, c.vps}, {&t.SPS, c.sps}, {&t.PPS, c.pps}} {
		if s.got != nil {
			*s.have = append([]byte(nil), s.got...)
		}
	}
	if c.width > 0 {
		t.Width, t.Height = c.width, c.height
	}
	FillParameters(&t.Track)
	t.ready = t.Track.Ready()
	if !w.started {
		t.order.depth, _ = reorderDepth(&t.Track)
	}
	return w.started && t.ready && key
}

// wanted lists all tracks as they are known now.
func (w *Writer) wanted() []media.Track {
	all := make([]media.Track, len(w.tracks))
	for i, t := range w.tracks {
		all[i] = t.Track
	}
	return all
}

// mayStart decides whether the file begins with this unit.
func (w *Writer) mayStart(t *track, key bool, wall media.Wall) bool {
	if w.firstUnit == 0 {
		w.firstUnit = wall
	}
	waited := wall.Sub(w.firstUnit)
	allReady, video := true, false
	for _, o := range w.tracks {
		allReady = allReady && o.ready
		video = video || o.Kind() == media.Video
	}
	if !allReady && waited < w.cfg.Wait {
		return false
	}
	if video && t.Kind() == media.Video {
		return t.ready && key
	}
	if video && waited < noVideoWait {
		return false
	}
	w.videoPassed = video
	return t.ready
}

// held asks whether what begins with the unit at wall has to begin later, and
// moves what was kept of the sound beside it along.
func (w *Writer) held(wall media.Wall) media.Wall {
	if w.start.Hold == nil {
		return wall
	}
	later := w.start.Hold(wall)
	for i := range w.early {
		w.early[i].wall = w.early[i].wall.Add(later)
	}
	return wall.Add(later)
}

// begin fixes which tracks the file has.
func (w *Writer) begin() []media.Track {
	w.started = true
	var in []media.Track
	for _, t := range w.tracks {
		t.inFile = t.ready && !(w.videoPassed && t.Kind() == media.Video)
		if t.inFile {
			in = append(in, t.Track)
			if w.primary == nil || t.Kind() < w.primary.Kind() {
				w.primary = t
			}
		}
	}
	w.segStart = -1
	return in
}

// Stats returns the counters.
func (w *Writer) Stats() Stats { return w.stats }
