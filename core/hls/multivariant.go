package hls

import (
	"bytes"
	"fmt"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
)

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
	URI string // of its media playlist, whole; as Other without Req.Carry
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
