package hls

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// Init writes the init segment named init-<id>.mp4, with a mark where it has one:
// the tracks HLS can carry.
func (s *Server) Init(uid, name string) ([]byte, error) {
	name, f := cutForm(name, ".mp4")
	hex, ok := strings.CutPrefix(strings.TrimSuffix(name, ".mp4"), "init-")
	id, err := strconv.ParseUint(hex, 16, 64)
	if !ok || err != nil {
		return nil, ErrNotFound
	}
	tracks, err := s.src.Tracks(uid, archive.InitID(id))
	if err != nil {
		return nil, ErrNotFound
	}
	in, out := f.carried(tracks)
	if len(in) == 0 {
		return nil, fmt.Errorf("%w: the stream has %s", ErrCodec, strings.Join(out, ", "))
	}
	return mux.FileInit(in, mux.FileInfo{FLAC: f == soundAsFLAC})
}

// dateSlack is how far sound may begin from the pictures it was recorded with.
const dateSlack = time.Second

// emptySegment answers for gap segments: a styp box alone, which every player
// takes for a segment without samples.
var emptySegment = []byte("\x00\x00\x00\x18stypmsdh\x00\x00\x00\x00msdhmsix")

// seen leaves entries out that share no time with a span.
func seen(es []entry, within media.Span) []entry {
	if within == (media.Span{}) {
		return es
	}
	for len(es) > 0 && es[0].to <= within.From {
		es = es[1:]
	}
	for len(es) > 0 && es[len(es)-1].from >= within.To {
		es = es[:len(es)-1]
	}
	return es
}

// Segment plans the bytes of the segment called name. final: they will never
// be others. The error is ErrOutside for one that shares no time with within.
func (s *Server) Segment(uid, name string, within media.Span) (body *timeline.Body, final bool, err error) {
	name, ts := cutTS(name)
	name, f := cutForm(name, ".m4s")
	name, key := cutMark(name, keyOnly, ".m4s")
	from, number, part, gap, ok := parseName(name)
	if !ok {
		return nil, false, ErrNotFound
	}
	body = new(timeline.Body)
	nothing, add := emptySegment, s.addSegment
	if ts {
		nothing, add = mux.TSNull(), s.addTS
	}
	if gap {
		body.Add(nothing)
		return body, true, nil
	}
	// Names of before were those of the date, which is that of the sound where no
	// picture is carried; the number says which one is meant.
	segs, err := s.src.Segments(uid, media.Span{From: from - media.Wall(dateSlack), To: from + media.Wall(dateSlack)})
	if err != nil {
		return nil, false, err
	}
	segs = slices.DeleteFunc(slices.Clone(segs), func(x archive.Segment) bool { return x.Number != number })
	if len(segs) > 0 && within != (media.Span{}) && !slices.ContainsFunc(segs, func(x archive.Segment) bool { return x.Span.Overlaps(within) }) {
		return nil, false, ErrOutside
	}
	if ts && (key || part >= 0) {
		return nil, false, ErrNotFound
	}
	if key {
		if len(segs) == 0 {
			return nil, false, ErrNotFound
		}
		if err := s.keyFrame(uid, segs[0], body); err != nil {
			body.Release()
			return nil, false, err
		}
		return body, segs[0].Complete, nil // of one that grows the length is not known yet
	}
	// A segment in two files: the second begins where the first ends, so look on.
	if n := len(segs); n > 0 {
		if more, err := s.src.Segments(uid, media.Span{From: segs[n-1].Span.To, To: segs[n-1].Span.To + 1}); err == nil {
			for _, m := range more {
				if m.Number == number && m.File != segs[n-1].File {
					segs = append(segs, m)
				}
			}
		}
	}
	found := false
	if part >= 0 {
		if segs, err = s.ofPart(uid, segs, part); err != nil {
			return nil, false, err
		}
	}
	for _, seg := range segs {
		if err := add(uid, seg, f, part, body); err != nil {
			body.Release()
			return nil, false, err
		}
		found, final = true, seg.Complete || part >= 0
	}
	if !found {
		return nil, false, ErrNotFound
	}
	if body.Size() == 0 { // groomed, and without a key frame: the one before is shown on
		body.Add(nothing)
	}
	return body, final, nil
}

// addSegment plans a segment, or only one of its parts.
func (s *Server) addSegment(uid string, seg archive.Segment, form form, part int, body *timeline.Body) error {
	tracks, err := s.src.Tracks(uid, seg.Init)
	if err != nil {
		return err
	}
	in, _ := form.carried(tracks)
	lay, err := s.src.Layout(uid, seg.File)
	if err != nil {
		return err
	}
	sl := -1
	for i := range lay.Segments {
		if lay.Segments[i].Number == seg.Number {
			sl = i
		}
	}
	if sl < 0 {
		return ErrNotFound
	}
	f, err := s.src.Pin(uid, seg.File)
	if err != nil {
		return err
	}
	body.Hold(f)
	first, last := lay.Segments[sl].First, lay.Segments[sl].Last
	if part >= 0 {
		n, to := partRange(lay.Fragments[first:last], leading(in), part)
		first, last = first+n, first+to
	}
	for i := first; i < last; i++ {
		fr := &lay.Fragments[i]
		for _, t := range in {
			if t.ID != fr.Track {
				continue
			}
			if err := form.add(body, f, fr, t); err != nil {
				return err
			}
		}
	}
	return nil
}
