package space

import (
	"context"
	"sync"
	"time"
)

// gather is how long Written waits for more of its kind. Nobody waits for
// Written but memory; Failed and Synced are handed out at once.
const gather = 25 * time.Millisecond

// Session is one connection that appends. A space has one at a time; a newer
// one ends it.
type Session struct {
	space *Space
	epoch uint64

	mu       sync.Mutex
	written  uint64
	synced   uint64
	took     time.Duration
	calls    uint64
	failures []Failure
	told     struct{ written, synced uint64 }
	refused  map[string]struct{} // files that could not even be opened
	over     bool
	inside   chan struct{} // holds one token while Append runs
	wake     chan struct{} // anything to say
	urgent   chan struct{} // something that does not wait
	end      chan struct{}
}

// Failure is a message that was not carried out, or whose durability is not
// known.
type Failure struct {
	Sequence uint64
	Name     string
	Reason   Reason
	Message  string
	Size     int64 // of the file where known, else -1; the message to send again begins there or before
}

// Report is what happened since the last one. Failures come before what
// Written and Synced pass. Zero = nothing new of that kind.
type Report struct {
	Failures []Failure
	Written  uint64
	Synced   uint64
	Took     time.Duration // of the last sync
	Calls    uint64        // syncs so far
}

// Begin starts a session; the one before is ended and waited for.
func (s *Space) Begin(ctx context.Context, epoch uint64) (*Session, error) {
	if err := s.gate.enter(epoch); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	busy := &Error{Reason: NotReady, Size: -1, What: "the connection before has not ended",
		Hint: "the disk does not answer; look at the kernel log"}
	select {
	case s.beginning <- struct{}{}:
		defer func() { <-s.beginning }()
	case <-ctx.Done():
		return nil, busy
	}
	if old := s.endSession(); old != nil {
		s.mu.Lock()
		s.leaving = old
		s.mu.Unlock()
	}
	s.mu.Lock()
	old := s.leaving
	s.mu.Unlock()
	if old != nil {
		select {
		case old.inside <- struct{}{}: // for ever: it is over
		case <-ctx.Done():
			return nil, busy
		}
	}
	c := &Session{space: s, epoch: epoch, refused: map[string]struct{}{}, inside: make(chan struct{}, 1),
		wake: make(chan struct{}, 1), urgent: make(chan struct{}, 1), end: make(chan struct{})}
	s.mu.Lock()
	s.session, s.leaving = c, nil
	files := make([]*file, 0, len(s.files))
	for _, f := range s.files {
		files = append(files, f)
	}
	s.mu.Unlock()
	// The new one knows of no failure: it must be told again. What fails from here
	// on it is told.
	for _, f := range files {
		f.mu.Lock()
		f.failed = false
		f.mu.Unlock()
	}
	return c, nil
}

func (s *Space) endSession() *Session {
	s.mu.Lock()
	c := s.session
	s.session = nil
	s.mu.Unlock()
	if c != nil {
		c.End()
	}
	return c
}

// End makes Next return and further appends do nothing.
func (c *Session) End() {
	c.mu.Lock()
	if !c.over {
		c.over = true
		close(c.end)
	}
	c.mu.Unlock()
}

func (c *Session) ended() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.over
}

// Next waits until there is something to say. ok is false when the session has
// ended or ctx is done. failures of r are valid until the next call.
func (c *Session) Next(ctx context.Context, r *Report) (ok bool) {
	for {
		select {
		case <-c.wake:
		case <-c.urgent:
		case <-c.end:
			return false
		case <-ctx.Done():
			return false
		}
		c.mu.Lock()
		quiet := len(c.failures) == 0 && c.synced == c.told.synced
		c.mu.Unlock()
		if quiet && !c.linger(ctx) {
			return false
		}
		c.mu.Lock()
		some := c.collect(r)
		c.mu.Unlock()
		if some {
			return true
		}
	}
}

// linger lets more Written come together.
func (c *Session) linger(ctx context.Context) bool {
	t := time.NewTimer(gather)
	defer t.Stop()
	select {
	case <-t.C:
	case <-c.urgent:
	case <-c.end:
		return false
	case <-ctx.Done():
		return false
	}
	return true
}

func (c *Session) collect(r *Report) bool {
	*r = Report{Failures: append(r.Failures[:0], c.failures...), Took: c.took, Calls: c.calls}
	c.failures = c.failures[:0]
	if c.written > c.told.written {
		r.Written, c.told.written = c.written, c.written
	}
	if c.synced > c.told.synced {
		r.Synced, c.told.synced = c.synced, c.synced
	}
	return len(r.Failures) > 0 || r.Written > 0 || r.Synced > 0
}

func poke(ch chan struct{}) {
	select {
	case ch <- struct{}{}:
	default:
	}
}

// pass says that all up to seq has been dealt with.
func (c *Session) pass(seq uint64) {
	off := c.space.set.Load().Fsync == 0
	c.mu.Lock()
	c.written = max(c.written, seq)
	if off {
		c.synced = c.written
		c.calls = c.space.calls.Load()
	}
	c.mu.Unlock()
	poke(c.wake)
}

// fail reports a message that was not carried out.
func (c *Session) fail(d Data, e *Error) {
	c.mu.Lock()
	if e.Reason == NotFound || e.Reason == BadName || e.Size <= 0 {
		c.refused[d.Name] = struct{}{}
	}
	c.failures = append(c.failures, Failure{d.Sequence, d.Name, e.Reason, e.Error(), e.Size})
	c.written = max(c.written, d.Sequence)
	c.mu.Unlock()
	poke(c.wake)
	poke(c.urgent)
	c.space.wake() // Synced passes it, too
}

// skips tells whether a message follows one that failed before its file could
// be opened. The repetition begins at 0.
func (c *Session) skips(d Data) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.refused) == 0 {
		return false
	}
	if _, ok := c.refused[d.Name]; !ok {
		return false
	}
	if d.Offset == 0 {
		delete(c.refused, d.Name)
		return false
	}
	return true
}

func (c *Session) seen() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.written
}

// lose reports that bytes of a file which were written may not be there any more.
func (c *Session) lose(e *Error) {
	c.mu.Lock()
	c.failures = append(c.failures, Failure{c.synced + 1, e.Name, e.Reason, e.Error(), e.Size})
	c.mu.Unlock()
	poke(c.wake)
	poke(c.urgent)
}

// durable reports a round that covered all up to seq but what was lost.
func (c *Session) durable(seq uint64, took time.Duration, calls uint64) {
	c.mu.Lock()
	c.synced = max(c.synced, seq)
	c.took, c.calls = took, calls
	c.mu.Unlock()
	poke(c.wake)
	poke(c.urgent)
}
