package hls

import (
	"bytes"
	"errors"
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
}

// Server answers for all streams. Safe for concurrent use; it keeps nothing.
type Server struct {
	src Source
	ts  lent // bytes of MPEG-TS on their way
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

// Media writes the media playlist. A segment that grows is no entry of it, but
// it settles the entries before: how long the last one is, which numbers stay
// free for a hole.
func (s *Server) Media(req Request) ([]byte, error) {
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
			live.report = s.reportOf(req.Other)
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
	return mediaPlaylist(es, req, l.ended, forms, live), nil
}

// tail lists the newest segments of what a playlist covers, from which the
// multivariant playlist is made.
func (s *Server) tail(req Request) (listed, error) {
	if !req.Live && req.Span.To != 0 {
		near := req
		near.Span.From = max(req.Span.From, req.Span.To.Add(-2*time.Minute))
		if l, err := s.segments(near); err == nil || near.Span == req.Span {
			return l, err
		}
		return s.segments(req)
	}
	if !req.Live {
		b, ok := s.src.Bounds(req.UID)
		if !ok || b.To <= req.Span.From {
			return listed{}, ErrNoFootage
		}
	}
	req.Live = true
	return s.segments(req)
}

// Variant is one rendition of a stream in a multivariant playlist.
type Variant struct {
	Req Request
	URI string // of its media playlist
}

// Multivariant writes the multivariant playlist: the stream, and behind it the
// smaller streams of the same camera that have something to show. The error wraps
// ErrCodec and names the codecs when nothing of the stream can be carried.
func (s *Server) Multivariant(req Request, uri string, smaller ...Variant) ([]byte, error) {
	b := bytes.NewBufferString("#EXTM3U\n#EXT-X-VERSION:8\n")
	if err := s.variant(b, req, uri); err != nil {
		return nil, err
	}
	for _, v := range smaller {
		n := b.Len()
		if s.variant(b, v.Req, v.URI) != nil {
			b.Truncate(n) // it is away: players do with what is there
		}
	}
	return b.Bytes(), nil
}

// variant adds the lines of a variant.
func (s *Server) variant(b *bytes.Buffer, req Request, uri string) error {
	l, err := s.tail(req)
	if err != nil {
		return err
	}
	segs := l.segs
	if l.grows && !l.ended && len(segs) == 1 {
		return ErrNoFootage // the media playlist would be empty
	}
	last := segs[len(segs)-1]
	tracks, err := s.src.Tracks(req.UID, last.Init)
	if err != nil {
		return err
	}
	in, out := req.carried(tracks)
	if len(in) == 0 {
		return fmt.Errorf("%w: the stream has %s", ErrCodec, strings.Join(out, ", "))
	}
	if in, err = s.allAlong(req, in, last.Init); err != nil {
		return err
	}
	var codecs []string
	size, video := "", ""
	for _, t := range in {
		mux.FillParameters(&t)
		c, _ := req.codec(t)
		codecs = append(codecs, c)
		if t.Kind() == media.Video && video == "" {
			video = c
		}
		if t.Width > 0 {
			size = fmt.Sprintf(",RESOLUTION=%dx%d", t.Width, t.Height)
		}
	}
	segs = segs[max(0, len(segs)-24):]
	if req.TS {
		segs = s.sizedTS(req, segs)
	}
	peak, avg := bandwidth(segs)
	more := convertedBits(in)
	peak, avg = peak+more, avg+more
	fmt.Fprintf(b, "#EXT-X-STREAM-INF:BANDWIDTH=%d,AVERAGE-BANDWIDTH=%d,CODECS=%q%s\n%s\n", peak, avg, strings.Join(codecs, ","), size, uri)
	if req.Scrub != "" && video != "" {
		fmt.Fprintf(b, "#EXT-X-I-FRAME-STREAM-INF:BANDWIDTH=%d,CODECS=%q%s,URI=%q\n", peak, video, size, req.Scrub)
	}
	return nil
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

// bandwidth is the highest and the mean bit rate of segments, bits a second,
// never 0.
func bandwidth(segs []archive.Segment) (peak, avg int64) {
	var bytes int64
	var span time.Duration
	for _, s := range segs {
		d := s.Span.Duration()
		if d < 100*time.Millisecond {
			continue
		}
		bytes, span = bytes+s.Size, span+d
		peak = max(peak, int64(float64(s.Size)*8/d.Seconds()))
	}
	if span > 0 {
		avg = int64(float64(bytes) * 8 / span.Seconds())
	}
	return max(peak, 1000), max(avg, 1000)
}

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
