package pluginhost

import (
	"sync/atomic"
	"time"

	"media-server/core/media"
	"media-server/core/stream"
	"media-server/plugins/sdk/codec"
	"media-server/plugins/sdk/pb"
)

// Limits of the protocol that the core holds against a driver.
const (
	maxUnit   = 8 << 20 // bytes of an access unit, pieces joined
	maxTracks = 32
)

// capture is what the reader knows of a session's run. The reader alone
// touches that of a live session (one whose handle is in driverService.live);
// of one that is not, whoever holds its sinkMu.
type capture struct {
	run    media.RunID
	opened atomic.Bool // read by Status
	tracks [maxTracks + 1]bool
	units  []media.AccessUnit // of one batch, used again
	parts  map[int]*pieces    // by track: units that have not arrived whole
	inHand bool               // has units of the present batch
}

// pieces gathers a unit that comes in several.
type pieces struct {
	seq  uint64
	data []byte
	bad  bool // too large; the rest is dropped
}

// reset drops units that have not arrived whole; the driver sends them again.
// It returns the change in bytes held, negative.
func (c *capture) reset() (change int) {
	for _, p := range c.parts {
		change -= len(p.data)
	}
	c.parts = nil
	c.clearUnits()
	return change
}

// over ends the run.
func (c *capture) over() {
	c.run = media.RunID{}
	c.opened.Store(false)
}

func (c *capture) clearUnits() {
	clear(c.units)
	c.units, c.inHand = c.units[:0], false
}

// batch delivers units: in order for each stream, one call a stream.
func (d *driverService) batch(units []codec.Unit) {
	var handle uint32
	var s *session
	var size, dropped uint64
	held := 0
	d.mu.Lock()
	for i := range units {
		u := &units[i]
		size += uint64(len(u.Payload))
		if s == nil || u.Handle != handle {
			s, handle = d.live[u.Handle], u.Handle
			if s != nil && !s.inHand {
				s.inHand = true
				d.touched = append(d.touched, s)
			}
		}
		if s == nil || !s.take(u, &held) {
			dropped++
		}
	}
	d.batches++
	d.units += uint64(len(units))
	d.bytes += size
	d.dropped += dropped
	d.pieces += int64(held)
	d.mu.Unlock()
	for _, s := range d.touched {
		d.hand(s)
	}
	clear(d.touched)
	d.touched = d.touched[:0]
}

// hand delivers the units gathered for s.
func (d *driverService) hand(s *session) {
	s.sinkMu.Lock()
	defer s.sinkMu.Unlock()
	ok := true
	s.mu.Lock()
	usable := !s.closed && s.handle != 0
	s.mu.Unlock()
	if usable && len(s.units) > 0 {
		ok = s.sink.Units(s.units)
	}
	s.clearUnits()
	if ok {
		return
	}
	d.room(s.reset())
	s.mu.Lock()
	handle := s.handle
	s.behind = true
	if handle != 0 && !s.closed {
		s.unsub = append(s.unsub, unsubscription{handle, true})
		s.handle, s.modes, s.acks = 0, false, false
	}
	s.mu.Unlock()
	d.mu.Lock()
	delete(d.live, handle)
	d.mu.Unlock()
	d.dirty(s)
}

// take adds a unit, or a piece of one, to what is in hand. False: it fits
// nothing.
func (c *capture) take(u *codec.Unit, held *int) bool {
	track := int(u.Track)
	if !c.opened.Load() || track < 1 || track > maxTracks || !c.tracks[track] {
		return false
	}
	if len(u.Payload) > maxUnit {
		return false
	}
	more := u.Flags&uint32(pb.Unit_MORE) != 0
	p := c.parts[track]
	if p != nil && p.seq != u.Sequence { // its end never came
		*held -= len(p.data)
		delete(c.parts, track)
		p = nil
	}
	if p == nil && !more {
		c.units = append(c.units, unitOf(u, u.Payload))
		return true
	}
	if p == nil {
		if c.parts == nil {
			c.parts = map[int]*pieces{}
		}
		p = &pieces{seq: u.Sequence}
		c.parts[track] = p
	}
	if len(p.data)+len(u.Payload) > maxUnit {
		p.bad = true
	}
	if !p.bad {
		p.data = append(p.data, u.Payload...)
		*held += len(u.Payload)
	}
	if more {
		return !p.bad
	}
	delete(c.parts, track)
	*held -= len(p.data)
	if p.bad {
		return false
	}
	c.units = append(c.units, unitOf(u, p.data))
	return true
}

func unitOf(u *codec.Unit, payload []byte) media.AccessUnit {
	return media.AccessUnit{
		Track: int(u.Track), Seq: u.Sequence, PTS: u.PTS, DTS: u.DTS, HasDTS: u.HasDTS,
		NTP: media.Wall(u.SourceTime), Received: media.Wall(u.ReceivedTime), Mono: int64(u.ReceivedMono),
		Key: u.Flags&uint32(pb.Unit_KEY) != 0, Damaged: u.Flags&uint32(pb.Unit_DAMAGED) != 0, Payload: payload,
	}
}

// control handles every message but a batch.
func (d *driverService) control(m *pb.FramesReply) {
	switch m := m.Message.(type) {
	case *pb.FramesReply_Opened:
		d.opened(m.Opened)
	case *pb.FramesReply_Closed:
		d.closed(m.Closed)
	case *pb.FramesReply_Stats:
		d.withLive(m.Stats.Handle, func(s *session, k stream.Sink) { k.Stats(statsOf(m.Stats)) })
	}
}

func (d *driverService) withLive(handle uint32, f func(*session, stream.Sink)) {
	d.mu.Lock()
	s := d.live[handle]
	d.mu.Unlock()
	if s != nil {
		s.deliver(func(k stream.Sink) { f(s, k) })
	}
}

func (d *driverService) opened(m *pb.Opened) {
	d.withLive(m.Handle, func(s *session, k stream.Sink) {
		d.room(s.reset())
		o, what := openedOf(m)
		if what != "" {
			d.sup.log.Error("driver breaks the protocol", "stream", s.sub.UID, "err", what)
			s.over()
			k.Closed(stream.Closed{Run: o.Run, Cause: stream.CauseProtocol, What: "the driver says what it may not: " + what,
				Hint: "this is a fault of plugin " + d.sup.name, At: media.WallOf(time.Now())})
			return
		}
		s.run = o.Run
		s.tracks = [maxTracks + 1]bool{}
		for _, t := range o.Tracks {
			s.tracks[t.ID] = true
		}
		s.opened.Store(true)
		k.Opened(o)
	})
}

func (d *driverService) closed(m *pb.Closed) {
	d.withLive(m.Handle, func(s *session, k stream.Sink) {
		d.room(s.reset())
		s.over()
		k.Closed(closedOf(m))
	})
}
