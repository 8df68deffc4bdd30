package hls

import (
	"fmt"
	"io"
	"strings"

	"media-server/core/archive"
	"media-server/core/mux"
)

// Recording is a closed range as one stream of MPEG-TS: the segments of its
// playlist behind each other, which join. Nobody knows its length before it has
// been read. Not safe for concurrent use; whoever took it closes it.
type Recording struct {
	s     *Server
	uid   string
	segs  []archive.Segment
	forms map[archive.InitID]form
	last  archive.Segment // made last
	rest  []byte
	held  loan
	sent  int64
	done  func(sent int64)
}

// Recording begins with the segment that holds the beginning of the range, with a
// key frame, and ends with the one that holds its end. done is called at Close; nil
// = nobody asks. The error wraps ErrCodec where MPEG-TS can carry nothing of it.
func (s *Server) Recording(req Request, done func(sent int64)) (*Recording, error) {
	req.TS = true
	segs, err := s.span(req.UID, req.Span)
	if err != nil {
		return nil, err
	}
	if len(segs) == 0 {
		return nil, ErrNoFootage
	}
	inits := initsOf(segs)
	var out []string
	some := false
	for id := range inits {
		tracks, err := s.src.Tracks(req.UID, id)
		if err != nil {
			return nil, err
		}
		in, not := req.carried(tracks)
		some, out = some || len(in) > 0, not
	}
	if !some {
		return nil, fmt.Errorf("%w: the stream has %s", ErrCodec, strings.Join(out, ", "))
	}
	forms, err := s.forms(req, inits)
	if err != nil {
		return nil, err
	}
	return &Recording{s: s, uid: req.UID, segs: segs, forms: forms, done: done}, nil
}

// Read implements io.Reader. An error other than io.EOF means that footage which
// was there when the reading began cannot be read.
func (r *Recording) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		r.held.Release()
		r.held = loan{}
		if len(r.segs) == 0 {
			return 0, io.EOF
		}
		seg := r.segs[0]
		b, l, err := r.s.makeTS(r.uid, seg, r.forms[seg.Init])
		if err != nil {
			return 0, fmt.Errorf("segment %d of %s: %w", seg.Number, r.uid, err)
		}
		if r.last.File != 0 && (seg.Run != r.last.Run || seg.Discontinuity != r.last.Discontinuity) {
			mux.MarkTSBreak(b)
		}
		r.rest, r.held, r.last, r.segs = b, l, seg, r.segs[1:]
	}
	n := copy(p, r.rest)
	r.rest = r.rest[n:]
	r.sent += int64(n)
	return n, nil
}

// Close implements io.Closer.
func (r *Recording) Close() error {
	r.held.Release()
	r.held, r.rest, r.segs = loan{}, nil, nil
	if r.done != nil {
		r.done(r.sent)
		r.done = nil
	}
	return nil
}
