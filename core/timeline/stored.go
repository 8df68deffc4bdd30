package timeline

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// stored reads the frames of what lies in archive and memory, a part at a time.
type stored struct {
	t    *Timeline
	uid  string
	read *Read

	segs  []archive.Segment // listed and not begun
	cur   archive.Segment
	began bool
	given int        // fragments of cur
	done  bool       // cur has no more
	over  bool       // nothing more is wanted
	skip  media.Wall // frames of the first segment before this key frame are left out

	init  archive.InitID
	known []media.Track
	ends  map[int]int64 // where the next sample of each track of the run is expected, ticks; backward: where the segment read before begins
	hole  bool          // with Keys: footage is missing between the key frame given last and the next
	cut   bool          // a memory ring has dropped what came next: pictures are left out until a key frame
	buf   []byte
}

// listSpan is how much of a long range is listed at a time.
const listSpan = time.Hour

// forEver is the end of ranges without one.
const forEver = media.Wall(1<<63 - 1)

// newest begins with the newest group of pictures.
func (s *stored) newest() error {
	segs, err := s.t.Last(s.uid, 1)
	if err != nil {
		return err
	}
	i := len(segs) - 1
	for i > 0 && !segs[i].Independent {
		i--
	}
	if i < 0 {
		return ErrNoFootage
	}
	s.segs = segs[i:]
	s.read.From = segs[i].Span.From
	if last, ok := s.t.Newest(s.uid); ok {
		s.read.From = max(s.read.From, last) // the last key frame of them
	}
	return nil
}

// begin finds what the range begins with.
func (s *stored) begin() error {
	if s.read.Backward {
		return s.beginBackward()
	}
	b, ok := s.t.Bounds(s.uid)
	if !ok || s.read.From >= b.To && !s.waits() {
		return ErrNoFootage
	}
	to := s.read.To
	if to == 0 {
		to = forEver
	}
	for at, span := max(s.read.From, b.From), listSpan; at < min(to, b.To); span *= 2 {
		segs, err := s.t.Segments(s.uid, media.Span{From: at, To: min(at.Add(span), to)})
		if err != nil {
			return err
		}
		if len(segs) > 0 {
			if i, ok := s.before(segs[0]); ok { // it does not begin with a key frame
				segs = append([]archive.Segment{i}, segs...)
			}
			s.segs = segs
			return nil
		}
		at = at.Add(span)
	}
	if s.waits() {
		return s.newest()
	}
	return ErrNoFootage
}

// waits: the range reaches into the future.
func (s *stored) waits() bool { return s.read.To == 0 || s.read.To > media.WallOf(time.Now()) }

// before finds the segment with the key frame that one without needs.
func (s *stored) before(seg archive.Segment) (archive.Segment, bool) {
	if seg.Independent {
		return seg, false
	}
	segs, err := s.t.Segments(s.uid, media.Span{From: seg.Span.From - media.Wall(time.Minute), To: seg.Span.From})
	if err != nil {
		return seg, false
	}
	for i := len(segs) - 1; i >= 0; i-- {
		if g := segs[i]; g.Independent && g.Run == seg.Run && g.Zero == seg.Zero && g.Number < seg.Number {
			return g, true
		}
	}
	return seg, false
}

// next gives the frames of the next part in the order of decoding; they are valid
// until it is called again. io.EOF: there is no more, now.
func (s *stored) next() ([]media.Frame, error) {
	if s.read.Backward {
		return s.nextBackward()
	}
	for {
		if !s.began || s.done {
			if err := s.advance(); s.movedOn(err) {
				continue
			} else if err != nil {
				return nil, err
			}
		}
		given := s.given
		frames, err := s.part()
		if s.movedOn(err) {
			continue
		} else if err != nil {
			return nil, err
		}
		if len(frames) > 0 {
			return frames, nil
		}
		if !s.done && s.given == given { // a part may lie before the beginning as a whole
			return nil, io.EOF
		}
	}
}

// movedOn tells of an error that says that a memory ring has dropped the current segment,
// or is that of another capture now: what comes next is listed anew.
func (s *stored) movedOn(err error) bool {
	gone := errors.Is(err, archive.ErrGone) && s.began && s.cur.File >= RingFiles
	s.done, s.cut = s.done || gone, s.cut || gone
	return gone
}

// advance goes to the next segment.
func (s *stored) advance() error {
	if len(s.segs) == 0 {
		if err := s.more(); err != nil {
			return err
		}
	}
	if len(s.segs) == 0 {
		return io.EOF
	}
	seg := s.segs[0]
	if s.read.To != 0 && seg.Span.From >= s.read.To {
		s.over = true
		return io.EOF
	}
	s.segs = s.segs[1:]
	if !s.began || seg.Run != s.cur.Run || seg.Zero != s.cur.Zero {
		s.ends = map[int]int64{}
	}
	first := !s.began
	s.cur, s.began, s.given, s.done = seg, true, 0, false
	s.skip = 0
	if first {
		return s.seek()
	}
	return nil
}

// more lists what comes behind the segment that was read last.
func (s *stored) more() error {
	b, ok := s.t.Bounds(s.uid)
	if !ok {
		return nil
	}
	end := forEver
	if s.read.To != 0 {
		end = s.read.To
	}
	from := s.cur.Span.From
	for span := listSpan; ; span *= 4 {
		to := min(from.Add(span), end)
		if span > 1<<60 || to < from {
			to = end
		}
		segs, err := s.t.Segments(s.uid, media.Span{From: from, To: to})
		if err != nil {
			return err
		}
		segs = slices.Clone(segs)
		if i := slices.IndexFunc(segs, func(g archive.Segment) bool { return g.File == s.cur.File && g.Number == s.cur.Number }); i >= 0 {
			segs = segs[i+1:]
		} else { // it was deleted, or moved from memory to a file
			segs = slices.DeleteFunc(segs, func(g archive.Segment) bool { return g.Number <= s.cur.Number && g.Span.From <= from })
		}
		if s.segs = segs; len(segs) > 0 || to >= b.To || to >= end {
			return nil
		}
	}
}

// layout finds the current segment in its file.
func (s *stored) layout() (*archive.Layout, *archive.SegmentLayout, error) {
	l, err := s.t.Layout(s.uid, s.cur.File)
	if err != nil {
		return nil, nil, err
	}
	for i := range l.Segments {
		if l.Segments[i].Number == s.cur.Number {
			if s.known == nil || s.init != l.Init {
				tracks, err := s.t.Tracks(s.uid, s.cur.Init)
				if err != nil && s.cur.File >= RingFiles { // another ring is there since
					err = fmt.Errorf("%w: %w", archive.ErrGone, err)
				}
				if err != nil {
					return nil, nil, err
				}
				s.init, s.known = l.Init, tracks
			}
			return l, &l.Segments[i], nil
		}
	}
	return nil, nil, archive.ErrGone
}

func (s *stored) scale(track int) uint32 {
	for i := range s.known {
		if s.known[i].ID == track {
			return s.known[i].Timescale
		}
	}
	return 0
}

// seek finds the last key frame at or before the beginning of the range in the
// segment that it begins with.
func (s *stored) seek() error {
	l, sl, err := s.layout()
	if err != nil {
		return err
	}
	if !slices.ContainsFunc(s.known, func(t media.Track) bool { return t.Kind() == media.Video }) {
		s.skip = s.read.From
		return nil
	}
	for _, f := range l.Fragments[sl.First:sl.Last] {
		if kindOf(s.known, f.Track) != media.Video {
			continue
		}
		at := f.BaseTime
		for _, x := range f.Samples {
			dts := l.Zero.Add(media.DurationOf(at, s.scale(f.Track)))
			pts := l.Zero.Add(media.DurationOf(at+int64(x.CTO), s.scale(f.Track)))
			if x.Key && (s.skip == 0 || pts <= s.read.From) {
				s.skip = dts
			}
			at += int64(x.Duration)
		}
	}
	return nil
}

// part reads the next part of the current segment.
func (s *stored) part() ([]media.Frame, error) {
	l, sl, err := s.layout()
	if err != nil {
		return nil, err
	}
	if s.given >= sl.Last-sl.First && !sl.Complete && !l.Complete && len(s.segs) == 0 {
		if err := s.more(); err != nil {
			return nil, err
		}
		if l, sl, err = s.layout(); err != nil { // behind the list: another segment means that this one is whole
			return nil, err
		}
	}
	frs := l.Fragments[sl.First:sl.Last]
	if s.given >= len(frs) {
		s.done = sl.Complete || l.Complete || len(s.segs) > 0
		return nil, nil
	}
	if s.read.Keys && (sl.Complete || l.Complete) && s.given == 0 {
		s.given, s.done = len(frs), true
		return s.keys(l, frs)
	}
	n := s.given
	for n < len(frs) && frs[n].Part == frs[s.given].Part {
		n++
	}
	frs = frs[s.given:n]
	frames, err := s.load(l, frs)
	if err != nil {
		return nil, err
	}
	s.given = n
	return frames, nil
}

// load reads fragments of a file.
func (s *stored) load(l *archive.Layout, frs []archive.Fragment) ([]media.Frame, error) {
	total := int64(0)
	for i := range frs {
		total += frs[i].DataSize
	}
	if int64(cap(s.buf)) < total {
		s.buf = make([]byte, total)
	}
	f, err := s.t.Pin(s.uid, l.File)
	if err != nil {
		return nil, err
	}
	defer f.Release()
	var out []media.Frame
	at := int64(0)
	for i := range frs {
		fr := &frs[i]
		b := s.buf[at : at+fr.DataSize : at+fr.DataSize]
		at += fr.DataSize
		if n, err := f.ReadAt(b, fr.DataOffset); n < len(b) {
			if err == nil {
				err = io.ErrUnexpectedEOF
			}
			return nil, fmt.Errorf("read a part of %s: %w", s.uid, err)
		}
		if out, err = s.frames(out, l, fr, b); err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b media.Frame) int { return cmp.Compare(a.DTS, b.DTS) })
	return out, nil
}

// brokenBy is how much later than expected a sample comes where some are missing.
const brokenBy = 200 * time.Millisecond

// frames takes a fragment apart.
func (s *stored) frames(out []media.Frame, l *archive.Layout, fr *archive.Fragment, b []byte) ([]media.Frame, error) {
	scale := s.scale(fr.Track)
	if scale == 0 {
		return out, nil // of a track that its init does not name
	}
	kind := kindOf(s.known, fr.Track)
	ticks := fr.BaseTime
	for i := range fr.Samples {
		x := &fr.Samples[i]
		if int(x.Size) > len(b) {
			return nil, fmt.Errorf("a sample table of %s names more bytes than there are: %w", s.uid, io.ErrUnexpectedEOF)
		}
		dts := l.Zero.Add(media.DurationOf(ticks, scale))
		end, known := s.ends[fr.Track]
		brk := known && kind != media.Data && media.DurationOf(ticks-end, scale) > brokenBy
		undecodable := false
		switch {
		case kind != media.Video:
		case s.read.Keys:
			s.hole = s.hole || brk
			if brk = s.hole && x.Key; brk {
				s.hole = false
			}
		case s.cut:
			brk, undecodable, s.cut = x.Key, !x.Key, !x.Key
		}
		if !undecodable && dts >= s.skip && (s.read.To == 0 || dts < s.read.To) {
			out = append(out, media.Frame{
				Tracks: s.known, Run: l.Run, Zero: l.Zero, Track: fr.Track, DTS: dts,
				PTS: l.Zero.Add(media.DurationOf(ticks+int64(x.CTO), scale)), Dur: media.DurationOf(int64(x.Duration), scale),
				Key: x.Key, Break: brk, Payload: b[:x.Size:x.Size],
			})
		}
		b = b[x.Size:]
		ticks += int64(x.Duration)
		s.ends[fr.Track] = ticks
	}
	return out, nil
}
