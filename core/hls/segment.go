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

// planKey is what the plan of a segment depends on.
type planKey struct {
	uid    string
	name   segmentName
	within media.Span
}

// segmentName is the name of a segment taken apart: numbers are written in more than one way.
type segmentName struct {
	from    media.Wall
	number  uint64
	part    int // -1 = all of it
	form    form
	key, ts bool
}

// plan is where the bytes of a segment come from. What is converted is read and made
// for each viewer; all else leaves as it lies.
type plan struct {
	final  bool // they will never be others
	pieces []piece
	made   func(body *timeline.Body) error // in place of pieces
}

// piece is a run of bytes of a stored file.
type piece struct {
	file  archive.FileID
	at, n int64
}

// Segment plans the bytes of the segment called name. final: they will never
// be others. The error is ErrOutside for one that shares no time with within.
func (s *Server) Segment(uid, name string, within media.Span) (body *timeline.Body, final bool, err error) {
	var n segmentName
	name, n.ts = cutTS(name)
	name, n.form = cutForm(name, ".m4s")
	name, n.key = cutMark(name, keyOnly, ".m4s")
	from, number, part, gap, ok := parseName(name)
	if n.from, n.number, n.part = from, number, part; !ok || !gap && n.ts && (n.key || part >= 0) {
		return nil, false, ErrNotFound
	}
	body = new(timeline.Body)
	nothing := emptySegment
	if n.ts {
		nothing = mux.TSNull()
	}
	if gap {
		body.Add(nothing)
		return body, true, nil
	}
	p, err := s.plans.get(planKey{uid, n, within},
		func() stamps { return stamps{s.src.Stamp(uid)} },
		func() (plan, error) { return s.plan(uid, n, within) })
	if err != nil {
		return nil, false, err
	}
	if p.made != nil {
		err = p.made(body)
	} else {
		err = s.hold(uid, p.pieces, body)
	}
	if err != nil {
		body.Release()
		return nil, false, err
	}
	if body.Size() == 0 { // groomed, and without a key frame: the one before is shown on
		body.Add(nothing)
	}
	return body, p.final, nil
}

// hold makes a body of pieces; it keeps their files.
func (s *Server) hold(uid string, pieces []piece, body *timeline.Body) error {
	var f timeline.File
	var id archive.FileID
	for _, p := range pieces {
		if f == nil || p.file != id {
			var err error
			if f, err = s.src.Pin(uid, p.file); err != nil {
				return err
			}
			id = p.file
			body.Hold(f)
		}
		body.AddFile(f, p.at, p.n)
	}
	return nil
}

// plan finds a segment by its name.
func (s *Server) plan(uid string, n segmentName, within media.Span) (p plan, err error) {
	// Names of before were those of the date, which is that of the sound where no
	// picture is carried; the number says which one is meant.
	segs, err := s.src.Segments(uid, media.Span{From: n.from - media.Wall(dateSlack), To: n.from + media.Wall(dateSlack)})
	if err != nil {
		return p, err
	}
	segs = slices.DeleteFunc(slices.Clone(segs), func(x archive.Segment) bool { return x.Number != n.number })
	if len(segs) > 0 && within != (media.Span{}) && !slices.ContainsFunc(segs, func(x archive.Segment) bool { return x.Span.Overlaps(within) }) {
		return p, ErrOutside
	}
	if len(segs) == 0 {
		return p, ErrNotFound
	}
	if n.key {
		p.final = segs[0].Complete // of one that grows the length is not known yet
		p.made = func(body *timeline.Body) error { return s.keyFrame(uid, segs[0], body) }
		return p, nil
	}
	// A segment in two files: the second begins where the first ends, so look on.
	last := segs[len(segs)-1]
	more, err := s.src.Segments(uid, media.Span{From: last.Span.To, To: last.Span.To + 1})
	if err != nil {
		return p, err
	}
	for _, m := range more {
		if m.Number == n.number && m.File != last.File {
			segs = append(segs, m)
		}
	}
	if n.part >= 0 {
		if segs, err = s.ofPart(uid, segs, n.part); err != nil {
			return p, err
		}
	}
	if len(segs) == 0 {
		return p, ErrNotFound
	}
	p.final = n.part >= 0 || segs[len(segs)-1].Complete
	add := s.addSegment
	if n.ts {
		add = s.addTS
	} else if converted, err := s.converted(uid, segs, n.form); err != nil {
		return p, err
	} else if !converted {
		for i := range segs {
			if p.pieces, err = s.pieces(p.pieces, uid, &segs[i], n.form, n.part); err != nil {
				return p, err
			}
		}
		return p, nil
	}
	p.made = func(body *timeline.Body) error {
		for _, seg := range segs {
			if err := add(uid, seg, n.form, n.part, body); err != nil {
				return err
			}
		}
		return nil
	}
	return p, nil
}

// converted tells whether something of segments is converted in a form.
func (s *Server) converted(uid string, segs []archive.Segment, form form) (bool, error) {
	if form != soundAsFLAC {
		return false, nil
	}
	for i := range segs {
		tracks, err := s.src.Tracks(uid, segs[i].Init)
		if err != nil || converts(tracks) {
			return true, err
		}
	}
	return false, nil
}

// stretch is where a segment, or one of its parts, lies in its file, and which tracks of
// it are carried.
type stretch struct {
	lay   *archive.Layout
	frags []archive.Fragment
	in    []media.Track
}

func (s *Server) stretch(uid string, seg *archive.Segment, form form, part int) (x stretch, err error) {
	tracks, err := s.src.Tracks(uid, seg.Init)
	if err != nil {
		return x, err
	}
	x.in, _ = form.carried(tracks)
	if x.lay, err = s.src.Layout(uid, seg.File); err != nil {
		return x, err
	}
	k := slices.IndexFunc(x.lay.Segments, func(l archive.SegmentLayout) bool { return l.Number == seg.Number })
	if k < 0 {
		return x, ErrNotFound
	}
	x.frags = x.lay.Fragments[x.lay.Segments[k].First:x.lay.Segments[k].Last]
	if part >= 0 {
		from, to := partRange(x.frags, leading(x.in), part)
		x.frags = x.frags[from:to]
	}
	return x, nil
}

// pieces appends those of a segment, or only of one of its parts. Where all that is
// recorded is carried they are one: the box of ours before each fragment, some dozen bytes
// that players pass over (ISO/IEC 14496-12 4.2), costs less than sending around it.
func (s *Server) pieces(out []piece, uid string, seg *archive.Segment, form form, part int) ([]piece, error) {
	x, err := s.stretch(uid, seg, form, part)
	if err != nil {
		return out, err
	}
	for i := range x.frags {
		fr := &x.frags[i]
		if !slices.ContainsFunc(x.in, func(t media.Track) bool { return t.ID == fr.Track }) {
			continue
		}
		if n := len(out); n > 0 && x.lay.Encryption == nil {
			if last := &out[n-1]; last.file == seg.File && last.at+last.n == fr.Offset {
				last.n = fr.End() - last.at
				continue
			}
		}
		out = append(out, piece{seg.File, fr.MoofOffset, fr.End() - fr.MoofOffset})
	}
	return out, nil
}

// addSegment makes a segment, or only one of its parts, of which something is converted.
func (s *Server) addSegment(uid string, seg archive.Segment, form form, part int, body *timeline.Body) error {
	x, err := s.stretch(uid, &seg, form, part)
	if err != nil {
		return err
	}
	f, err := s.src.Pin(uid, seg.File)
	if err != nil {
		return err
	}
	body.Hold(f)
	for i := range x.frags {
		fr := &x.frags[i]
		for _, t := range x.in {
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
