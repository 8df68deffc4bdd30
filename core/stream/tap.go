package stream

import (
	"bytes"
	"context"
	"errors"
	"maps"
	"sync"

	"media-server/core/media"
	"media-server/core/mux"
)

// Bounds of what waits for one viewer: a few seconds of a fast camera. A viewer that
// is further behind loses whole groups of pictures.
const (
	tapBytes  = 16 << 20
	tapFrames = 2048
)

// ErrTapClosed: the stream was stopped or changed, or the tap was closed.
var ErrTapClosed = errors.New("the capture has ended")

// Tap gives the units of a capture one by one as they come, each with the time it is
// stored with, to one viewer. Next is called by one goroutine; the rest is safe for
// concurrent use.
type Tap struct {
	s *Stream

	mu      sync.Mutex
	queue   []*media.Frame
	bytes   int
	first   map[int]media.Wall // decode time of the first unit of each track
	began   bool
	run     media.RunID // whose they are, and of which time map
	zero    media.Wall
	skips   bool // until the next key frame of the pictures
	closed  bool
	dropped uint64
	wake    chan struct{}
}

// Tap begins to give units. While there is a tap the driver delivers each unit at
// once. False: the stream was stopped.
func (s *Stream) Tap() (*Tap, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return nil, false
	}
	t := &Tap{s: s, first: map[int]media.Wall{}, wake: make(chan struct{}, 1)}
	s.taps = append(s.taps, t)
	if len(s.taps) == 1 && s.session != nil {
		s.session.SetDelivery(true)
	}
	return t, true
}

// Watched tells whether there is a tap.
func (s *Stream) Watched() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.taps) > 0
}

// Close ends the tap.
func (t *Tap) Close() {
	t.s.mu.Lock()
	for i, x := range t.s.taps {
		if x == t {
			t.s.taps = append(t.s.taps[:i:i], t.s.taps[i+1:]...)
			if len(t.s.taps) == 0 && t.s.session != nil {
				t.s.session.SetDelivery(false)
			}
			break
		}
	}
	t.s.mu.Unlock()
	t.end()
}

func (t *Tap) end() {
	t.mu.Lock()
	t.closed, t.queue, t.bytes = true, nil, 0
	t.mu.Unlock()
	t.signal()
}

func (t *Tap) signal() {
	select {
	case t.wake <- struct{}{}:
	default:
	}
}

// Next waits for a unit. It is valid for as long as anybody likes. The error is
// ErrTapClosed or that of ctx.
func (t *Tap) Next(ctx context.Context) (*media.Frame, error) {
	for {
		if f, err := t.TryNext(); f != nil || err != nil {
			return f, err
		}
		select {
		case <-t.wake:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// TryNext gives a unit that waits, or nil.
func (t *Tap) TryNext() (*media.Frame, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return nil, ErrTapClosed
	}
	if len(t.queue) == 0 {
		return nil, nil
	}
	f := t.queue[0]
	t.queue[0] = nil
	t.queue = t.queue[1:]
	t.bytes -= len(f.Payload)
	return f, nil
}

// Began tells the run and zero of the first unit given, and the decode time of the
// first unit of each of its tracks so far; nil = none came yet.
func (t *Tap) Began() (run media.RunID, zero media.Wall, first map[int]media.Wall) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if !t.began {
		return run, 0, nil
	}
	return t.run, t.zero, maps.Clone(t.first)
}

// Dropped counts the units that the viewer was too slow for.
func (t *Tap) Dropped() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.dropped
}

func (t *Tap) put(f *media.Frame) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return
	}
	if !t.began {
		t.began, t.run, t.zero = true, f.Run, f.Zero
	}
	if _, has := t.first[f.Track]; !has && f.Follows(t.run, t.zero) {
		t.first[f.Track] = f.DTS
	}
	room := t.bytes+len(f.Payload) <= tapBytes && len(t.queue) < tapFrames
	video := false
	for i := range f.Tracks {
		video = video || f.Tracks[i].Kind() == media.Video
	}
	if t.skips && room && f.Key && (!video || f.Of().Kind() == media.Video) {
		t.skips = false
		c := *f
		c.Break = true
		f = &c
	}
	if t.skips || !room {
		t.skips = true
		t.dropped++
		return
	}
	t.queue = append(t.queue, f)
	t.bytes += len(f.Payload)
	t.signal()
}

// feed gives a unit that was written to those who watch. It is copied once for all.
func (s *Stream) feed(r *run, u *media.AccessUnit, ev *mux.Event) {
	if len(s.taps) == 0 {
		return
	}
	t := r.track(u.Track)
	wall := func(ticks int64) media.Wall { return r.zero.Add(media.DurationOf(ticks, t.Timescale)) }
	f := &media.Frame{
		Tracks: r.inFile, Run: r.id, Zero: r.zero, Track: u.Track, PTS: wall(ev.DTS + int64(ev.CTO)), DTS: wall(ev.DTS),
		Key: ev.Key, Break: t.jumped || !r.fed, Payload: bytes.Clone(u.Payload),
	}
	r.fed = true
	for _, tap := range s.taps {
		tap.put(f)
	}
}

// endTaps tells those who watch that nothing comes any more.
func (s *Stream) endTaps() {
	for _, t := range s.taps {
		t.end()
	}
	s.taps = nil
}
