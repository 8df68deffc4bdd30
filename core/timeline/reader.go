package timeline

import (
	"context"
	"errors"
	"io"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Frame is what a Reader gives.
type Frame = media.Frame

// Read says what to read of a stream, frame by frame.
type Read struct {
	From media.Wall // begin with the last key frame at or before; where nothing is, with the first behind
	To   media.Wall // what is decoded then or later is left out; 0 = none: goes on live, and waits

	Live     bool // From is ignored: begin with the newest group of pictures, and go on live
	Keys     bool // key frames of the pictures alone
	Backward bool // key frames from the one at or before From towards the past, until To, which is the earlier
}

// Tap is the live end of a stream's capture, unit by unit.
type Tap interface {
	TryNext() (*media.Frame, error)
	Next(ctx context.Context) (*media.Frame, error)
	Began() (run media.RunID, zero media.Wall, first map[int]media.Wall)
	Close()
}

// Live tells how to watch a stream's capture; nil = it has none now.
type Live func(uid string) Tap

// Follow makes Frames go on with what l gives. Call it before the timeline is used.
func (t *Timeline) Follow(l Live) { t.live = l }

// Reader gives the frames of one stream in the order of decoding, from archive,
// memory and the running capture alike:
//
//	stored segments ─part by part─▶ ┐
//	                                ├▶ Next        joined where the newest part reaches
//	tap of the capture ─by unit───▶ ┘              the first unit that the tap gave
//
// One goroutine uses a Reader. It holds a stored part at a time in memory, and what
// waits in its tap.
type Reader struct {
	t   *Timeline
	uid string
	o   Read

	list stored
	out  []media.Frame // read and not given yet
	tap  Tap
	on   bool // the tap is what is read
	stop func()
	move <-chan struct{} // the live edge has moved
	idle time.Time       // since when nothing more is stored; zero = more is

	last   map[int]media.Wall // decode time of the newest frame given, by track
	run    media.RunID
	zero   media.Wall
	broken bool // the next frame does not follow the one before
}

// Frames begins to read. The error wraps ErrNoFootage where there is nothing to
// begin with; one who waits for what will come finds it there as well.
func (t *Timeline) Frames(uid string, o Read) (*Reader, error) {
	r := &Reader{t: t, uid: uid, o: o, last: map[int]media.Wall{}, broken: true}
	r.list = stored{t: t, uid: uid, read: &r.o}
	var err error
	if o.Live {
		r.o.To, err = 0, r.list.newest()
	} else {
		err = r.list.begin()
	}
	if err != nil {
		return nil, err
	}
	if r.o.To == 0 || !o.Backward && r.o.To > media.WallOf(time.Now()) {
		r.move, r.stop = t.Watch(uid)
	}
	return r, nil
}

// Close ends the reading.
func (r *Reader) Close() {
	if r.tap != nil {
		r.tap.Close()
		r.tap = nil
	}
	if r.stop != nil {
		r.stop()
		r.stop = nil
	}
	r.out = nil
}

// Next gives the next frame; its payload is valid until Next is called again. The
// error is io.EOF at the end of the range, that of ctx, or why footage cannot be
// read (archive.ErrGone: it was deleted meanwhile).
func (r *Reader) Next(ctx context.Context) (*media.Frame, error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		f, err := r.one(ctx)
		if err != nil {
			return nil, err
		}
		if f == nil || r.o.Keys && (!f.Key || f.Of().Kind() != media.Video) {
			continue
		}
		if !f.Follows(r.run, r.zero) {
			r.run, r.zero, r.broken = f.Run, f.Zero, true
			clear(r.last)
		}
		r.last[f.Track] = f.DTS
		f.Break = f.Break || r.broken
		r.broken = false
		return f, nil
	}
}

// one gives a frame, or nil where something else has to be looked at first.
func (r *Reader) one(ctx context.Context) (*media.Frame, error) {
	if len(r.out) > 0 {
		f := &r.out[0]
		r.out = r.out[1:]
		if f.Follows(r.run, r.zero) && r.last[f.Track] != 0 && f.DTS <= r.last[f.Track] && !r.o.Backward {
			return nil, nil // given before
		}
		return f, nil
	}
	if r.on {
		return r.fromTap(ctx)
	}
	frames, err := r.list.next()
	switch {
	case err != nil && !errors.Is(err, io.EOF):
		return nil, err
	case err == nil:
		r.out, r.idle = frames, time.Time{}
	case r.stop == nil || r.list.over:
		return nil, io.EOF
	default:
		if r.tap == nil && r.t.live != nil {
			if tap := r.t.live(r.uid); tap != nil {
				r.tap = tap
			}
		}
		if r.joined() {
			return nil, nil
		}
		return nil, r.wait(ctx)
	}
	return nil, nil
}

// joinWithin is how long what the capture gave is waited for in what is stored:
// longer than a part. A storage that hangs must not keep anybody from watching.
const joinWithin = 2 * time.Second

// joined goes over to the tap if what is stored reaches it.
func (r *Reader) joined() bool {
	if r.tap == nil {
		return false
	}
	run, zero, first := r.tap.Began()
	if first == nil {
		return false
	}
	reached := run == r.run && zero == r.zero
	for id, at := range first {
		if kindOf(r.list.known, id) != media.Data && r.last[id] < at {
			reached = false
		}
	}
	if !reached {
		if r.idle.IsZero() || time.Since(r.idle) < joinWithin {
			return false
		}
		r.broken = true
	}
	r.on = true
	return true
}

func kindOf(tracks []media.Track, id int) media.Kind {
	for i := range tracks {
		if tracks[i].ID == id {
			return tracks[i].Kind()
		}
	}
	return media.Data
}

// fromTap gives the next unit of the capture that was not given already.
func (r *Reader) fromTap(ctx context.Context) (*media.Frame, error) {
	until := ctx
	if r.o.To != 0 {
		late, cancel := context.WithDeadline(ctx, r.o.To.Time().Add(lateAtMost))
		defer cancel()
		until = late
	}
	f, err := r.tap.Next(until)
	switch {
	case err == nil:
		return r.taken(f)
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case until.Err() != nil:
		return nil, io.EOF
	}
	r.leave()
	return nil, nil //nolint:nilerr // that is no fault
}

// leave goes back from a tap that has ended to what is stored, where it was: the capture
// begins anew with other settings, or was stopped.
func (r *Reader) leave() {
	r.tap.Close()
	r.tap, r.on, r.idle = nil, false, time.Time{}
	for _, at := range r.last {
		r.o.From = max(r.o.From, at)
	}
	r.list = stored{t: r.t, uid: r.uid, read: &r.o, cur: archive.Segment{Span: media.Span{From: r.o.From}}}
	if r.move != nil {
		r.stop()
		r.move, r.stop = r.t.Watch(r.uid) // of the ring that is now
	}
}

// lateAtMost is how long behind the end of a range its last frame may come.
const lateAtMost = 3 * time.Second

func (r *Reader) taken(f *media.Frame) (*media.Frame, error) {
	first := f.Track == primary(f.Tracks)
	switch same := f.Follows(r.run, r.zero); {
	case same && r.last[f.Track] != 0 && f.DTS <= r.last[f.Track]:
		return nil, nil // stored, and given
	case r.o.To != 0 && f.DTS >= r.o.To && first:
		return nil, io.EOF
	case r.o.To != 0 && f.DTS >= r.o.To:
		return nil, nil
	case (!same || r.broken) && !(f.Key && first): // until there is something to begin with
		r.broken = true
		return nil, nil
	}
	c := *f
	return &c, nil
}

// primary is the track whose time counts: the first with pictures, else the first.
func primary(tracks []media.Track) int {
	for i := range tracks {
		if tracks[i].Kind() == media.Video {
			return tracks[i].ID
		}
	}
	if len(tracks) == 0 {
		return 0
	}
	return tracks[0].ID
}

// wait waits until more may be there.
func (r *Reader) wait(ctx context.Context) error {
	if r.idle.IsZero() {
		r.idle = time.Now()
	}
	t := time.NewTimer(250 * time.Millisecond)
	defer t.Stop()
	select {
	case <-r.move:
	case <-t.C:
	case <-ctx.Done():
		return ctx.Err()
	}
	if r.o.To != 0 && time.Now().After(r.o.To.Time().Add(lateAtMost)) {
		r.list.over = true
	}
	return nil
}
