package still

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"media-server/core/media"
)

// Bounds of the work; Options change them for tests.
const (
	atOnce    = 2                // of two cores' worth: recording goes before, at nice 0
	mostWait  = 16               // a grid of cameras
	longest   = 10 * time.Second // of a run; a picture takes 0.1 s
	longWait  = 15 * time.Second // for a slot
	mostCache = 32 << 20         // bytes; a picture of full HD takes 100 to 400 kB
)

var (
	// ErrNoDecoder: there is no ffmpeg on this machine.
	ErrNoDecoder = errors.New("there is no ffmpeg on this server")
	// ErrBusy: as many pictures as may wait are waiting.
	ErrBusy = errors.New("as many pictures as may wait are being made")
	// ErrDecode: ffmpeg gave no picture. The error that wraps it tells why.
	ErrDecode = errors.New("the picture could not be decoded")
	// ErrStopping: the server stops.
	ErrStopping = errors.New("the server stops")
)

// Shot names a picture for good: the key frame of a run at a time shows the same
// for ever, also after its file was moved or groomed.
type Shot struct {
	UID   string
	Run   media.RunID
	At    media.Wall
	Width int // pixels at most, one of Widths; 0 = as it is
}

// Options are for tests; the zero value is what serves.
type Options struct {
	Program  func() (path string, err error) // finds ffmpeg; nil = on PATH
	Longest  time.Duration                   // of a run
	LongWait time.Duration                   // for a slot
	Cache    int                             // bytes
	Waiting  int                             // most that wait for a slot
}

// Counts are what has happened since the start.
type Counts struct {
	Decoded, Cached, Refused, Failed uint64
	NoDecoder                        uint64
	Bytes                            int // in the cache now
}

// Server makes pictures. Safe for concurrent use.
type Server struct {
	opt   Options
	ctx   context.Context // of all runs
	stop  context.CancelFunc
	slots chan struct{}

	mu      sync.Mutex
	closed  bool
	runs    sync.WaitGroup // Add under mu while not closed
	waiting int
	flights map[Shot]*flight
	cache   cache
	counts  Counts
}

// flight is a picture that is being made. What it gives is set before done is closed.
type flight struct {
	done chan struct{}
	jpeg []byte
	err  error
}

// New makes a server. It serves until Run has returned.
func New(opt Options) *Server {
	if opt.Program == nil {
		opt.Program = onPath
	}
	if opt.Longest == 0 {
		opt.Longest = longest
	}
	if opt.LongWait == 0 {
		opt.LongWait = longWait
	}
	if opt.Cache == 0 {
		opt.Cache = mostCache
	}
	if opt.Waiting == 0 {
		opt.Waiting = mostWait
	}
	s := &Server{opt: opt, slots: make(chan struct{}, atOnce), flights: map[Shot]*flight{}, cache: newCache(opt.Cache)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Run waits until ctx ends, then ends what is being decoded and waits for it.
func (s *Server) Run(ctx context.Context) error {
	<-ctx.Done()
	s.mu.Lock()
	s.closed = true
	s.mu.Unlock()
	s.stop()
	s.runs.Wait()
	return nil
}

// Counts tells what has happened.
func (s *Server) Counts() Counts {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.counts
	c.Bytes = s.cache.bytes
	return c
}

// JPEG gives the picture, whose bytes nobody changes. movie makes the MP4 of its key
// frame; it is called at most once, before JPEG returns, when ffmpeg is about to read
// it, and its error is returned as it is. The other errors wrap one of those above.
func (s *Server) JPEG(of Shot, movie func() ([]byte, error)) ([]byte, error) {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return nil, ErrStopping
	}
	if b, ok := s.cache.get(of); ok {
		s.counts.Cached++
		s.mu.Unlock()
		return b, nil
	}
	f, made := s.flights[of]
	if !made {
		f = &flight{done: make(chan struct{})}
		s.flights[of] = f
		s.runs.Add(1)
	}
	s.mu.Unlock()
	if made {
		<-f.done // bounded: by LongWait and Longest
	} else {
		s.make(of, f, movie)
	}
	return f.jpeg, f.err
}

func (s *Server) make(of Shot, f *flight, movie func() ([]byte, error)) {
	f.err = fmt.Errorf("%w: it was given up", ErrDecode) // stands if movie panics: those who wait must not wait for ever
	defer func() {
		s.mu.Lock()
		delete(s.flights, of)
		switch {
		case f.err == nil:
			s.counts.Decoded++
			s.cache.put(of, f.jpeg)
		case errors.Is(f.err, ErrBusy):
			s.counts.Refused++
		case errors.Is(f.err, ErrNoDecoder):
			s.counts.NoDecoder++
		case errors.Is(f.err, ErrDecode):
			s.counts.Failed++
		}
		s.mu.Unlock()
		close(f.done)
		s.runs.Done()
	}()
	f.jpeg, f.err = s.decode(of.Width, movie)
}

func (s *Server) decode(width int, movie func() ([]byte, error)) ([]byte, error) {
	exe, err := s.opt.Program()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoDecoder, err)
	}
	if err := s.take(); err != nil {
		return nil, err
	}
	defer func() { <-s.slots }()
	// Only now: those who wait hold no memory and no file.
	in, err := movie()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(s.ctx, s.opt.Longest)
	defer cancel()
	b, err := run(ctx, exe, arguments(width), in)
	switch {
	case s.ctx.Err() != nil:
		return nil, ErrStopping
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrDecode, err)
	case !bytes.HasPrefix(b, []byte{0xFF, 0xD8}) || !bytes.HasSuffix(b, []byte{0xFF, 0xD9}): // SOI, EOI (ITU T.81 B.1.1.3)
		return nil, fmt.Errorf("%w: ffmpeg gave %d bytes that are no JPEG", ErrDecode, len(b))
	}
	return b, nil
}

// take waits for a slot.
func (s *Server) take() error {
	select {
	case s.slots <- struct{}{}:
		return nil
	default:
	}
	s.mu.Lock()
	full := s.waiting >= s.opt.Waiting
	if !full {
		s.waiting++
	}
	s.mu.Unlock()
	if full {
		return ErrBusy
	}
	defer func() {
		s.mu.Lock()
		s.waiting--
		s.mu.Unlock()
	}()
	t := time.NewTimer(s.opt.LongWait)
	defer t.Stop()
	select {
	case s.slots <- struct{}{}:
		return nil
	case <-t.C:
		return ErrBusy
	case <-s.ctx.Done():
		return ErrStopping
	}
}
