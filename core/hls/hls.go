package hls

import (
	"bytes"
	"errors"
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
)

// Errors that the web side turns into answers.
var (
	// ErrNoFootage: nothing is there in the asked span.
	ErrNoFootage = timeline.ErrNoFootage
	// ErrNotFound: no such segment or init, or it has been deleted.
	ErrNotFound = errors.New("no such segment")
	// ErrOutside: the segment is of another time than may be played.
	ErrOutside = errors.New("the segment is of another time than may be played")
	// ErrTooLong: the range has more segments than a playlist may list.
	ErrTooLong = errors.New("the range is too long for one playlist")
	// ErrCodec: footage is there, but nothing of it that HLS can carry.
	ErrCodec = errors.New("no track that HLS can carry")
	// ErrTooLarge: MPEG-TS is made in memory, and this would be too much of it.
	ErrTooLarge = errors.New("the segment is too large for MPEG-TS")
	// ErrBusy: too much MPEG-TS is on its way to viewers.
	ErrBusy = errors.New("too many viewers read MPEG-TS")
)

// Source is what this room needs of the timeline.
type Source interface {
	Segments(uid string, s media.Span) ([]archive.Segment, error)
	Last(uid string, n int) ([]archive.Segment, error)
	Bounds(uid string) (media.Span, bool)
	Tracks(uid string, id archive.InitID) ([]media.Track, error)
	Layout(uid string, id archive.FileID) (*archive.Layout, error)
	Extents(uid string, s media.Span) ([]archive.Extent, error)
	Pin(uid string, id archive.FileID) (timeline.File, error)
	Stamp(uid string) timeline.Stamp
}

// Server answers for all streams. Safe for concurrent use; what it keeps is true at every
// moment (memo.go).
type Server struct {
	src   Source
	ts    lent // bytes of MPEG-TS on their way
	lists memo[listKey, []byte]
	plans memo[planKey, plan]
}

// New makes a server over src.
func New(src Source) *Server { return &Server{src: src} }

// Carried tells which of the tracks HLS can carry, and names the others with
// the reason.
func Carried(tracks []media.Track) (in []media.Track, out []string) {
	return Request{FLAC: true}.carried(tracks)
}

func (req Request) carried(tracks []media.Track) (in []media.Track, out []string) {
	for _, t := range tracks {
		if _, ok := req.codec(t); ok {
			in = append(in, t)
		} else {
			out = append(out, string(t.Codec))
		}
	}
	return in, out
}

// mostSegments bounds a playlist: two days of short segments, eleven of long
// ones, 16 MB of text. Nobody plays such a list, and its making must not cost
// the recording anything.
const mostSegments = 100_000

// slice is how much of a long range is asked for at a time.
const slice = 24 * time.Hour

// listed is what a playlist covers.
type listed struct {
	segs  []archive.Segment
	ended bool // the range is closed: nothing is added any more
	grows bool // the last segment has no final duration yet
}

// segments lists what the playlist of req covers.
func (s *Server) segments(req Request) (l listed, err error) {
	switch {
	case req.Live:
		l.segs, err = s.src.Last(req.UID, 24)
	case req.Span.To == 0:
		l.segs, err = s.goingOn(req.UID, req.Span.From)
	default:
		l.ended = true
		l.segs, err = s.span(req.UID, req.Span)
	}
	if err != nil {
		return l, err
	}
	if n := len(l.segs); n > 0 {
		l.grows = !l.segs[n-1].Complete
	}
	if len(l.segs) == 0 {
		return l, ErrNoFootage
	}
	return l, nil
}

// span lists the segments of a range of whatever length, at most mostSegments.
func (s *Server) span(uid string, span media.Span) (segs []archive.Segment, err error) {
	b, ok := s.src.Bounds(uid)
	if !ok {
		return nil, nil
	}
	span = span.Intersect(b)
	for at := span.From; at < span.To; {
		end := min(at.Add(slice), span.To)
		more, err := s.src.Segments(uid, media.Span{From: at, To: end})
		if err != nil {
			return nil, err
		}
		if len(segs) > 0 { // what reaches over the border is listed already
			more = slices.DeleteFunc(slices.Clone(more), func(g archive.Segment) bool { return g.Span.From < at })
		}
		if len(segs) == 0 {
			segs = more
		} else {
			segs = append(segs, more...)
		}
		if len(segs) > mostSegments {
			return nil, ErrTooLong
		}
		at = end
	}
	return segs, nil
}

// goingOn lists what there is from an instant on, up to what was recorded last: a list
// that grows does not go on with what lies behind that since the clock was set back.
func (s *Server) goingOn(uid string, from media.Wall) ([]archive.Segment, error) {
	last, err := s.src.Last(uid, 1) // first: what is new since is behind it
	if err != nil && !errors.Is(err, ErrNoFootage) {
		return nil, err
	}
	segs, err := s.span(uid, media.Span{From: from, To: 1<<63 - 1})
	if len(last) == 0 { // nobody can read it, or it was taken
		return segs, err
	}
	newest := last[len(last)-1]
	end := newest.Number
	at := -1
	for i := range segs {
		if segs[i].Run == newest.Run && segs[i].Zero == newest.Zero && segs[i].Number >= end {
			at, end = i, segs[i].Number
		}
	}
	if at < 0 {
		return segs, err
	}
	return segs[:at+1], err
}

// listKey is what a live playlist depends on beside the stream.
type listKey struct {
	uid, other            string
	otherURI              string
	parts, skip, flac, ts bool
	within                media.Span
}

// Media writes the media playlist, which is the caller's. A segment that grows is no
// entry of it, but it settles the entries before: how long the last one is, which numbers
// stay free for a hole.
func (s *Server) Media(req Request) ([]byte, error) {
	if !req.Live || req.Other != nil && req.Other.Req.Carry != req.Carry {
		return s.media(req, carryOf)
	}
	k := listKey{uid: req.UID, parts: req.Parts, skip: req.Skip, flac: req.FLAC, ts: req.TS, within: req.Within}
	if req.Other != nil {
		k.other, k.otherURI = req.Other.Req.UID, req.Other.URI
	}
	text, err := s.lists.get(k, func() (at stamps) {
		at[0] = s.src.Stamp(k.uid)
		if k.other != "" {
			at[1] = s.src.Stamp(k.other)
		}
		return at
	}, func() ([]byte, error) { return s.media(req, func(string) string { return anyCarry }) })
	if err != nil {
		return nil, err
	}
	return bytes.ReplaceAll(text, []byte(anyCarry), []byte(carryOf(req.Carry))), nil
}

// anyCarry stands in a playlist that is remembered where the query of each URI comes; no
// playlist has it otherwise.
const anyCarry = "\x00"

// carryOf is what stands behind the name in each URI.
func carryOf(query string) string {
	if query == "" {
		return ""
	}
	return "?" + query
}

// media writes it with what carry makes of each query.
func (s *Server) media(req Request, carry func(query string) string) ([]byte, error) {
	l, err := s.segments(req)
	if err != nil {
		return nil, err
	}
	stored := make([]media.Wall, len(l.segs)) // where they are found again
	for i := range l.segs {
		stored[i] = l.segs[i].Span.From
	}
	if err := s.dateByCarried(req, l.segs); err != nil {
		return nil, err
	}
	forms, err := s.forms(req, initsOf(l.segs))
	if err != nil {
		return nil, err
	}
	es := entries(l.segs, stored)
	var live *edge
	if req.Parts && !req.TS && !l.ended {
		if live, err = s.edgeOf(req.UID, l.segs, l.grows); err != nil {
			return nil, err
		}
		switch {
		case live.slow() || mute(forms):
			live = nil
		case req.Other != nil:
			live.report = s.reportOf(req.Other, carry(req.Other.Req.Carry))
		}
	}
	// A closed range that reaches the live edge ends with what is there.
	if l.grows && !l.ended {
		es = es[:len(es)-1]
	}
	if len(es) == 0 {
		return nil, ErrNoFootage
	}
	if !l.ended {
		es = unbroken(es)
	}
	if req.Live {
		es = window(es)
	}
	es = seen(es, req.Within)
	if len(es) == 0 {
		return nil, ErrNoFootage
	}
	return mediaPlaylist(es, req, l.ended, forms, live, carry(req.Carry)), nil
}

// dateByCarried gives segments whose video HLS does not carry the span of what it
// carries: a program date time is that of the first media sample (RFC 8216
// 4.3.2.6), and a picture that nobody sees may come well after the first sound,
// or before it.
func (s *Server) dateByCarried(req Request, segs []archive.Segment) error {
	var init archive.InitID
	var carried map[int]uint32 // timescale by track; nil = the video is carried
	for i := range segs {
		seg := &segs[i]
		if i == 0 || seg.Init != init {
			init = seg.Init
			tracks, err := s.src.Tracks(req.UID, init)
			if err != nil {
				return err
			}
			carried = withoutVideo(req, tracks)
		}
		if carried == nil {
			continue
		}
		l, err := s.src.Layout(req.UID, seg.File)
		if err != nil {
			return err
		}
		for k := range l.Segments {
			if l.Segments[k].Number != seg.Number {
				continue
			}
			var sp media.Span
			for _, f := range l.Fragments[l.Segments[k].First:l.Segments[k].Last] {
				scale, ok := carried[f.Track]
				if !ok || len(f.Samples) == 0 {
					continue
				}
				if sp.From == 0 {
					sp.From = l.Zero.Add(media.DurationOf(f.BaseTime+int64(f.Samples[0].CTO), scale))
				}
				sp.To = max(sp.To, l.Zero.Add(media.DurationOf(f.BaseTime+f.Duration, scale)))
			}
			if !sp.Empty() {
				seg.Span = sp
			}
		}
	}
	return nil
}

// withoutVideo gives the timescales of the carried tracks of a stream whose
// video HLS does not carry, nil for all other streams.
func withoutVideo(req Request, tracks []media.Track) map[int]uint32 {
	in, _ := req.carried(tracks)
	has := func(ts []media.Track) bool {
		return slices.ContainsFunc(ts, func(t media.Track) bool { return t.Kind() == media.Video })
	}
	if len(in) == 0 || !has(tracks) || has(in) {
		return nil
	}
	m := map[int]uint32{}
	for _, t := range in {
		m[t.ID] = t.Timescale
	}
	return m
}
