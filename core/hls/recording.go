package hls

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/mux"
)

// Recording is a closed range as one stream of MPEG-TS: the segments of its
// playlist behind each other, which join. Nobody knows its length before it has
// been read. Whoever took it reads and closes it in one goroutine.
type Recording struct {
	s     *Server
	uid   string
	segs  []archive.Segment
	forms map[archive.InitID]form
	last  archive.Segment // made last
	rest  []byte
	held  loan
	sent  int64
	end   <-chan struct{}
	done  func(sent int64)
}

const (
	// memoryWait is how long a recording waits for memory that others have; less
	// than players wait for bytes.
	memoryWait = 20 * time.Second
	memoryLook = 100 * time.Millisecond
)

// Recording begins with the segment that holds the beginning of the range, with a
// key frame, and ends with the one that holds its end. It waits for memory no longer than
// until end is closed; done is called at Close. Either may be nil. The error wraps ErrCodec where MPEG-TS can carry nothing of it.
func (s *Server) Recording(req Request, end <-chan struct{}, done func(sent int64)) (*Recording, error) {
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
	return &Recording{s: s, uid: req.UID, segs: segs, forms: forms, end: end, done: done}, nil
}

// Read implements io.Reader. An error other than io.EOF means that footage which
// was there when the reading began cannot be read, or that too many others have
// read for memoryWait (ErrBusy).
func (r *Recording) Read(p []byte) (int, error) {
	for len(r.rest) == 0 {
		r.held.Release()
		r.held = loan{}
		if len(r.segs) == 0 {
			return 0, io.EOF
		}
		seg := r.segs[0]
		b, l, err := r.make(seg)
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

// make makes a segment, when there is memory for it.
func (r *Recording) make(seg archive.Segment) (b []byte, l loan, err error) {
	end := time.NewTimer(memoryWait)
	defer end.Stop()
	look := time.NewTicker(memoryLook)
	defer look.Stop()
	for {
		b, l, err = r.s.makeTS(r.uid, seg, r.forms[seg.Init], true)
		if !errors.Is(err, ErrBusy) {
			return b, l, err
		}
		select {
		case <-look.C:
		case <-end.C:
			return nil, l, err
		case <-r.end:
			return nil, l, io.ErrClosedPipe
		}
	}
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
