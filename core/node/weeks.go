package node

import (
	"slices"
	"time"

	"media-server/core/media"
	"media-server/core/schedule"
	"media-server/core/stream"
)

// week is the weekly schedule of a stream from a moment on. What was missing by an
// earlier one stays missing when it is changed: a camera that was lost on a Tuesday
// was missed, though nothing is recorded on Tuesdays since.
type week struct {
	From int64  `json:"from_ms,omitempty"`  // 0 = since ever
	Text string `json:"schedule,omitempty"` // as dvr-schedule; "" = recorded all the time
	Zone string `json:"zone,omitempty"`     // whose clock it goes by
}

// mostWeeks is how many of a stream are remembered: the newest.
const mostWeeks = 200

// weekOf is the schedule that a stream's settings put in force.
func weekOf(c *stream.Config, zone *time.Location) week {
	if w := c.Modes(zone).Week; w != nil {
		return week{Text: w.String(), Zone: zone.String()}
	}
	return week{}
}

// follow adds the schedule in force from now (Unix ms) on, if it is another one. The
// first that is known counts for all time before. What is noted of later times was so
// by a clock that was ahead, if it is not far from now; by one that is behind, as it
// is where it is set only after the start, the schedule counts from the end of the
// footage on.
func follow(ws []week, w week, now int64, lastEnd func() int64) []week {
	if len(ws) == 0 {
		return []week{w}
	}
	const far = 48 * 3600 * 1000
	if last := ws[len(ws)-1]; (last.From <= now || last.From > now+far && lastEnd() > now) && last.Text == w.Text && last.Zone == w.Zone {
		return ws
	}
	w.From = max(now, lastEnd())
	ws = slices.DeleteFunc(slices.Clone(ws), func(x week) bool { return x.From >= w.From && x.From > 0 }) // readers have the old one
	if last := ws[len(ws)-1]; last.Text == w.Text && last.Zone == w.Zone {
		return ws
	}
	ws = append(ws[max(0, len(ws)-mostWeeks+1):], w)
	ws[0].From = 0
	return ws
}

// hours lists the times in s at which by schedules, in order of time, nothing was to
// be recorded (off), and those at which only events were. A zone that is not known
// here any more is taken to be now.
func hours(ws []week, s media.Span, now *time.Location) (off, event []media.Span) {
	for i, x := range ws {
		in := media.Span{From: media.WallMilli(x.From), To: s.To}
		if x.From == 0 {
			in.From = s.From
		}
		if i+1 < len(ws) {
			in.To = media.WallMilli(ws[i+1].From)
		}
		if in = in.Intersect(s); in.Empty() || x.Text == "" {
			continue
		}
		w, err := schedule.Parse(x.Text)
		if err != nil {
			continue // of a later version
		}
		zone := now
		if x.Zone != now.String() {
			if z, err := time.LoadLocation(x.Zone); err == nil {
				zone = z
			}
		}
		for at := in.From; at < in.To; {
			t, end := at.Time().In(zone), in.To
			if next := w.Next(t); !next.IsZero() {
				end = min(end, media.WallOf(next))
			}
			switch sp := (media.Span{From: at, To: end}); w.At(t) {
			case schedule.Off:
				off = append(off, sp)
			case schedule.Event:
				event = append(event, sp)
			}
			at = end
		}
	}
	return off, event
}
