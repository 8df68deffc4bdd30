package camera

import (
	"container/heap"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"media-server/core/media"
)

// tick is the least time between two wake-ups: what falls due in between is
// done in one go. It delays delivery, not the time a unit carries.
const tick = 10 * time.Millisecond

// Why a line ended, or could not be had.
var (
	ErrDropped     = errors.New("the simulated camera closed the connection")
	ErrChanged     = errors.New("the simulated camera changed its parameters")
	ErrSilent      = errors.New("nothing came from the simulated camera")
	ErrUnreachable = errors.New("the simulated camera does not answer")
	ErrTaken       = errors.New("another connection to the simulated camera took over")
)

// Output takes what a camera sends. Neither method may wait or call back into
// the engine; both are called from Engine.Run.
type Output interface {
	Write(u media.AccessUnit) error // keeps u.Payload
	Count(n Network)
}

// Network is what happened on the way.
type Network struct{ Packets, Lost, Reordered, Bytes uint64 }

// Engine runs all cameras of a process. Use New.
type Engine struct {
	poke chan struct{} // capacity 1: the heap's first changed

	mu      sync.Mutex
	cameras map[string]*camera
	ledgers map[string]*ledger
	sockets map[string]*socket
	queue   queue
	out     []delivery
	wall    media.Wall // of this wake-up
	events  map[chan Event]bool
	ctx     context.Context // of Run; nil before
	wg      sync.WaitGroup  // control sockets
}

type delivery struct {
	line *Line
	unit media.AccessUnit
	net  Network
}

// New returns an engine without cameras.
func New() *Engine {
	return &Engine{
		poke:    make(chan struct{}, 1),
		cameras: map[string]*camera{},
		ledgers: map[string]*ledger{},
		sockets: map[string]*socket{},
		events:  map[chan Event]bool{},
	}
}

// Line is one connection to a camera.
type Line struct {
	Tracks []media.Track // as they are from now on

	e        *Engine
	c        *camera
	out      Output
	wants    map[int]bool
	patience time.Duration
	opened   time.Duration
	done     chan struct{}
	err      error
}

// Connect finds or makes the camera that set describes and connects to it. A
// camera of the same name with other settings is replaced. uid is for events,
// patience the silence after which the line ends with ErrSilent (0 = never).
// Nothing is delivered before Start.
func (e *Engine) Connect(uid string, set Settings, wants func(media.Kind) bool, patience time.Duration) (*Line, error) {
	e.mu.Lock()
	defer e.mu.Unlock()
	now := time.Now()
	if err := e.listen(set.Control); err != nil {
		return nil, err
	}
	c, err := e.camera(set, now)
	if err != nil {
		return nil, err
	}
	c.uid = uid
	c.hangUp(ErrTaken)
	since := now.Sub(c.boot)
	e.wall = media.WallOf(now)
	c.step(e, since) // cues that came while nobody was connected
	if since < c.downTill || since < c.quietTill {
		return nil, ErrUnreachable
	}
	l := &Line{e: e, c: c, wants: map[int]bool{}, patience: patience, opened: since, done: make(chan struct{})}
	for _, t := range c.tracks {
		if wants(t.film.track.Kind()) {
			l.wants[t.id] = true
			l.Tracks = append(l.Tracks, t.media())
		}
	}
	return l, nil
}

func (e *Engine) camera(set Settings, now time.Time) (*camera, error) {
	old := e.cameras[set.Name]
	if old != nil && old.set.equal(set) {
		return old, nil
	}
	var led *ledger
	if set.Ledger != "" {
		if led = e.ledgers[set.Ledger]; led == nil {
			var err error
			if led, err = openLedger(set.Ledger); err != nil {
				return nil, err
			}
			e.ledgers[set.Ledger] = led
		}
	}
	c, err := newCamera(set, led, now)
	if err != nil {
		return nil, err
	}
	if old != nil {
		old.hangUp(ErrTaken)
		c.follow(old)
	}
	e.cameras[set.Name] = c
	return c, nil
}

// Start begins delivery to out with what is due from now on.
func (l *Line) Start(out Output) {
	e := l.e
	e.mu.Lock()
	defer e.mu.Unlock()
	if l.c.line != nil {
		l.c.line.end(ErrTaken)
	}
	l.out = out
	now := time.Since(l.c.boot)
	l.c.seek(now)
	l.c.line = l
	l.opened = now
	l.c.wake = now
	e.schedule(l.c)
}

// Done is closed when the line has ended; Err says why then.
func (l *Line) Done() <-chan struct{} { return l.done }

// Err is why the line ended.
func (l *Line) Err() error { <-l.done; return l.err }

// Close ends the line. Nothing is delivered once it has returned.
func (l *Line) Close() {
	l.e.mu.Lock()
	defer l.e.mu.Unlock()
	l.end(nil)
}

func (l *Line) end(err error) {
	select {
	case <-l.done:
		return
	default:
	}
	l.err = err
	close(l.done)
	if l.c.line == l {
		l.c.line = nil
		l.e.unschedule(l.c)
	}
}

// Run makes units until ctx ends. Call it once.
func (e *Engine) Run(ctx context.Context) error {
	e.mu.Lock()
	e.ctx = ctx
	for _, s := range e.sockets {
		e.serve(s)
	}
	e.mu.Unlock()
	defer e.close()
	timer := time.NewTimer(0)
	defer timer.Stop()
	var last time.Time
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-e.poke:
		case <-timer.C:
		}
		if wait := tick - time.Since(last); wait > 0 {
			timer.Reset(wait)
			continue
		}
		last = time.Now()
		timer.Reset(e.turn(last))
	}
}

// turn does all that is due and says when to come again.
func (e *Engine) turn(now time.Time) time.Duration {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.wall = media.WallOf(now)
	for len(e.queue) > 0 {
		c := e.queue[0]
		since := now.Sub(c.boot)
		if c.wake > since {
			break
		}
		c.step(e, since)
		if c.heap >= 0 {
			heap.Fix(&e.queue, c.heap)
		}
	}
	e.send()
	if len(e.queue) == 0 {
		return time.Hour
	}
	c := e.queue[0]
	return max(0, time.Until(c.boot.Add(c.wake)))
}

// send writes the ledgers, then hands over: see the package's invariants.
func (e *Engine) send() {
	for _, l := range e.ledgers {
		l.flush()
	}
	for i := range e.out {
		d := &e.out[i]
		switch {
		case d.unit.Payload == nil:
			d.line.out.Count(d.net)
		case d.line.out.Write(d.unit) != nil:
			d.line.end(ErrDropped)
		}
		*d = delivery{}
	}
	e.out = e.out[:0]
}

func (e *Engine) deliver(l *Line, u media.AccessUnit) {
	e.out = append(e.out, delivery{line: l, unit: u})
}

func (e *Engine) count(l *Line, n Network) {
	e.out = append(e.out, delivery{line: l, net: n})
}

func (e *Engine) schedule(c *camera) {
	if c.heap < 0 {
		heap.Push(&e.queue, c)
	} else {
		heap.Fix(&e.queue, c.heap)
	}
	select {
	case e.poke <- struct{}{}:
	default:
	}
}

func (e *Engine) unschedule(c *camera) {
	if c.heap >= 0 {
		heap.Remove(&e.queue, c.heap)
	}
}

// Cue makes a camera misbehave now, "*" all of them, and says how many obeyed.
func (e *Engine) Cue(name, what string) (int, error) {
	q, err := parseVerb(what)
	if err != nil {
		return 0, err
	}
	e.mu.Lock()
	defer e.mu.Unlock()
	n := 0
	for _, c := range e.cameras {
		if name != "*" && name != c.set.Name {
			continue
		}
		n++
		q.At = time.Since(c.boot)
		c.cue(q)
		c.wake = q.At
		if c.line != nil {
			e.schedule(c)
		}
	}
	if n == 0 {
		return 0, fmt.Errorf("no camera %q", name)
	}
	return n, nil
}

// Health says what ails the cameras: a ledger that cannot be written.
func (e *Engine) Health() string {
	e.mu.Lock()
	defer e.mu.Unlock()
	for path, l := range e.ledgers {
		if l.err != nil {
			return fmt.Sprintf("ledger %s: %v", path, l.err)
		}
	}
	return ""
}

func (e *Engine) close() {
	e.mu.Lock()
	for _, c := range e.cameras {
		c.hangUp(ErrDropped)
	}
	for _, s := range e.sockets {
		s.close()
	}
	for _, l := range e.ledgers {
		l.flush()
		l.file.Close()
	}
	e.mu.Unlock()
	e.wg.Wait()
}
