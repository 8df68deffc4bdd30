package rtspsource

import (
	"media-server/core/media"
)

// stamp is an instant on this host's two clocks.
type stamp struct {
	wall media.Wall
	mono int64
}

// piece is an access unit as it comes out of a depacketiser.
type piece struct {
	ts      uint32 // RTP timestamp
	offset  int64  // ticks to add to it: later frames of one packet
	key     bool
	damaged bool
	at      stamp  // arrival of its last byte
	payload []byte // owned by the receiver
}

// port is where a depacketiser puts what it has found.
type port struct {
	unit    func(piece)
	discard func() // a unit was lost for good: nothing decodable is left of it
}

// depacketizer puts packets of one track together. Packets come in order of
// their sequence numbers; lost says that some are missing just before this
// one. The payload is only valid during the call.
type depacketizer interface {
	push(p *packet, lost bool, at stamp)
	// flush ends the unit under way, as at the end of a stream.
	flush()
}

// maxUnit bounds what is put together, as the plugin protocol does.
const maxUnit = 8 << 20

// ---------------------------------------------------------------- one packet, one unit

// simple is for codecs with one or more whole frames a packet: G.711, Opus.
type simple struct{ port }

func (s *simple) push(p *packet, _ bool, at stamp) {
	if len(p.payload) > 0 {
		s.unit(piece{ts: p.ts, key: true, at: at, payload: clone(p.payload)})
	}
}

func (s *simple) flush() {}

// ---------------------------------------------------------------- ONVIF metadata

// documents puts ONVIF metadata together: XML text cut at any byte, the last
// packet of a document carries the marker bit (ONVIF Streaming Specification
// 5.2.1.1). A document with a hole is no XML any more and is dropped. A device
// that never sets the marker is told by a new timestamp.
type documents struct {
	port
	buf     []byte
	ts      uint32
	at      stamp
	started bool // buf holds a document from its beginning
	broken  bool // wait for the end of the document under way
	between bool // the last packet ended a document
}

func (d *documents) push(p *packet, lost bool, at stamp) {
	if lost {
		d.lose(p.ts == d.ts)
	}
	if d.started && p.ts != d.ts {
		d.finish()
		d.between = true
	}
	if d.broken && p.ts != d.ts {
		d.broken, d.between = false, true
	}
	d.ts = p.ts
	if !d.started && !d.broken {
		if !d.between && !looksLikeXML(p.payload) {
			d.broken = true // joined, or lost, in the middle
		} else {
			d.started = true
		}
	}
	if d.started {
		d.buf = append(d.buf, p.payload...)
		d.at = at
		if len(d.buf) > maxUnit {
			d.lose(true)
		}
	}
	d.between = false
	if p.marker {
		d.finish()
		d.broken, d.between = false, true
	}
}

// lose gives the document under way up; same = what follows belongs to it too.
func (d *documents) lose(same bool) {
	if d.started {
		d.discard()
	}
	d.broken = d.started && same
	d.buf, d.started, d.between = d.buf[:0], false, false
}

func (d *documents) finish() {
	if d.started && len(d.buf) > 0 {
		d.unit(piece{ts: d.ts, key: true, at: d.at, payload: clone(d.buf)})
	}
	d.buf, d.started = d.buf[:0], false
}

func (d *documents) flush() { d.buf, d.started = d.buf[:0], false }

func looksLikeXML(b []byte) bool {
	for len(b) > 0 && (b[0] == ' ' || b[0] == '\r' || b[0] == '\n' || b[0] == '\t' || b[0] == 0xef || b[0] == 0xbb || b[0] == 0xbf) {
		b = b[1:]
	}
	return len(b) > 1 && b[0] == '<' && b[1] != '/'
}

// clone copies to a slice of exactly the right size: what was gathered in a
// reused buffer leaves as a payload that wastes no memory while it waits for
// its acknowledgement.
func clone(b []byte) []byte {
	c := make([]byte, len(b))
	copy(c, b)
	return c
}
