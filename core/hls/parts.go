package hls

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Low latency (RFC 8216bis 4.4.3.7, 4.4.4.9, 6.2.5): the newest segments of a live
// playlist are listed by their parts as well, half a second each, also those of the
// segment that grows; a player waits for the next one with a request that is answered
// when it is there.
//
//	…  seg 7          seg 8          grows
//	   EXT-X-PART×4   EXT-X-PART×4   EXT-X-PART×2  PRELOAD-HINT 9.2
//	                                 ▲ _HLS_msn=9&_HLS_part=2 waits for it

// partMost is the longest part (mux.Config). Below two frames a second one would have to
// be longer, and there are none. What EXT-X-PART-INF says is the longest that is listed,
// in hundredths of a second: all but the last of a segment have to have 85 % of it, and
// at five frames a second none is longer than 0.4 s.
const (
	partMost = 500 * time.Millisecond
	partStep = media.Wall(10 * time.Millisecond)
)

// partSegments is how many whole segments are listed by their parts: those that a
// player may begin in, three parts behind the edge, and what it missed meanwhile.
const partSegments = 2

// skipWithin is how near to the edge entries are never skipped: six target durations.
const skipWithin = 60 * time.Second

// part is a part of a segment as a playlist shows it. Parts that have nothing of the
// leading track, sound of a moment whose pictures come later, are served with the next
// that has; at the end of a segment they stand for themselves.
type part struct {
	from, index int // Fragment.Part: the first and the last that are served under its name
	length      media.Wall
	independent bool
}

// partsOf lists the parts of a segment by what HLS carries of it. whole: no part will
// be added.
func (s *Server) partsOf(uid string, seg *archive.Segment, whole bool) ([]part, error) {
	tracks, err := s.src.Tracks(uid, seg.Init)
	if err != nil {
		return nil, err
	}
	in, _ := Carried(tracks)
	lead := leading(in)
	if lead == nil {
		return nil, nil
	}
	l, err := s.src.Layout(uid, seg.File)
	if err != nil {
		return nil, err
	}
	for i := range l.Segments {
		if sl := &l.Segments[i]; sl.Number == seg.Number {
			return partsIn(l.Fragments[sl.First:sl.Last], lead, whole), nil
		}
	}
	return nil, nil
}

func partsIn(frs []archive.Fragment, lead *media.Track, whole bool) (out []part) {
	open := part{from: -1}
	led := false
	end := func() {
		if open.from >= 0 && led {
			out = append(out, open)
			open, led = part{from: -1}, false
		}
	}
	for i := range frs {
		f := &frs[i]
		if open.from >= 0 && f.Part != open.index {
			end()
		}
		if open.from < 0 {
			open.from = f.Part
		}
		open.index = f.Part
		if f.Track != lead.ID || len(f.Samples) == 0 {
			continue
		}
		led = true
		open.length += media.Wall(media.DurationOf(f.Duration, lead.Timescale))
		open.independent = open.independent || lead.Kind() != media.Video || f.Samples[0].Key
	}
	end()
	if whole && open.from >= 0 {
		open.length = media.Wall(time.Millisecond)
		out = append(out, open)
	}
	return out
}

// partRange finds the fragments that are served as a part: its own, and those before of
// parts without the leading track.
func partRange(frs []archive.Fragment, lead *media.Track, part int) (from, to int) {
	for to < len(frs) && frs[to].Part <= part {
		to++
	}
	from = to
	for from > 0 && frs[from-1].Part == part {
		from--
	}
	for from > 0 {
		n, led := from-1, false
		for n >= 0 && frs[n].Part == frs[from-1].Part {
			led = led || lead != nil && frs[n].Track == lead.ID && len(frs[n].Samples) > 0
			n--
		}
		if led {
			break
		}
		from = n + 1
	}
	return from, to
}

// ErrNotYet: the part is not there, and may come.
var ErrNotYet = errors.New("this part is not there yet")

// ofPart finds in which of the files of a segment a part is.
func (s *Server) ofPart(uid string, segs []archive.Segment, part int) ([]archive.Segment, error) {
	open := false
	for i := range segs {
		l, err := s.src.Layout(uid, segs[i].File)
		if err != nil {
			return nil, err
		}
		for k := range l.Segments {
			sl := &l.Segments[k]
			if sl.Number != segs[i].Number || sl.First == sl.Last {
				continue
			}
			if l.Fragments[sl.First].Part <= part && part <= l.Fragments[sl.Last-1].Part {
				return segs[i : i+1], nil
			}
			open = open || !sl.Complete && !l.Complete
		}
	}
	if open {
		return nil, ErrNotYet
	}
	return nil, ErrNotFound
}

// ErrAhead: a player waits for what is further ahead than it may (RFC 8216bis 6.2.5.2).
var ErrAhead = errors.New("what is waited for is too far ahead")

// Ready tells whether the live playlist has segment msn, or its part; part -1 = all of
// the segment.
func (s *Server) Ready(uid string, msn uint64, part int) (bool, error) {
	segs, err := s.src.Last(uid, 1)
	if err != nil {
		return false, err
	}
	if len(segs) == 0 {
		return false, ErrNoFootage
	}
	newest := &segs[len(segs)-1]
	switch {
	case newest.Complete && newest.Number >= msn || newest.Number > msn:
		return true, nil
	case msn > newest.Number+media.MaxGapSegments+2:
		return false, ErrAhead
	case newest.Number < msn || part < 0:
		return false, nil
	}
	ps, err := s.partsOf(uid, newest, false)
	return len(ps) > 0 && ps[len(ps)-1].index >= part, err
}

// leading is the track whose time a playlist goes by: pictures, or else sound.
func leading(in []media.Track) *media.Track {
	for i := range in {
		if in[i].Kind() == media.Video {
			return &in[i]
		}
	}
	if len(in) == 0 {
		return nil
	}
	return &in[0]
}

// edge is the live end of a playlist in parts.
type edge struct {
	parts map[uint64][]part // by segment number
	open  *entry            // the segment that grows; nil = none does

	report string     // EXT-X-RENDITION-REPORT of the other rendition
	most   media.Wall // the longest part
}

// edgeOf lists the parts of the newest segments; grows is the one that is written.
func (s *Server) edgeOf(uid string, segs []archive.Segment, grows bool) (*edge, error) {
	e := &edge{parts: map[uint64][]part{}}
	whole := 0
	for i := len(segs) - 1; i >= 0 && whole < partSegments; i-- {
		seg := &segs[i]
		open := grows && i == len(segs)-1
		ps, err := s.partsOf(uid, seg, !open)
		if err != nil {
			return nil, err
		}
		for k := range ps {
			e.most = max(e.most, ps[k].length)
		}
		e.parts[seg.Number] = append(ps, e.parts[seg.Number]...) // a segment may go on in a second file
		if open {
			e.open = &entry{number: seg.Number, discontinuity: seg.Discontinuity, from: seg.Span.From, to: seg.Span.To, stored: seg.Span.From, init: seg.Init, run: seg.Run}
		} else {
			whole++
		}
	}
	return e, nil
}

// slow tells that a part is longer than parts may be: the playlist has none.
func (e *edge) slow() bool { return e.most > media.Wall(partMost+time.Millisecond) }

// target is PART-TARGET.
func (e *edge) target() media.Wall {
	return min(max((e.most+partStep-1)/partStep*partStep, 10*partStep), media.Wall(partMost))
}

// reportOf tells how far another rendition is (RFC 8216bis 4.4.5.4), so that a player
// that changes to it need not load its list in vain; nothing if it is away.
func (s *Server) reportOf(v *Variant, carry string) string {
	segs, err := s.src.Last(v.Req.UID, 1)
	if err != nil || len(segs) == 0 {
		return ""
	}
	newest := &segs[len(segs)-1]
	ps, err := s.partsOf(v.Req.UID, newest, newest.Complete)
	if err != nil || len(ps) == 0 {
		return ""
	}
	return fmt.Sprintf("#EXT-X-RENDITION-REPORT:URI=\"%s%s\",LAST-MSN=%d,LAST-PART=%d\n", v.URI, carry, newest.Number, ps[len(ps)-1].index)
}

// writeParts adds the parts of an entry.
func (e *entry) writeParts(b *bytes.Buffer, ps []part, mark, carry string) {
	for i := range ps {
		p := &ps[i]
		b.WriteString("#EXT-X-PART:DURATION=")
		b.Write(appendSeconds(b.AvailableBuffer(), p.length))
		b.WriteString(",URI=\"")
		e.writePartName(b, p.index, mark, carry)
		b.WriteByte('"')
		if p.independent {
			b.WriteString(",INDEPENDENT=YES")
		}
		b.WriteByte('\n')
	}
}

func (e *entry) writePartName(b *bytes.Buffer, index int, mark, carry string) {
	b.Write(strconv.AppendInt(b.AvailableBuffer(), e.stored.Milli(), 10))
	b.WriteByte('-')
	b.Write(strconv.AppendUint(b.AvailableBuffer(), e.number, 10))
	b.WriteByte('.')
	b.Write(strconv.AppendInt(b.AvailableBuffer(), int64(index), 10))
	b.WriteString(mark)
	b.WriteString(".m4s")
	b.WriteString(carry)
}
