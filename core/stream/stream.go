package stream

import (
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// Spec is what a Stream is told of its settings. Capture says what the driver
// is asked for: a change of it restarts the capture; everything else is live.
type Spec struct {
	Capture Subscription
	Record  bool
	Rules   archive.Rules
	Modes   Modes
}

// Deps are what a Stream works with.
type Deps struct {
	Driver   Driver
	Recorder Recorder // nil: not recorded
	LastEnd  func(uid string) (media.Wall, bool)
	Epoch    uint64
	Chain    bool         // leave room for chain links in part headers: there is a key to sign with
	Notify   func(Notice) // must not block
	Log      *slog.Logger
	Now      func() time.Time // nil = time.Now

	// DriverKeeps is how much of what is not acknowledged a driver keeps for
	// certain; 0 = any amount. Pre-recording beyond it is in memory alone.
	DriverKeeps time.Duration

	// First are the least numbers that segments may get: behind those of the
	// stream that this one follows, which players remember.
	First Numbers
}

// Numbers are the counters of a stream's playlists.
type Numbers struct{ Segment, Discontinuity uint64 }

// Notice is something an operator or a script may want to know. Types:
// stream.connecting, stream.active, stream.lost, stream.tracks,
// stream.parameters, stream.behind, camera.clock, server.clock.
type Notice struct {
	Type    string
	UID     string
	Level   string // info, warning, error
	Message string
	Data    map[string]any
}

// State is what a stream is doing.
type State string

// States, in the words of the API.
const (
	StateOff        State = "off"
	StateConnecting State = "connecting"
	StateActive     State = "active"
	StateSilent     State = "silent"
	StateLost       State = "lost"
	StateRefused    State = "refused"
)

// Stream captures one source. Make it with New, Start it, Tick it, and end it
// with Stop (the source is no longer wanted) or Detach (the server ends and
// the next one goes on).
type Stream struct {
	spec Spec
	dep  Deps
	ring *Ring // nil when everything is recorded

	leftOut   atomic.Pointer[media.RunPosition] // tracks that are not in the file, and how far they were received
	durableTo atomic.Pointer[media.RunPosition] // the recorder's last word
	ackTo     atomic.Pointer[Session]           // where acknowledgements go

	mu         sync.Mutex
	session    Session
	cur        *run
	resume     *archive.Resume
	resumeWhy  archive.GapCause // why units may be missing where the capture is taken up
	lost       archive.GapCause // why there is nothing before the next run; none = as the recorder knows
	before     archive.GapCause // the same of the run that has begun, for as long as nothing of it is stored
	behind     bool
	behindTold bool // and told about it; until storage takes something again
	failed     int  // units that could not be taken, since complained
	complained time.Time
	over       bool              // stopped or detached: whatever the driver still says is ignored
	handed     media.RunPosition // what the recorder was given, of the newest run
	ends       ends              // where it ends, and what the ring was given
	status     Status
	meter      meter
	clockOn    bool // camera.clock is raised
	taps       []*Tap
	modes      Modes
	gate       *gate // nil when everything is recorded, or nothing
}

// New makes a stream; nothing runs yet.
func New(spec Spec, dep Deps) *Stream {
	if dep.Now == nil {
		dep.Now = time.Now
	}
	if dep.Log == nil {
		dep.Log = slog.Default()
	}
	if dep.Notify == nil {
		dep.Notify = func(Notice) {}
	}
	s := &Stream{spec: spec, dep: dep}
	s.status = Status{State: StateConnecting, Since: media.WallOf(dep.Now()), Recording: dep.Recorder != nil}
	if dep.Recorder == nil {
		// Files of an earlier ring of the stream have other names: what somebody
		// remembers of them must not fit this one's.
		s.ring = newRing(spec.Capture.UID, fmt.Sprint(spec.Capture.UID, dep.Now().UnixNano()))
	}
	s.setGate(spec.Modes)
	if s.gate != nil {
		s.status.Recording = false
	}
	return s
}

// Ring is the memory ring of a stream that is not recorded, nil otherwise.
func (s *Stream) Ring() *Ring {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ring
}

// Next tells the numbers that a stream following this one has to begin with.
func (s *Stream) Next() Numbers {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.nextNumbers()
}

func (s *Stream) nextNumbers() (n Numbers) {
	if s.ring != nil {
		n.Segment, n.Discontinuity = s.ring.next()
	}
	if s.dep.Recorder != nil {
		segment, disc := s.dep.Recorder.NextSegment()
		n.Segment, n.Discontinuity = max(n.Segment, segment), max(n.Discontinuity, disc)
	}
	n.Segment, n.Discontinuity = max(n.Segment, s.dep.First.Segment), max(n.Discontinuity, s.dep.First.Discontinuity)
	return n
}

// Start subscribes the capture, behind what the recorder holds. The lock is
// not held while the driver is asked: it may call the sink at once, to say that
// nobody takes such a source.
func (s *Stream) Start() error {
	if r := s.dep.Recorder; r != nil {
		s.mu.Lock()
		r.OnDurable(s.durable)
		s.reloadResume()
		s.resumeWhy = archive.GapServerDown
		s.mu.Unlock()
	}
	ses, err := s.dep.Driver.Subscribe(s.spec.Capture, (*sink)(s))
	s.mu.Lock()
	defer s.mu.Unlock()
	if err != nil {
		s.setState(StateRefused, err.Error(), "")
		return err
	}
	s.session = ses
	s.ackTo.Store(&ses)
	if len(s.taps) > 0 {
		ses.SetDelivery(true)
	}
	return nil
}

func (s *Stream) reloadResume() {
	s.resume = nil
	if res, ok := s.dep.Recorder.Resume(); ok {
		s.resume = &res
		s.resumedEnds(&res)
	}
}

// durable is the recorder's word that pos survives a power cut.
func (s *Stream) durable(pos media.RunPosition) {
	s.durableTo.Store(&pos)
	if p := s.leftOut.Load(); p != nil && p.Run == pos.Run {
		pos = media.RunPosition{Run: pos.Run, Tracks: append(slices.Clone(pos.Tracks), p.Tracks...)}
	}
	// The session is set before the first part can be durable, and never
	// changes while the recorder is this stream's.
	if ses := s.currentSession(); ses != nil {
		ses.Ack(pos)
	}
}

func (s *Stream) currentSession() Session {
	// Not s.mu: the recorder may hold locks of its own while it calls.
	if p := s.ackTo.Load(); p != nil {
		return *p
	}
	return nil
}

// SetRules changes how long footage is kept, at once.
func (s *Stream) SetRules(r archive.Rules) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.spec.Rules = r
	if s.dep.Recorder != nil {
		s.dep.Recorder.SetRules(r)
	}
}

// Stop ends the capture for good: what is held is stored, the file is sealed.
func (s *Stream) Stop() {
	s.closeSession()
	s.mu.Lock()
	defer s.mu.Unlock()
	s.endRun(CauseStopped)
	s.over = true
	s.endTaps()
	if s.dep.Recorder != nil {
		// Also a run that was only about to be resumed is over now.
		s.dep.Recorder.End(archive.GapDisabled)
		s.dep.Recorder.Close()
	}
	s.setState(StateOff, "", "")
}

// Detach lets go without ending anything: the driver keeps what is not
// acknowledged, and the next core goes on behind what storage holds. The
// driver's connection may still be there: nothing that comes over it is taken
// or acknowledged any more.
func (s *Stream) Detach() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.over, s.cur = true, nil
	s.endTaps()
	if s.dep.Recorder != nil {
		s.dep.Recorder.Close()
	}
}

func (s *Stream) closeSession() {
	s.mu.Lock()
	ses := s.session
	s.session = nil
	s.mu.Unlock()
	if ses != nil {
		ses.Close() // outside the lock: it waits for a sink method under way
	}
}

// Tick does what time alone brings: the end of settling, taking up a capture
// that storage could not follow, the bit rate.
func (s *Stream) Tick() {
	now := media.WallOf(s.dep.Now())
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		return
	}
	s.meter.tick(now)
	if r := s.cur; r != nil && r.writer == nil && len(r.pending) > 0 && now.Sub(r.firstAt) > settleAtMost {
		switch err := s.settle(r); {
		case noRoom(err):
			s.fallBehind()
		case err != nil:
			s.complain(err)
		}
	}
	if s.behind && now.Sub(s.status.behindSince) > time.Second {
		s.behind = false
		s.cur = nil
		s.reloadResume()
		s.resumeWhy = archive.GapNone // the recorder knows what ailed it
		if s.session != nil {
			s.session.Resubscribe()
		}
	}
}

const settleAtMost = 1500 * time.Millisecond
