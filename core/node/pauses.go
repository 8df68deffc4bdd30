package node

import (
	"slices"

	"media-server/core/media"
)

// pause is a time at which a stream was not to be recorded, or had no file. The
// archive knows how footage ended, and not when somebody wanted it again: when a
// stream that was off for a month is switched on and its camera is not there,
// only what is missing since then counts.
type pause struct {
	From int64 `json:"from_ms"`
	To   int64 `json:"to_ms,omitempty"` // 0 = it goes on
}

// isRemoved tells whether a stream has no file. One that is refused has one: what is
// missing of it then nobody wanted to be missing. A folder that cannot be read says
// nothing.
func (s *Settings) isRemoved(uid string) bool {
	return s.listed && s.Streams[uid] == nil && s.Refused[uid] == nil
}

// mostPauses is how many of a stream are remembered: the newest.
const mostPauses = 200

// paused tells whether the last pause goes on.
func paused(ps []pause) bool { return len(ps) > 0 && ps[len(ps)-1].To == 0 }

// turn begins a pause, or ends the one that goes on (is: the stream is recorded
// from now on). Where footage ends tells better since when nothing was recorded
// than a streams.json that a backup has brought back.
func turn(ps []pause, is bool, now, lastEnd int64) []pause {
	ps = slices.Clone(ps) // readers have the old one
	if !is {
		return append(ps[max(0, len(ps)-mostPauses+1):], pause{From: now})
	}
	p := &ps[len(ps)-1]
	if p.From, p.To = max(p.From, lastEnd), now; p.From >= p.To {
		ps = ps[:len(ps)-1]
	}
	return ps
}

// pauses lists the times at which a stream was not to be recorded, in order.
func (k *knownStreams) pauses(uid string) (out []media.Span) {
	v, _ := k.get(uid)
	for _, p := range v.Pauses {
		s := media.Span{From: media.WallMilli(p.From), To: 1<<63 - 1} // goes on, also where the clock was ahead once
		if p.To != 0 {
			s.To = media.WallMilli(p.To)
		}
		out = append(out, s)
	}
	return out
}

// since is when a stream was to be recorded from, without a pause since; 0 = it is
// not known, or it is not to be.
func (k *knownStreams) since(uid string) media.Wall {
	v, ok := k.get(uid)
	switch {
	case !ok || v.Added == 0 || paused(v.Pauses):
		return 0
	case len(v.Pauses) > 0:
		return media.WallMilli(v.Pauses[len(v.Pauses)-1].To)
	}
	return media.WallMilli(v.Added)
}
