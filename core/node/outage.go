package node

import (
	"time"

	"media-server/core/archive"
	"media-server/core/inspect"
	"media-server/core/media"
	"media-server/core/stream"
)

// begins is how long a stream that was started may take to say how it stands:
// the drivers of a server that was restarted have kept frames meanwhile.
const begins = 10 * time.Second

// isRecorded tells whether a stream is to be recorded, by its settings.
func (r *running) isRecorded() bool {
	return r != nil && r.set.isRecorded()
}

// One that is captured on demand has no time at which footage has to be there.
func (s *StreamSettings) isRecorded() bool {
	return s.Config.Enable && s.Config.DVR.Enable && !s.Config.OnDemand
}

// goesOn is since when the one that follows r is watched: what has ailed a
// stream that is recorded on is not forgotten over a change of its settings.
func (r *running) goesOn() media.Wall {
	switch {
	case !r.isRecorded():
		return media.WallOf(now())
	case r.str == nil:
		return r.watched
	}
	return max(r.watched, r.str.Status().LastFrame)
}

// hours lists the times in w at which a stream's schedules said that nothing was
// recorded (off), and those at which only events were.
func (b backend) hours(uid string, w media.Span) (off, event []media.Span) {
	k, _ := b.n.known.get(uid)
	ws := k.Weeks
	if r := b.n.streams.get(uid); len(ws) == 0 && r != nil {
		ws = []week{weekOf(&r.set.Config, b.n.zone())}
	}
	return hours(ws, w, b.n.zone())
}

// leftOut gives gaps, in order of time, the cause disabled where the stream was
// not to be recorded, and off_schedule where the schedule of that time says so.
func (b backend) leftOut(uid string, gs []archive.Gap) []archive.Gap {
	if len(gs) == 0 {
		return gs
	}
	w := gs[0].Span
	for _, g := range gs {
		w.To = max(w.To, g.Span.To)
	}
	off, _ := b.hours(uid, w)
	return inspect.OffSchedule(inspect.Disabled(gs, b.n.known.pauses(uid)), off)
}

// tail is what is missing of a stream in w behind from, where its footage and
// what is known to be missing of it end.
func (b backend) tail(uid string, from media.Wall, w media.Span) (out []archive.Gap) {
	r := b.n.streams.get(uid)
	if !r.isRecorded() || w.To <= from {
		return nil
	}
	for _, g := range inspect.Tail(from, b.capture(r, from)) {
		if g.Span = g.Span.Intersect(w); !g.Span.Empty() {
			out = append(out, g)
		}
	}
	return out
}

// capture is how a stream that is to be recorded stands now.
func (b backend) capture(r *running, from media.Wall) inspect.Capture {
	c := inspect.Capture{Now: media.WallOf(now()), Watched: r.watched, Why: r.missingNow()}
	c.Off, c.Event = b.hours(r.set.UID, media.Span{From: from, To: c.Now})
	c.Paused = b.n.known.pauses(r.set.UID)
	if r.str == nil {
		c.Begins = r.waits && now().Sub(b.n.started) < begins
		return c
	}
	st := r.str.Status()
	c.Active, c.GoesOn, c.Newest = st.State == stream.StateActive, st.GoesOn, st.LastFrame
	c.Begins = st.State == stream.StateConnecting && c.Now.Sub(st.Since) < begins
	if st.Refused {
		c.Keeps = max(b.n.boot.Plugins.Buffer, time.Second)
	}
	return c
}

// neverSeen is what a stream without footage misses in w: all since it was added.
func (b backend) neverSeen(uid string, w media.Span) (f inspect.Footage) {
	r := b.n.streams.get(uid)
	k, ok := b.n.known.get(uid)
	if !r.isRecorded() || !ok || k.Added == 0 {
		return f
	}
	f.Life = media.Span{From: media.WallMilli(k.Added), To: media.WallOf(now())}
	if r.str != nil {
		if st := r.str.Status(); st.State == stream.StateActive && f.Life.To.Sub(st.Since) < time.Minute {
			return f // its first footage is on its way
		}
	}
	f.Gaps = b.tail(uid, f.Life.From, w)
	return f
}

// missingNow is why nothing of a stream that is to be recorded is, or was not
// until a moment ago.
func (r *running) missingNow() archive.GapCause {
	switch {
	case r.rec == nil:
		return archive.GapDiskError // its pool cannot be used, or not yet
	case r.str == nil:
		return archive.GapDriver
	}
	st := r.str.Status()
	switch {
	case st.Refused:
		if why := r.rec.Ails(); why != archive.GapNone {
			return why
		}
		return archive.GapDiskError
	case st.Missing != archive.GapNone && st.Missing != archive.GapDisabled && st.Missing != archive.GapOffSchedule:
		return st.Missing
	case st.State == stream.StateSilent:
		return archive.GapCameraSilent
	case st.State == stream.StateActive:
		return archive.GapUnknown
	}
	return archive.GapCameraLost
}

// missing completes the gaps that the archive lists (timeline.Missing).
func (b backend) missing(uid string, w media.Span, gs []archive.Gap) []archive.Gap {
	bounds, ok := b.n.archive.Bounds(uid)
	if !ok {
		return inspect.Missed(b.neverSeen(uid, w).Gaps)
	}
	return append(b.leftOut(uid, gs), inspect.Missed(b.tail(uid, end(bounds, gs), w))...)
}

// end is how far the archive tells what there is of a stream, or why it is
// missing: files that somebody took may have been its last.
func end(bounds media.Span, gs []archive.Gap) media.Wall {
	to := bounds.To
	for _, g := range gs {
		to = max(to, g.Span.To)
	}
	return to
}
