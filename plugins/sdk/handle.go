package sdk

import (
	"crypto/rand"
	"sync/atomic"
	"time"

	"google.golang.org/protobuf/proto"

	"media-server/core/media"
	"media-server/plugins/sdk/pb"
)

// handle is one subscription of a connection: how far its capture's log has
// been sent. Its fields belong to the capture's lock.
type handle struct {
	id     uint32
	conn   *conn
	c      *capture
	queued atomic.Bool // on the connection's ready list

	head atomic.Uint64 // order of the next unit to send; noneOldest = none waits

	resume map[media.RunID]media.RunPosition
	named  uint64 // serial of the newest run in resume: earlier ones not in it are not sent
	past   uint64 // serial of the last run told to its end

	run    *runLog // being sent; nil = look for the next
	cursor []uint64
	failed uint64 // failures told
	done   bool   // STOPPED was told

	partial *entry // a unit of which pieces were sent
	seq     uint64
	offset  int

	stats   *pb.Stats
	statsAt time.Time
}

// ready tells the connection that there is something to send. c.mu is held.
func (c *capture) ready(urgent bool) {
	if c.handle != nil {
		c.handle.conn.ready(c.handle, urgent)
	}
}

// readyUnit does so for a unit just written.
func (c *capture) readyUnit(order uint64) {
	if h := c.handle; h != nil {
		h.head.CompareAndSwap(noneOldest, order)
		h.conn.ready(h, c.atOnce.Load())
	}
}

// subscribe makes h the one the log is sent to, from where the core wants it.
func (c *capture) subscribe(h *handle, resume []media.RunPosition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h.resume = make(map[media.RunID]media.RunPosition, len(resume))
	for _, p := range resume {
		h.resume[p.Run] = p
	}
	for _, r := range c.runs {
		if _, ok := h.resume[r.id]; ok {
			h.named = r.serial
		}
	}
	h.head.Store(c.oldest.Load())
	if c.failure == nil {
		h.failed = c.failures
	} else {
		h.failed = c.failures - 1 // the state it is in
	}
	c.handle, c.orphan = h, time.Time{}
	c.atOnce.Store(false)
	c.ready(true)
}

// unsubscribe ends h, if it is still the one.
func (c *capture) unsubscribe(h *handle) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle == h {
		c.handle, c.orphan = nil, time.Now()
		c.atOnce.Store(false)
	}
}

// ack releases what the core holds for good.
func (c *capture) ack(h *handle, pos media.RunPosition) {
	c.mu.Lock()
	defer c.mu.Unlock()
	at := -1
	for i, r := range c.runs {
		if r.id == pos.Run {
			at = i
		}
	}
	if at < 0 {
		return // forgotten already, or split since
	}
	for _, r := range c.runs[:at] {
		for i := range r.tracks {
			c.release(&r.tracks[i], r.tracks[i].end())
		}
		r.reported = true
		if h.run == r {
			h.run, h.partial = nil, nil
		}
	}
	r := c.runs[at]
	for i := range r.tracks {
		t := &r.tracks[i]
		c.release(t, min(pos.Next(t.id), t.end()))
		if h.run == r {
			h.cursor[i] = max(h.cursor[i], t.first) // held, so no hole
		}
	}
	c.prune()
}

// fill puts what is next into out, up to share bytes. It returns false when
// more is left.
func (h *handle) fill(out *outbox, share int) (drained bool) {
	c := h.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.handle != h {
		return true
	}
	out.begin(share)
	if drained = h.units(out); !drained {
		h.head.Store(h.partial.order)
		return false
	}
	h.head.Store(noneOldest)
	h.tellFailure(out)
	h.tellStats(out)
	if h.done {
		c.handle = nil
	}
	return true
}

// units puts runs and their units into out, until that is full.
func (h *handle) units(out *outbox) (drained bool) {
	for {
		if h.partial != nil {
			if !h.piece(out) {
				return false
			}
			continue
		}
		if h.run == nil && !h.nextRun(out) {
			return true
		}
		if h.split(out) {
			continue
		}
		i := h.nextTrack()
		if i < 0 {
			if h.run.closed == nil {
				return true
			}
			h.closeRun(out)
			continue
		}
		t := &h.run.tracks[i]
		e := *t.at(h.cursor[i])
		h.partial, h.seq, h.offset = &e, h.cursor[i], 0
		h.cursor[i]++
	}
}

// piece sends the unit under way, or its next megabyte.
func (h *handle) piece(out *outbox) bool {
	u := toUnit(h.id, h.seq, &h.partial.u)
	rest := u.Payload[h.offset:]
	u.Payload = rest[:min(len(rest), MaxPiece)]
	if len(u.Payload) < len(rest) {
		u.Flags |= uint32(pb.Unit_MORE)
	}
	if !out.unit(&u) {
		return false
	}
	h.offset += len(u.Payload)
	if h.offset == len(h.partial.u.Payload) {
		h.partial = nil
	}
	return true
}

// nextTrack is the track whose next unit was written first; -1: none waits.
func (h *handle) nextTrack() int {
	best, order := -1, uint64(0)
	for i := range h.run.tracks {
		t := &h.run.tracks[i]
		if h.cursor[i] >= t.end() {
			continue
		}
		if o := t.at(h.cursor[i]).order; best < 0 || o < order {
			best, order = i, o
		}
	}
	return best
}

// nextRun begins the oldest run not yet told to this handle.
func (h *handle) nextRun(out *outbox) bool {
	for _, r := range h.c.runs {
		pos, named := h.resume[r.id]
		if r.serial <= h.past || r.serial < h.named && !named {
			continue
		}
		h.begin(r, pos, out)
		return true
	}
	return false
}

func (h *handle) begin(r *runLog, pos media.RunPosition, out *outbox) {
	msg := proto.Clone(r.opened).(*pb.Opened)
	msg.Handle = h.id
	h.run, h.cursor = r, make([]uint64, len(r.tracks))
	for i := range r.tracks {
		t := &r.tracks[i]
		h.cursor[i] = min(max(pos.Next(t.id), t.first), t.end())
		msg.First = append(msg.First, &pb.TrackPosition{Track: uint32(t.id), Next: h.cursor[i]})
	}
	out.control(&pb.FramesReply{Message: &pb.FramesReply_Opened{Opened: msg}})
}

func (h *handle) closeRun(out *outbox) {
	msg := proto.Clone(h.run.closed).(*pb.Closed)
	msg.Handle = h.id
	out.control(&pb.FramesReply{Message: &pb.FramesReply_Closed{Closed: msg}})
	h.run.reported = true
	h.past = h.run.serial
	h.done = h.done || msg.Cause == pb.Cause_STOPPED && h.c.want == nil
	h.run = nil
	h.c.prune()
}

// split begins a new run when units that were not sent had to be dropped, so
// that the core learns of the hole.
func (h *handle) split(out *outbox) bool {
	old, hole := h.run, false
	for i := range old.tracks {
		hole = hole || h.cursor[i] < old.tracks[i].first
	}
	if !hole {
		return false
	}
	c := h.c
	next := &runLog{serial: old.serial + 1, opened: proto.Clone(old.opened).(*pb.Opened), closed: old.closed}
	rand.Read(next.id[:])
	next.opened.Run, next.opened.First = next.id[:], nil
	if next.closed != nil {
		next.closed = proto.Clone(next.closed).(*pb.Closed)
		next.closed.Run = next.id[:]
	}
	for i := range old.tracks {
		next.tracks = append(next.tracks, old.tracks[i].split(h.cursor[i]))
	}
	old.closed = &pb.Closed{
		Run: old.id[:], Cause: pb.Cause_OVERFLOW, ClosedAt: uint64(time.Now().UnixNano()),
		Problem: &pb.Problem{What: "the driver's buffer was full before the core took its units", Hint: "see why the core is behind, or raise [plugins] buffer and buffer-max"},
	}
	for i, r := range c.runs {
		if r == old {
			c.runs = append(c.runs[:i+1], append([]*runLog{next}, c.runs[i+1:]...)...)
			break
		}
	}
	h.closeRun(out)
	return true
}

func (h *handle) tellFailure(out *outbox) {
	c := h.c
	if c.failure == nil || h.failed == c.failures {
		return
	}
	h.failed = c.failures
	msg := proto.Clone(c.failure).(*pb.Closed)
	msg.Handle = h.id
	h.done = h.done || msg.Cause == pb.Cause_STOPPED && c.want == nil
	out.control(&pb.FramesReply{Message: &pb.FramesReply_Closed{Closed: msg}})
}

// tellStats adds the counters when they changed, at most once a second.
func (h *handle) tellStats(out *outbox) {
	now := time.Now()
	if h.stats != nil && now.Sub(h.statsAt) < time.Second {
		return
	}
	s := &h.c.stats
	msg := &pb.Stats{
		Handle: h.id, PacketsReceived: s.PacketsReceived.Load(), PacketsLost: s.PacketsLost.Load(),
		PacketsReordered: s.PacketsReordered.Load(), UnitsDamaged: s.UnitsDamaged.Load(),
		UnitsDropped: s.dropped.Load(), BytesReceived: s.BytesReceived.Load(), Reconnects: s.reconnects.Load(),
	}
	if h.stats != nil && proto.Equal(h.stats, msg) {
		return
	}
	h.stats, h.statsAt = msg, now
	out.last(&pb.FramesReply{Message: &pb.FramesReply_Stats{Stats: msg}})
}
