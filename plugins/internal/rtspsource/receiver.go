package rtspsource

import (
	"time"
)

const (
	window    = 256                    // packets that may wait for a missing one
	patience  = 150 * time.Millisecond // and for how long
	dropout   = 3000                   // a step of sequence numbers beyond this is a new start (RFC 3550 A.1)
	oldStreak = 32                     // so many old numbers in a row: the sender began again
)

// receiver puts the packets of one sender in order and counts what is missing.
type receiver struct {
	reorder bool // UDP: wait for missing packets; TCP delivers in order

	started bool
	ssrc    uint32
	next    uint16 // sequence number expected
	old     int    // old packets in a row

	held  map[uint16]*held
	since int64 // Mono of the oldest held packet's arrival
	free  []*held

	received, lost, reordered uint64
	cycles                    uint32 // of the sequence number, for receiver reports
	restarted                 func() // another SSRC
	deliver                   func(p *packet, lost bool, at stamp)
}

type held struct {
	p    packet
	data []byte
	at   stamp
}

// take accepts a packet as it arrived; its payload is copied if it has to wait.
func (r *receiver) take(p *packet, at stamp) {
	r.received++
	if !r.started || p.ssrc != r.ssrc {
		if r.started {
			r.skipAll()
			r.restarted()
		}
		r.pass(p, r.started, at)
		r.started, r.ssrc = true, p.ssrc
		return
	}
	d := int(int16(p.seq - r.next))
	if !r.reorder {
		if d > 0 && d < dropout {
			r.lost += uint64(d)
		}
		r.pass(p, d != 0, at)
		return
	}
	switch {
	case d == 0:
		if len(r.held) > 0 {
			r.reordered++
		}
		r.pass(p, false, at)
		r.drain()
	case d > 0 && d < window:
		r.old = 0
		r.hold(p, at)
		if at.mono-r.since > int64(patience) || len(r.held) >= window/2 {
			r.skip()
		}
	case d > 0 && d < dropout:
		r.skipAll()
		r.lost += uint64(p.seq - r.next)
		r.pass(p, true, at)
	case d < 0 && d > -dropout:
		if r.old++; r.old <= oldStreak {
			return // a duplicate, or too late
		}
		r.restarted()
		fallthrough
	default:
		r.skipAll()
		r.pass(p, true, at)
	}
}

func (r *receiver) pass(p *packet, lost bool, at stamp) {
	if p.seq < r.next && r.next-p.seq > 0x8000 {
		r.cycles++
	}
	r.old = 0
	r.next = p.seq + 1
	r.deliver(p, lost, at)
}

func (r *receiver) hold(p *packet, at stamp) {
	if r.held == nil {
		r.held = make(map[uint16]*held)
	}
	if r.held[p.seq] != nil {
		return // a duplicate
	}
	if len(r.held) == 0 {
		r.since = at.mono
	}
	h := &held{}
	if n := len(r.free); n > 0 {
		h, r.free = r.free[n-1], r.free[:n-1]
	}
	h.data = append(h.data[:0], p.payload...)
	h.p, h.at = *p, at
	h.p.payload = h.data
	r.held[p.seq] = h
}

// drain delivers what was waiting and is now in order.
func (r *receiver) drain() {
	for len(r.held) > 0 {
		h := r.held[r.next]
		if h == nil {
			return
		}
		delete(r.held, h.p.seq)
		r.pass(&h.p, false, h.at)
		r.free = append(r.free, h)
	}
}

// skip gives the missing packets before the oldest held one up.
func (r *receiver) skip() {
	if len(r.held) == 0 {
		return
	}
	gap := 0
	for r.held[r.next+uint16(gap)] == nil {
		gap++ // ends: all held numbers lie within the window
	}
	r.lost += uint64(gap)
	h := r.held[r.next+uint16(gap)]
	delete(r.held, h.p.seq)
	r.pass(&h.p, true, h.at)
	r.free = append(r.free, h)
	r.drain()
	r.since = h.at.mono
	first := true
	for _, h := range r.held {
		if first || h.at.mono < r.since {
			r.since, first = h.at.mono, false
		}
	}
}

func (r *receiver) skipAll() {
	for len(r.held) > 0 {
		r.skip()
	}
}

// tick gives up waiting when no further packet comes to do it.
func (r *receiver) tick(mono int64) {
	if len(r.held) > 0 && mono-r.since > int64(patience) {
		r.skip()
	}
}
