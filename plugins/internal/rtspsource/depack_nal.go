package rtspsource

import (
	"bytes"
	"encoding/binary"
	"sync"
)

// nalCodec is what H.264 and H.265 differ in, once NAL units are whole.
type nalCodec struct {
	header  int                    // bytes of a NAL header
	kind    func(nal []byte) uint8 // nal_unit_type
	picture func(kind uint8) bool  // a slice
	key     func(kind uint8) bool  // a slice of a random access picture
	drop    func(kind uint8) bool  // never stored: delimiters, filler, ends
	first   func(nal []byte) bool  // a slice that begins a picture
	sps     func(kind uint8) bool  // sequence parameter set
	depth   func(sps []byte) int   // reorder depth it states, or -1
	intra   func(nal []byte) bool  // an I slice; nil = not needed
	recover func(nal []byte) bool  // a recovery point that is exact at once; nil = not needed
}

// pictures gathers NAL units to access units in MP4 sample form. It is shared
// by the H.264 and the H.265 depacketiser.
//
// A unit ends at the marker bit, or when the timestamp changes for cameras that
// do not set it. Parameter sets and SEI that come with a marker of their own,
// as some firmware sends them, wait for their picture.
type pictures struct {
	port
	codec nalCodec
	order *decodeOrder

	buf     []byte  // unit under way, 4-byte lengths
	lent    *[]byte // buf's, by units; nil = none is under way
	ts      uint32
	at      stamp
	open    bool // buf belongs to ts
	slices  bool // it holds a slice
	key     bool
	exact   bool // it holds a recovery point
	notI    bool // it holds a slice that is not I
	damaged bool

	nal     int  // offset of the length of the NAL being put together; -1 = none
	skip    bool // the fragments that follow belong to a NAL whose start is lost
	pending bool // packets were lost just before the unit that begins next

	ended      bool   // a unit was ended by a marker…
	endedAt    uint32 // …with this timestamp
	lying      bool   // markers come in the middle of pictures
	lastSPS    []byte
	annexB     int // NAL units left to be checked for start codes; -1 = they have them
	discarding bool
}

// units are buffers for units under way. A unit comes in a burst, so few sources
// need one at a time.
var units = sync.Pool{New: func() any { return new([]byte) }}

func newPictures(out port, codec nalCodec, order *decodeOrder) pictures {
	return pictures{port: out, codec: codec, order: order, nal: -1, annexB: 64}
}

// begin is called for each packet, before its NAL units.
func (u *pictures) begin(p *packet, lost bool, at stamp) {
	if lost {
		u.abandonNAL()
		u.skip = false
		if u.open {
			u.damaged = true
		}
		u.pending = true
	}
	if p.ts != u.ts {
		// Parameter sets with a timestamp of their own stay for their picture.
		if u.open && (u.slices || u.damaged) {
			u.finish()
		}
		u.discarding = false
	}
	u.ts, u.at = p.ts, at
}

// end is called after the NAL units of a packet.
func (u *pictures) end(p *packet) {
	if !p.marker || u.lying {
		return
	}
	if u.nal >= 0 { // the last fragment is missing though no packet is
		u.abandonNAL()
		u.damaged = true
	}
	if u.slices || u.damaged {
		u.finish()
	}
	u.ended, u.endedAt = true, p.ts
}

// whole adds a complete NAL unit.
func (u *pictures) whole(nal []byte) {
	u.abandonNAL()
	u.start(nal)
	u.complete()
}

// start opens a NAL unit with its first bytes; more adds to it.
func (u *pictures) start(first []byte) {
	u.abandonNAL()
	if u.lent == nil {
		u.lent = units.Get().(*[]byte)
		u.buf = (*u.lent)[:0]
	}
	u.open = true
	u.nal = len(u.buf)
	u.buf = append(u.buf, 0, 0, 0, 0)
	u.buf = append(u.buf, first...)
}

func (u *pictures) more(b []byte) {
	u.buf = append(u.buf, b...)
	if len(u.buf) > maxUnit {
		u.abandonNAL()
		u.damaged, u.discarding = true, true
	}
}

// abandonNAL takes back the NAL unit that is being put together.
func (u *pictures) abandonNAL() {
	if u.nal >= 0 {
		u.buf = u.buf[:u.nal]
		u.nal = -1
		u.damaged = true
	}
}

// complete ends the NAL unit that is being put together.
func (u *pictures) complete() {
	at := u.nal
	u.nal = -1
	nal := u.buf[at+4:]
	if u.annexB != 0 && u.startCodes(at) {
		return
	}
	if len(u.buf) > maxUnit || u.discarding {
		u.buf = u.buf[:at]
		u.damaged, u.discarding = true, true
		return
	}
	if !u.note(nal) {
		u.buf = u.buf[:at]
		return
	}
	binary.BigEndian.PutUint32(u.buf[at:], uint32(len(nal)))
}

// startCodes splits a NAL unit that holds Annex B start codes, as some servers
// send them, and reports whether it did. Start codes cannot occur in a NAL unit
// (emulation prevention), so one of them is proof; after 64 clean units the
// search, which costs a pass over every byte, is given up.
func (u *pictures) startCodes(at int) bool {
	nal := u.buf[at+4:]
	if !bytes.Contains(nal, []byte{0, 0, 1}) {
		if u.annexB > 0 {
			u.annexB--
		}
		return false
	}
	u.annexB = -1
	all := clone(nal)
	u.buf = u.buf[:at]
	for _, n := range bytes.Split(all, []byte{0, 0, 1}) {
		n = bytes.TrimRight(n, "\x00")
		if len(n) == 0 {
			continue
		}
		from := len(u.buf)
		u.buf = append(u.buf, 0, 0, 0, 0)
		u.buf = append(u.buf, n...)
		binary.BigEndian.PutUint32(u.buf[from:], uint32(len(n)))
		if !u.note(u.buf[from+4:]) {
			u.buf = u.buf[:from]
		}
	}
	return true
}

// note looks at a complete NAL unit; false = it is not to be stored.
func (u *pictures) note(nal []byte) bool {
	c := &u.codec
	if len(nal) < c.header {
		return false
	}
	kind := c.kind(nal)
	if c.drop(kind) {
		return false
	}
	switch {
	case c.sps(kind):
		if !bytes.Equal(nal, u.lastSPS) {
			u.lastSPS = clone(nal)
			u.order.setDepth(c.depth(nal))
		}
	case c.picture(kind):
		if !u.slices {
			u.firstSlice(nal)
		}
		u.slices = true
		u.key = u.key || c.key(kind)
		if c.intra != nil && !u.notI {
			u.notI = !c.intra(nal)
		}
	case c.recover != nil && c.recover(nal):
		u.exact = true
	}
	return true
}

// firstSlice judges from the first slice of a unit whether what was lost before
// it was part of it, and whether a marker cut a picture in two.
func (u *pictures) firstSlice(nal []byte) {
	if u.codec.first(nal) {
		u.pending = false
		return
	}
	u.damaged = true
	if !u.pending && u.ended && u.endedAt == u.ts {
		u.lying = true // from now on only timestamps end units
	}
	u.pending = false
}

// finish hands the unit over.
func (u *pictures) finish() {
	u.abandonNAL()
	switch {
	case u.slices:
		u.unit(piece{
			ts: u.ts, at: u.at, damaged: u.damaged,
			key:     u.key || u.exact && !u.notI && u.codec.intra != nil,
			payload: clone(u.buf),
		})
	case u.damaged:
		u.discard()
	}
	u.giveBack()
	u.open, u.slices, u.key, u.exact, u.notI, u.damaged = false, false, false, false, false, false
}

// flush ends a stream. A picture is dropped unless the camera sends no markers
// and only the proof of its end is missing.
func (u *pictures) flush() {
	if u.open && u.slices && u.nal < 0 && (u.lying || !u.ended) {
		u.finish()
	}
	u.nal = -1
	u.giveBack()
	u.open = false
}

// giveBack ends the unit under way.
func (u *pictures) giveBack() {
	if u.lent != nil {
		*u.lent = u.buf[:0]
		units.Put(u.lent)
	}
	u.buf, u.lent = nil, nil
}
