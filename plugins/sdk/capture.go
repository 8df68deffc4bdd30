package sdk

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

const noneOldest = math.MaxUint64

// capture is one stream: what is wanted of it, the loop that connects, and the
// log of its runs.
type capture struct {
	uid    string
	driver Driver
	buffer *budget
	check  func(Source) *pb.Problem // settings that cannot be used
	stats  Stats
	atOnce atomic.Bool
	oldest atomic.Uint64 // order of the oldest unit kept; noneOldest = nothing is

	kick chan struct{} // what is wanted changed; capacity 1

	mu       sync.Mutex
	want     *wanted // nil: stopped
	over     bool    // the loop is to end
	runs     []*runLog
	current  *Run      // of the Capture under way: may open
	live     *Run      // has opened: may write
	serial   uint64    // of the newest run
	orphan   time.Time // since when no core is subscribed; zero: one is
	openedAt time.Time
	failure  *pb.Closed // the last try, since the last Open, that came to nothing
	failures uint64
	cancel   context.CancelCauseFunc // of the Capture under way
	handle   *handle                 // who is sent the log; nil = nobody now
}

// wanted is what a Subscribe asks for.
type wanted struct {
	src        Source
	first, max time.Duration
	numbers    uint32
}

func newCapture(uid string, d Driver, b *budget, check func(Source) *pb.Problem) *capture {
	c := &capture{uid: uid, driver: d, buffer: b, check: check, kick: make(chan struct{}, 1)}
	c.oldest.Store(noneOldest)
	return c
}

func (w *wanted) sameSource(o *wanted) bool {
	return w.src.URL == o.src.URL && maps.Equal(w.src.Settings, o.src.Settings) && slices.Equal(w.src.Kinds, o.src.Kinds) &&
		w.src.ReadTimeout == o.src.ReadTimeout
}

var errRestart = fmt.Errorf("url, settings or tracks were changed")

// set changes what is wanted; nil stops. The loop acts on it.
func (c *capture) set(w *wanted) {
	c.mu.Lock()
	old := c.want
	c.want = w
	if c.cancel != nil && (w == nil || old == nil || !w.sameSource(old)) {
		c.cancel(errRestart)
	}
	c.mu.Unlock()
	c.poke()
}

func (c *capture) poke() {
	select {
	case c.kick <- struct{}{}:
	default:
	}
}

// end makes loop return, soon.
func (c *capture) end() {
	c.mu.Lock()
	c.over = true
	c.mu.Unlock()
	c.set(nil)
}

// loop connects for ever. The server owns its goroutine.
func (c *capture) loop(ctx context.Context) {
	var (
		rc      reconnect
		last    *wanted // of the last try; nil: begin anew
		running bool    // a stop has to be told
	)
	for {
		select {
		case <-c.kick: // what it says is read now
		default:
		}
		c.mu.Lock()
		w, over := c.want, c.over
		c.mu.Unlock()
		if over || ctx.Err() != nil {
			return
		}
		if w == nil {
			if running {
				c.stopped()
			}
			last, running = nil, false
			c.wait(ctx, -1)
			continue
		}
		if last == nil || !w.sameSource(last) {
			rc = reconnect{}
		}
		last, running = w, true
		rc.first, rc.max, rc.numbers = w.first, max(w.first, w.max), w.numbers
		wait := c.try(ctx, w, &rc)
		if wait < 0 {
			last = nil // whoever asks again begins anew
		}
		if !c.wait(ctx, wait) {
			return
		}
	}
}

// wait sleeps for d (for ever when negative) or until what is wanted changes
// in a way that matters; it returns false when ctx has ended.
func (c *capture) wait(ctx context.Context, d time.Duration) bool {
	c.mu.Lock()
	was := c.want
	c.mu.Unlock()
	var after <-chan time.Time
	if d >= 0 {
		t := time.NewTimer(d)
		defer t.Stop()
		after = t.C
	}
	for {
		select {
		case <-after:
			return true
		case <-ctx.Done():
			return false
		case <-c.kick:
			c.mu.Lock()
			now, over := c.want, c.over
			c.mu.Unlock()
			// A Subscribe after the last try begins anew; one that finds a try
			// coming does not hurry it, or cores that come and go would.
			if over || now == nil || was == nil || !now.sameSource(was) || d < 0 {
				return true
			}
		}
	}
}

// try runs one Capture and says how long to wait before the next.
func (c *capture) try(ctx context.Context, w *wanted, rc *reconnect) time.Duration {
	if p := c.check(w.src); p != nil {
		c.failed(&pb.Closed{Cause: pb.Cause_SETTINGS, Problem: p, RetryInMs: -1})
		return -1
	}
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	c.mu.Lock()
	if c.want != w {
		c.mu.Unlock()
		return 0
	}
	c.cancel = cancel
	run := &Run{c: c}
	c.current = run
	c.mu.Unlock()

	err := c.capture(ctx, w.src, run)

	c.mu.Lock()
	c.cancel, c.current = nil, nil
	opened, stopped := c.live == run, c.want == nil
	lived := time.Duration(0)
	if opened {
		lived = max(time.Since(c.openedAt), 1)
	}
	c.mu.Unlock()
	f := failureOf(err, opened)
	wait := time.Duration(0)
	switch {
	case ctx.Err() != nil && stopped:
		f, wait = stoppedFailure, -1
	case ctx.Err() != nil:
		f = &Failure{Cause: pb.Cause_CHANGED, What: errRestart.Error()}
		if !errors.Is(context.Cause(ctx), errRestart) {
			f = &Failure{Cause: pb.Cause_STOPPED, What: "the plugin is shutting down"}
		}
	default:
		wait = rc.after(f.Cause, lived, time.Now())
		slog.Warn("capture ended", "stream", c.uid, "cause", f.Cause.String(), "err", f.What, "hint", f.Hint, "retry_ms", millis(wait))
	}
	closed := &pb.Closed{Cause: f.Cause, Problem: &pb.Problem{What: f.What, Hint: f.Hint}, RetryInMs: millis(wait)}
	if opened {
		c.stats.reconnects.Add(1)
		c.closeRun(closed)
	} else if ctx.Err() == nil {
		c.failed(closed)
	}
	if ctx.Err() != nil {
		return 0 // what is wanted changed: look at once
	}
	return wait
}

func millis(d time.Duration) int64 {
	if d < 0 {
		return -1
	}
	return d.Milliseconds()
}

// capture calls the driver; its panic is an error of this stream alone.
func (c *capture) capture(ctx context.Context, src Source, run *Run) (err error) {
	defer func() {
		if p := recover(); p != nil {
			slog.Error("driver panicked", "stream", c.uid, "err", fmt.Sprint(p), "stack", string(debug.Stack()))
			err = Fail(pb.Cause_PROTOCOL, fmt.Sprintf("the driver panicked: %v", p), "this is a fault of the driver; the plugin's log has its stack")
		}
	}()
	return c.driver.Capture(ctx, src, run)
}

func (c *capture) open(r *Run, tracks []media.Track, device string, leftOut []LeftOut) error {
	if err := checkTracks(tracks); err != nil {
		return err
	}
	rl := &runLog{opened: &pb.Opened{Device: device, LeftOut: toLeftOut(leftOut), OpenedAt: uint64(time.Now().UnixNano())}}
	rand.Read(rl.id[:])
	rl.opened.Run = rl.id[:]
	for _, t := range tracks {
		rl.opened.Tracks = append(rl.opened.Tracks, toTrack(t))
		rl.tracks = append(rl.tracks, trackLog{id: t.ID})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == r {
		return Fail(pb.Cause_PROTOCOL, "the driver opened a run twice", "this is a fault of the driver")
	}
	if c.current != r {
		return ErrRunOver
	}
	c.serial += 1 << 20
	rl.serial = c.serial
	c.live, c.openedAt, c.failure = r, time.Now(), nil
	c.runs = append(c.runs, rl)
	c.bound()
	c.ready(true)
	return nil
}

func (c *capture) write(r *Run, u media.AccessUnit) error {
	if len(u.Payload) == 0 || len(u.Payload) > MaxUnit {
		return Fail(pb.Cause_PROTOCOL, fmt.Sprintf("an access unit of %d bytes on track %d", len(u.Payload), u.Track), "1 byte to 8 MB can be stored")
	}
	now := time.Now()
	if u.Received == 0 {
		u.Received = media.WallOf(now)
	}
	if u.Mono == 0 {
		u.Mono = bootTime() - int64(media.WallOf(now).Sub(u.Received))
	}
	c.mu.Lock()
	if c.live != r {
		c.mu.Unlock()
		return ErrRunOver
	}
	t := c.runs[len(c.runs)-1].track(u.Track)
	if t == nil {
		c.mu.Unlock()
		return Fail(pb.Cause_PROTOCOL, fmt.Sprintf("a unit of track %d, which was not opened", u.Track), "this is a fault of the driver")
	}
	e := entry{u: u, order: c.buffer.order.Add(1), at: now}
	t.push(e)
	over := c.buffer.add(e.cost())
	if c.oldest.Load() == noneOldest {
		c.oldest.Store(e.order)
	}
	c.dropAged(now)
	c.readyUnit(e.order)
	c.mu.Unlock()
	if over {
		c.buffer.shrink()
	}
	return nil
}

// closeRun ends the live run, if any.
func (c *capture) closeRun(closed *pb.Closed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.live == nil {
		return
	}
	c.live = nil
	rl := c.runs[len(c.runs)-1]
	closed.Run, closed.ClosedAt = rl.id[:], uint64(time.Now().UnixNano())
	rl.closed = closed
	c.ready(true)
}

var stoppedFailure = &Failure{Cause: pb.Cause_STOPPED, What: "no longer wanted"}

// stopped tells a core that unsubscribed between two tries.
func (c *capture) stopped() {
	c.mu.Lock()
	n := len(c.runs)
	told := n > 0 && c.runs[n-1].closed.GetCause() == pb.Cause_STOPPED
	c.mu.Unlock()
	if !told {
		c.failed(&pb.Closed{Cause: pb.Cause_STOPPED, Problem: &pb.Problem{What: stoppedFailure.What}, RetryInMs: -1})
	}
}

func (c *capture) failed(closed *pb.Closed) {
	c.mu.Lock()
	defer c.mu.Unlock()
	closed.ClosedAt = uint64(time.Now().UnixNano())
	c.failure = closed
	c.failures++
	c.ready(true)
}

// bootTime is CLOCK_BOOTTIME in nanoseconds: it counts while the host sleeps
// and is the same for every process of it.
func bootTime() int64 {
	var ts unix.Timespec
	if unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts) != nil {
		return 0
	}
	return ts.Nano()
}
