package stream

import (
	"media-server/core/archive"
	"media-server/core/media"
)

// ends are where the units of each kind end that were handed on; 0 = not known.
// Tracks of a run do not end together: a picture may be shown for a second while
// the sound beside it has arrived to its end, or only begins to.
type ends [media.Data + 1]media.Wall

// noteEnds takes note of a part of r that was handed on.
func (s *Stream) noteEnds(r *run, p *media.Part) {
	for i := range p.Fragments {
		f := &p.Fragments[i]
		if t := r.track(f.Track); t != nil {
			e := &s.ends[t.Kind()]
			*e = max(*e, r.zero.Add(media.DurationOf(f.BaseTime+f.Duration, t.Timescale)))
		}
	}
}

// resumedEnds takes them from what the archive holds of a run.
func (s *Stream) resumedEnds(res *archive.Resume) {
	var news ends
	for _, t := range res.Tracks {
		for _, x := range res.Expect {
			if x.Track == t.ID {
				news[t.Kind()] = max(news[t.Kind()], res.Zero.Add(media.DurationOf(x.NextTime, t.Timescale)))
			}
		}
	}
	for k, e := range news {
		if e != 0 {
			s.ends[k] = e
		}
	}
}

// covered tells whether there is something else already where a unit of r that is
// no picture lies. Where the first picture of a run lies the clock sees to.
func (s *Stream) covered(r *run, track int, wall media.Wall) bool {
	k := r.track(track).Kind()
	return k != media.Video && r.clock.Covered(wall, r.taken[k])
}
