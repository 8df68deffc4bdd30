package rtspsource

import (
	"context"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"

	"github.com/bluenviron/gortsplib/v4/pkg/base"
)

// Config says what to capture and how.
type Config struct {
	URL         string                // rtsp:// or rtsps://, with user and password
	Wants       func(media.Kind) bool // kinds to ask for; nil = all
	ReadTimeout time.Duration         // silence that counts as a loss; 0 = 5 s
	Transport   string                // Auto, TCP or UDP; empty = Auto
	VerifyTLS   bool                  // rtsps: refuse certificates nobody vouches for
	NoGather    bool                  // never let the kernel gather packets (see doc.go, Wake-ups)
}

// Sink takes what is captured; *sdk.Run is one. Its methods are called from one
// goroutine at a time, and Write never waits.
type Sink interface {
	Open(tracks []media.Track, device string, leftOut ...sdk.LeftOut) error
	Write(u media.AccessUnit) error
	Stats() *sdk.Stats
	AtOnce() bool
}

func (c *Config) defaults() {
	if c.Wants == nil {
		c.Wants = func(media.Kind) bool { return true }
	}
	if c.ReadTimeout <= 0 {
		c.ReadTimeout = 5 * time.Second
	}
	if c.Transport == "" {
		c.Transport = Auto
	}
}

// Probe connects once and says what the source offers.
func Probe(ctx context.Context, cfg Config) (sdk.ProbeResult, error) {
	cfg.defaults()
	s, err := connect(ctx, cfg)
	if err != nil {
		return sdk.ProbeResult{}, err
	}
	defer s.close()
	r := sdk.ProbeResult{LeftOut: s.left, Device: s.device()}
	for _, o := range s.offers {
		r.Tracks = append(r.Tracks, o.track)
	}
	if len(r.Tracks) == 0 {
		return r, nothing(s.addr.host, s.left)
	}
	return r, nil
}

// Capture connects, opens the sink and writes to it until the source is lost
// or ctx ends. The error is an *sdk.Failure, or ctx.Err().
func Capture(ctx context.Context, cfg Config, sink Sink) error {
	cfg.defaults()
	s, err := connect(ctx, cfg)
	if err != nil {
		return err
	}
	s.sink = sink
	s.now = instant()
	stop := context.AfterFunc(ctx, func() { s.wire.nc.SetReadDeadline(time.Unix(1, 0)) })
	defer func() {
		stop()
		s.close()
		for _, t := range s.tracks {
			t.ports.close()
		}
	}()
	if len(s.offers) == 0 {
		return nothing(s.addr.host, s.left)
	}
	if err := s.setup(ctx); err != nil {
		return err
	}
	var readers sync.WaitGroup
	defer readers.Wait()
	defer func() {
		for _, t := range s.tracks {
			t.ports.close()
		}
	}()
	for _, t := range s.tracks {
		if t.ports != nil {
			readers.Go(func() { s.readUDP(t, t.ports.rtp, false) })
			readers.Go(func() { s.readUDP(t, t.ports.rtcp, true) })
		}
	}
	if err := s.play(ctx); err != nil {
		return err
	}
	if err := s.open(); err != nil {
		return err
	}
	err = s.run(ctx)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return err
}

// open begins the run and hands over what came before the answer to PLAY.
func (s *session) open() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var tracks []media.Track
	for _, t := range s.tracks {
		tracks = append(tracks, t.track)
	}
	if err := s.sink.Open(tracks, s.device(), s.left...); err != nil {
		return err
	}
	s.opened = true
	for _, u := range s.early {
		s.deliver(u)
	}
	s.early = nil
	return s.fatal
}

// deliver hands a unit to the sink, or keeps it until the sink is open.
func (s *session) deliver(u media.AccessUnit) {
	if !s.opened {
		if len(s.early) < 1024 {
			s.early = append(s.early, u)
		}
		return
	}
	if err := s.sink.Write(u); err != nil && s.fatal == nil {
		s.fatal = err
	}
}

// run reads until the connection ends. The read deadline is the one timer of a
// source: it ends silence and sends keep-alives. While gathering, the common
// tick takes its place.
func (s *session) run(ctx context.Context) error {
	now := s.arrival().mono
	s.mu.Lock()
	s.lastRTP, s.lastAny = now, now
	s.mu.Unlock()
	g := gatherer{s: s}
	keepAt := now + int64(s.keep)
	reportAt := now + int64(5*time.Second)
	due := int64(0)
	more := false // gathering: the last read left something
	for {
		if err := s.drain(); err != nil {
			return err
		}
		if now >= due {
			if now >= keepAt {
				if err := s.keepAlive(); err != nil {
					return lost(s.addr.host, err)
				}
				keepAt = now + int64(s.keep)
			}
			if s.udp && now >= reportAt {
				s.sendReports()
				reportAt = now + int64(5*time.Second)
			}
			wait, err := s.quiet(now)
			if err != nil {
				return err
			}
			wait = min(wait, g.step(now), time.Second)
			due = now + int64(wait)
			if g.on() {
				s.wire.nc.SetReadDeadline(time.Time{}) // the tick is the timer
			} else {
				s.wire.nc.SetReadDeadline(time.Now().Add(wait))
			}
		}
		if g.on() && !more {
			s.wire.rest()
			g.pause()
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
		var err error
		if more = false; g.on() {
			more, err = s.wire.take()
		} else {
			s.wire.widen() // again, if it gathered until now
			err = s.wire.fill()
		}
		now = s.arrival().mono
		if err != nil && !isTimeout(err) {
			s.flush()
			return lost(s.addr.host, err)
		}
	}
}

// drain takes apart what has been read.
func (s *session) drain() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		channel, frame, m, ok, err := s.wire.next()
		if err != nil {
			return nonsense(s.addr.host, "sends bytes that are no RTSP")
		}
		if !ok {
			break
		}
		switch {
		case m == nil:
			s.frame(channel, frame)
		case m.method != "":
			s.asked(m)
		default:
			s.answered(m)
		}
	}
	if s.extra.wire != s.seen {
		s.seen, s.lastAny = s.extra.wire, s.now.mono
	}
	s.account()
	return s.fatal
}

// frame takes an interleaved frame.
func (s *session) frame(channel byte, b []byte) {
	r := s.routes[channel]
	switch {
	case r.t == nil:
		s.extra.bad++
	case r.rtcp:
		r.t.control(b, s.now)
	default:
		r.t.packet(b, s.now)
	}
}

// answered looks at the answer to a keep-alive. Devices whose digest nonces
// expire say so here; without a new try they end the session.
func (s *session) answered(m *message) {
	switch {
	case m.code == 401 && s.addr.hasUser && s.challenge(m):
		if m.get("cseq") != "" && s.extra.challenged < 3 {
			s.extra.challenged++
			if err := s.sendKeepAlive(); err != nil {
				s.fatal = lost(s.addr.host, err)
			}
		}
	case m.code == 200:
		s.extra.challenged = 0
	case m.code == 454:
		s.fatal = sdk.Fail(pb.Cause_LOST, s.addr.host+" has forgotten the session", "")
	}
}

func (s *session) keepAlive() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sendKeepAlive()
}

func (s *session) sendKeepAlive() error {
	method := base.Options
	if s.getPar {
		method = base.GetParameter
	}
	return s.send(method, s.base, nil)
}

func (s *session) sendReports() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tracks {
		if b := t.receiverReport(s.now); b != nil && t.ports != nil {
			t.ports.send(b)
		}
	}
}

// quiet says how long the source may still be silent, or that it was for too
// long.
func (s *session) quiet(now int64) (time.Duration, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	limit, last := s.cfg.ReadTimeout, s.lastRTP
	onlyData, byes := true, 0
	for _, t := range s.tracks {
		onlyData = onlyData && t.track.Kind() == media.Data
		if t.bye != 0 && now-t.bye > int64(time.Second) {
			byes++
		}
		// A camera whose encoder hung goes on with sound. Only a picture that
		// was there and went is missed: see doc.go.
		if v := max(3*limit, 15*time.Second); t.track.Kind() == media.Video && t.arrived != 0 && now-t.arrived > int64(v) {
			return 0, silent(s.addr.host, "sends no more video, only the rest", "the device's encoder may hang: restart it")
		}
	}
	if byes == len(s.tracks) {
		return 0, sdk.Fail(pb.Cause_LOST, s.addr.host+" ended the stream", "")
	}
	if onlyData { // metadata may be rare: the answers to keep-alives count too
		limit, last = max(limit, 2*s.keep+limit), max(s.lastAny, last)
	}
	left := limit - time.Duration(now-last)
	if left <= 0 {
		hint := "the device may hang, or the network be cut"
		if s.udp && s.sent.packets == 0 {
			hint = "no packet arrived at all: a firewall may drop UDP; set driver-transport = tcp"
		}
		return 0, silent(s.addr.host, "has sent nothing for "+limit.Round(time.Second/10).String(), hint)
	}
	if byes > 0 {
		left = min(left, 250*time.Millisecond)
	}
	return left, nil
}

// flush ends what is under way on all tracks.
func (s *session) flush() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, t := range s.tracks {
		t.recv.skipAll()
		t.unpack.flush()
	}
	s.account()
}

// counts are totals of a session.
type counts struct {
	packets, lost, reordered, damaged, bytes uint64
	wire                                     uint64 // bytes of the RTSP connection
	bad                                      uint64 // packets that are none
	challenged                               int
}

// account adds what happened since the last call to the stream's counters.
func (s *session) account() {
	if s.sink == nil {
		return
	}
	var c counts
	for _, t := range s.tracks {
		c.packets += t.recv.received
		c.lost += t.recv.lost
		c.reordered += t.recv.reordered
		c.damaged += t.damaged
	}
	c.bytes = s.extra.bytes + s.extra.wire
	st := s.sink.Stats()
	add := func(to interface{ Add(uint64) uint64 }, now, before uint64) {
		if now != before {
			to.Add(now - before)
		}
	}
	add(&st.PacketsReceived, c.packets, s.sent.packets)
	add(&st.PacketsLost, c.lost, s.sent.lost)
	add(&st.PacketsReordered, c.reordered, s.sent.reordered)
	add(&st.UnitsDamaged, c.damaged, s.sent.damaged)
	add(&st.BytesReceived, c.bytes, s.sent.bytes)
	s.sent = c
}

// instant reads both clocks.
func instant() stamp {
	var ts unix.Timespec
	if err := unix.ClockGettime(unix.CLOCK_BOOTTIME, &ts); err != nil {
		return stamp{wall: media.WallOf(time.Now())}
	}
	return stamp{wall: media.WallOf(time.Now()), mono: ts.Nano()}
}
