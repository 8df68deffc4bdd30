package timeline

import (
	"fmt"
	"io"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Key frames from an instant towards the past, a segment at a time.

func (s *stored) beginBackward() error {
	b, ok := s.t.Bounds(s.uid)
	if !ok || s.read.From < b.From {
		return ErrNoFootage
	}
	s.cur.Span.From = min(s.read.From, b.To) + 1
	s.read.To = max(s.read.To, b.From)
	s.ends = map[int]int64{}
	return s.lessBackward()
}

// lessBackward lists what lies before the segment that was read last.
func (s *stored) lessBackward() error {
	for span, at := listSpan, s.cur.Span.From; at > s.read.To; span *= 2 {
		from := max(at.Add(-span), s.read.To)
		segs, err := s.t.Segments(s.uid, media.Span{From: from, To: at})
		if err != nil {
			return err
		}
		segs = slices.DeleteFunc(slices.Clone(segs), func(g archive.Segment) bool {
			return g.Span.From >= at || s.began && g.File == s.cur.File && g.Number == s.cur.Number
		})
		if len(segs) > 0 {
			slices.SortStableFunc(segs, func(a, b archive.Segment) int { return int(time.Duration(b.Span.From - a.Span.From)) })
			s.segs = segs
			return nil
		}
		at = from
	}
	if !s.began {
		return ErrNoFootage
	}
	return nil
}

func (s *stored) nextBackward() ([]media.Frame, error) {
	for {
		if len(s.segs) == 0 && s.began {
			if err := s.lessBackward(); err != nil {
				return nil, err
			}
		}
		if len(s.segs) == 0 {
			s.over = true
			return nil, io.EOF
		}
		s.cur, s.segs, s.began = s.segs[0], s.segs[1:], true
		later, hole := s.ends, s.hole
		s.ends, s.hole = map[int]int64{}, false
		frames, frs, err := s.currentKeys()
		if s.movedOn(err) { // what is left lies before it
			s.ends, s.hole, s.segs = later, true, nil
			continue
		} else if err != nil {
			return nil, err
		}
		s.turn(frames, frs, later, hole)
		if len(frames) > 0 {
			return frames, nil
		}
	}
}

// currentKeys reads the key frames of the current segment; frs are its fragments.
func (s *stored) currentKeys() (frames []media.Frame, frs []archive.Fragment, err error) {
	l, sl, err := s.layout()
	if err != nil {
		return nil, nil, err
	}
	frs = l.Fragments[sl.First:sl.Last]
	frames, err = s.keys(l, frs)
	return frames, frs, err
}

// turn brings the key frames of a segment into the order of reading backward, in which
// a break stands behind a hole and not in front of it. later is where the segment
// that was read before begins; hole: some is missing in it before its first key frame.
func (s *stored) turn(frames []media.Frame, frs []archive.Fragment, later map[int]int64, hole bool) {
	hole = hole || s.hole
	for track, begin := range later {
		end, known := s.ends[track]
		hole = hole || known && media.DurationOf(begin-end, s.scale(track)) > brokenBy
	}
	slices.Reverse(frames)
	for i := range frames {
		frames[i].Break, hole = hole, frames[i].Break
	}
	s.hole = hole
	clear(s.ends)
	for i := range frs {
		if _, ok := s.ends[frs[i].Track]; !ok && kindOf(s.known, frs[i].Track) == media.Video {
			s.ends[frs[i].Track] = frs[i].BaseTime
		}
	}
}

// keys reads the key frames among fragments of a file, and only their bytes.
func (s *stored) keys(l *archive.Layout, frs []archive.Fragment) (out []media.Frame, err error) {
	f, err := s.t.Pin(s.uid, l.File)
	if err != nil {
		return nil, err
	}
	defer f.Release()
	for i := range frs {
		fr := &frs[i]
		if kindOf(s.known, fr.Track) != media.Video {
			continue
		}
		scale := s.scale(fr.Track)
		ticks, off := fr.BaseTime, fr.DataOffset
		if end, ok := s.ends[fr.Track]; ok && media.DurationOf(ticks-end, scale) > brokenBy {
			s.hole = true
		}
		for _, x := range fr.Samples {
			k := media.Frame{Tracks: s.known, Run: l.Run, Zero: l.Zero, Track: fr.Track,
				PTS: l.Zero.Add(media.DurationOf(ticks+int64(x.CTO), scale)),
				DTS: l.Zero.Add(media.DurationOf(ticks, scale)), Dur: media.DurationOf(int64(x.Duration), scale), Key: true}
			if x.Key && s.wants(&k) {
				k.Payload = make([]byte, x.Size)
				if n, err := f.ReadAt(k.Payload, off); n < len(k.Payload) {
					return nil, fmt.Errorf("read a key frame of %s: %w", s.uid, err)
				}
				k.Break, s.hole = s.hole, false
				out = append(out, k)
			}
			ticks += int64(x.Duration)
			off += int64(x.Size)
		}
		s.ends[fr.Track] = ticks
	}
	return out, nil
}

// wants tells whether a key frame is in the range.
func (s *stored) wants(k *media.Frame) bool {
	if s.read.Backward {
		return k.PTS <= s.read.From && k.PTS >= s.read.To
	}
	return k.DTS >= s.skip && (s.read.To == 0 || k.DTS < s.read.To)
}
