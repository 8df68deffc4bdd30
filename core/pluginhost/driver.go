package pluginhost

import (
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/stream"
	"media-server/plugins/sdk/pb"
)

// Driver returns the driver for a URL scheme. The value outlives plugin
// processes, and need not be there yet: streams of a driver that appears
// later begin then, and hear at once that they must wait.
func (h *Host) Driver(scheme string) (stream.Driver, error) {
	if !schemePattern.MatchString(scheme) {
		return nil, fault.New("", fmt.Sprintf("%q is not a URL scheme", scheme), "write rtsp://…, onvif://…, sim://…")
	}
	return chosenDriver{h, scheme, ""}, nil
}

// DriverNamed returns the driver of the plugin of that name, for streams that
// force one.
func (h *Host) DriverNamed(name string) (stream.Driver, error) {
	if !namePattern.MatchString(name) {
		return nil, fault.New("", fmt.Sprintf("%q cannot name a driver", name), "")
	}
	return chosenDriver{h, "", name}, nil
}

// chosenDriver is a driver by scheme or by name.
type chosenDriver struct {
	host         *Host
	scheme, name string
}

func (c chosenDriver) String() string {
	if c.name != "" {
		return "driver plugin " + c.name
	}
	return "driver for " + c.scheme + "://"
}

// Subscribe implements stream.Driver.
func (c chosenDriver) Subscribe(sub stream.Subscription, sink stream.Sink) (stream.Session, error) {
	if sub.UID == "" || sub.URL == "" {
		return nil, fault.New("stream "+sub.UID, "a subscription wants a uid and a URL", "")
	}
	sub.Settings, sub.Kinds = maps.Clone(sub.Settings), slices.Clone(sub.Kinds)
	s := &session{host: c.host, by: c, sub: sub, sink: sink}
	c.host.mu.Lock()
	c.host.sessions[s] = struct{}{}
	c.host.mu.Unlock()
	if c.host.assign() {
		// Told by the host's own goroutine: whoever subscribes holds locks of
		// its own that the sink's methods take too.
		poke(c.host.untold)
	}
	return s, nil
}

// session is one subscription, over all connections and processes.
//
// Locks: sinkMu is held during every call of the sink and orders them; mu
// guards what session methods and the driver's goroutines share, and is never
// held during a call. sinkMu may be taken before mu, never after it.
type session struct {
	host *Host
	by   chosenDriver
	sub  stream.Subscription
	sink stream.Sink

	sinkMu sync.Mutex
	capture

	mu     sync.Mutex
	svc    *driverService // nil: no such driver is there
	closed bool
	told   bool   // that no driver is there
	handle uint32 // on the present connection; 0 = not subscribed
	behind bool   // Units refused; wait for Resubscribe
	atOnce bool
	unsub  []unsubscription // to be sent
	modes  bool             // the mode is to be sent
	ack    media.RunPosition
	acks   bool // ack is to be sent
}

type unsubscription struct {
	handle uint32
	keep   bool
}

// Ack implements stream.Session.
func (s *session) Ack(pos media.RunPosition) {
	s.mu.Lock()
	s.ack.Run = pos.Run
	s.ack.Tracks = append(s.ack.Tracks[:0], pos.Tracks...)
	first := !s.acks && s.handle != 0
	s.acks = s.acks || first
	svc := s.svc
	s.mu.Unlock()
	if first && svc != nil {
		svc.ackable(s)
	}
}

// SetDelivery implements stream.Session.
func (s *session) SetDelivery(atOnce bool) {
	s.mu.Lock()
	s.modes = s.modes || s.atOnce != atOnce && s.handle != 0
	s.atOnce = atOnce
	svc, send := s.svc, s.modes
	s.mu.Unlock()
	if send && svc != nil {
		svc.dirty(s)
	}
}

// Resubscribe implements stream.Session.
func (s *session) Resubscribe() {
	s.mu.Lock()
	was := s.behind
	s.behind = false
	svc := s.svc
	s.mu.Unlock()
	if was && svc != nil {
		svc.dirty(s)
	}
}

// closeWait bounds how long Close waits for a sink that breaks its promise
// not to block.
const closeWait = 2 * time.Second

// Close implements stream.Session. It waits for a sink call that is under way:
// do not call it from a sink method, nor holding a lock that one takes.
func (s *session) Close() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	s.closed = true
	s.behind = false
	if s.handle != 0 {
		s.unsub = append(s.unsub, unsubscription{s.handle, false})
	}
	svc := s.svc
	s.mu.Unlock()
	s.host.mu.Lock()
	delete(s.host.sessions, s)
	s.host.mu.Unlock()
	if svc != nil {
		svc.leave(s)
	}
	for end := time.Now().Add(closeWait); !s.sinkMu.TryLock(); {
		if time.Now().After(end) {
			s.host.opt().Log.Error("a sink blocks its driver", "stream", s.sub.UID)
			return
		}
		time.Sleep(200 * time.Microsecond)
	}
	s.sinkMu.Unlock()
}

// deliver calls f unless the session is closed.
func (s *session) deliver(f func(stream.Sink)) {
	s.sinkMu.Lock()
	defer s.sinkMu.Unlock()
	if !s.isClosed() {
		f(s.sink)
	}
}

func (s *session) isClosed() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.closed
}

// assign gives sessions without a driver to the plugin that fits; some tells
// whether there are any that found none.
func (h *Host) assign() (some bool) { return len(h.lonely()) > 0 }

// route assigns sessions and tells those that find no driver. Never called by
// who subscribes.
func (h *Host) route() {
	for s, why := range h.lonely() {
		s.mu.Lock()
		news := !s.told
		s.told = true
		s.mu.Unlock()
		if news {
			s.deliver(func(k stream.Sink) {
				k.Closed(stream.Closed{Cause: stream.CauseDriver, What: why.What, Hint: why.Hint, RetryIn: -1, At: media.WallOf(time.Now())})
			})
		}
	}
}

// lonely assigns sessions and returns those without a driver, with the reason;
// none before the folders were looked through.
func (h *Host) lonely() map[*session]*fault.Problem {
	h.mu.Lock()
	defer h.mu.Unlock()
	lonely := map[*session]*fault.Problem{}
	for s := range h.sessions {
		s.mu.Lock()
		missing := s.svc == nil && !s.closed
		s.mu.Unlock()
		if !missing {
			continue
		}
		sup, why := h.findDriver(s.by)
		if sup != nil {
			sup.driverOf().add(s)
		}
		if why != nil {
			lonely[s] = why
		}
	}
	if !h.scanned {
		return nil
	}
	return lonely
}

// findDriver looks for the plugin; those that run or may run come before
// those that may not, for which it says why. h.mu is held.
func (h *Host) findDriver(by chosenDriver) (best *supervisor, why *fault.Problem) {
	why = fault.New("", "there is no "+by.String(), "put its plugin into a folder of plugins-dir")
	for _, name := range slices.Sorted(maps.Keys(h.sups)) {
		s := h.sups[name]
		s.mu.Lock()
		kind, schemes, problem := s.spec.kind, s.spec.schemes, s.spec.problem
		off := s.spec.disabled || s.spec.problem != nil && s.inst == nil
		if s.inst != nil {
			kind, schemes = kindName(s.inst.info.Kind), s.inst.info.Schemes
		}
		s.mu.Unlock()
		if kind != "driver" || by.name != "" && by.name != name || by.name == "" && !slices.Contains(schemes, by.scheme) {
			continue
		}
		if !off {
			return s, nil
		}
		best, why = s, fault.New("", "plugin "+name+" is switched off", "enable = true in [plugin."+name+"]")
		if problem != nil {
			why = fault.New("", problem.Error(), problem.Hint)
		}
	}
	return best, why
}

// driverOf returns the supervisor's driver side, made at first use.
func (s *supervisor) driverOf() *driverService {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.driver == nil {
		s.driver = &driverService{sup: s, sessions: map[*session]struct{}{}, live: map[uint32]*session{},
			wake: make(chan struct{}, 1), ackWake: make(chan struct{}, 1), work: map[*session]struct{}{}, acks: map[*session]struct{}{}}
	}
	return s.driver
}

// subscribeMessage makes the message that begins or joins a capture.
func (s *session) subscribeMessage(handle uint32, resume []media.RunPosition) *pb.FramesRequest {
	m := &pb.Subscribe{
		Handle: handle, Uid: s.sub.UID, Url: s.sub.URL, Settings: s.sub.Settings,
		ReconnectFirstMs: s.sub.ReconnectFirst.Milliseconds(), ReconnectMaxMs: s.sub.ReconnectMax.Milliseconds(),
		ReconnectNumbers: uint32(max(0, s.sub.ReconnectNumbers)), ReadTimeoutMs: s.sub.ReadTimeout.Milliseconds(),
	}
	for _, k := range s.sub.Kinds {
		m.Kinds = append(m.Kinds, pb.TrackKind(k))
	}
	for _, p := range resume {
		m.Resume = append(m.Resume, positionToPB(p))
	}
	return &pb.FramesRequest{Message: &pb.FramesRequest_Subscribe{Subscribe: m}}
}
