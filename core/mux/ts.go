package mux

import (
	"encoding/binary"
	"math"

	"media-server/core/media"
)

// MPEG-TS (ISO/IEC 13818-1) is written here rather than by the library that the
// rest of this room builds on, for two reasons. Segments are made one by one and
// must join: counters of its writer begin with 0 in each, which is a loss in every
// player's eyes. And it copies each unit three times and gives a clock reference
// with every third picture, seconds apart where there is one picture a second.
//
//	units in MP4 sample form ─▶ elementary.pieces: start codes, delimiter, parameter sets; ADTS; Opus header
//	                         ─▶ packets of 188 bytes, each byte copied once

// TSRate is the ticks a second of TSUnit's times.
const TSRate = 90000

const (
	tsPacket  = 188
	tsPayload = tsPacket - 4
	// tsAhead is how long before its decoding a unit is sent, which players take
	// for the depth of their buffers: sound of a segment may come that much late.
	tsAhead = 7 * TSRate / 10
	// tsClock is the longest time between two clock references (2.7.2: 100 ms).
	tsClock = TSRate / 10
	// tsMostClocks bounds those that a hole between two units is filled with.
	tsMostClocks = 100
	// tsTables is how often the tables stand in a segment: their counters must
	// come round too.
	tsTables = 16

	pidTables = 0x1000 // program map; the association is 0
	pidFirst  = 0x100  // of the first track
)

// TSUnit is one access unit of an MPEG-TS segment.
type TSUnit struct {
	Track    int   // index among the tracks
	DTS, PTS int64 // ticks of TSRate since any instant; 33 bits of them are sent
	Duration int64 // ticks; until where the clock goes on behind the last unit
	Key      bool
	Payload  []byte // MP4 sample form, read only
}

// TSNull is what stands for a segment without units: packets that every player
// leaves out (2.4.1).
func TSNull() []byte {
	b := make([]byte, 7*tsPacket)
	for i := range b {
		b[i] = 0xff
	}
	for at := 0; at < len(b); at += tsPacket {
		copy(b[at:], []byte{0x47, 0x1f, 0xff, 0x10})
	}
	return b
}

// AppendTS appends a segment of MPEG-TS: tables, then the units, which come in
// order of DTS. The tracks are those of a run that TSable takes; the first of
// video, else the first, carries the clock. Counters begin with 0 and end with 15
// on each PID (but where a track has so few bytes that they cannot be spread over
// the packets), so that segments join. What cannot be written of a unit is left
// out: NAL units whose lengths do not add up, sound beyond what a header can say.
// The same units give the same bytes.
func AppendTS(dst []byte, tracks []media.Track, units []TSUnit) []byte {
	w := newTSWriter(dst, tracks, units)
	w.spread()
	for i := range w.units {
		for w.tables*len(w.units) <= i*tsTables && w.tables < tsTables {
			w.writeTables()
		}
		w.unit(&w.units[i])
	}
	for w.tables < tsTables {
		w.writeTables()
	}
	w.clocks(w.ends)
	return w.b
}

// MarkTSBreak says in a segment that its clock does not go on from what was sent
// before it (2.4.3.4, discontinuity_indicator): where segments of different runs
// follow one another without a playlist.
func MarkTSBreak(segment []byte) {
	for at := 0; at+tsPacket <= len(segment); at += tsPacket {
		if p := segment[at:]; p[3]&0x20 != 0 && p[4] > 0 && p[5]&0x10 != 0 {
			p[5] |= 0x80
			return
		}
	}
}

// tsUnit is a unit as it goes into packets.
type tsUnit struct {
	track    int
	dts, pts int64
	ends     int64 // DTS of what follows
	key      bool
	pieces   [][]byte // of the elementary stream
	size     int      // their sum
	packets  int
	extra    int // more packets than needed, so that the counter comes round
}

type tsWriter struct {
	b        []byte
	es       []elementary
	units    []tsUnit
	clock    int // track whose PID carries the clock
	pat, pmt []byte
	tables   int // written so far
	counters []byte
	clocked  bool
	last     int64 // DTS of the last clock reference
	ends     int64 // how far the clock may go: what follows begins with it
}

func newTSWriter(dst []byte, tracks []media.Track, units []TSUnit) *tsWriter {
	w := &tsWriter{b: dst, counters: make([]byte, len(tracks)), clock: -1}
	for i := range tracks {
		w.es = append(w.es, newElementary(&tracks[i]))
		if w.clock < 0 && tracks[i].Kind() == media.Video {
			w.clock = i
		}
	}
	w.clock = max(w.clock, 0)
	w.pat, w.pmt = programs(), w.program()
	w.units = make([]tsUnit, 0, len(units))
	bytes := 0
	for i := range units {
		e := &w.es[units[i].Track]
		u := tsUnit{track: units[i].Track, dts: units[i].DTS, pts: units[i].PTS, ends: units[i].DTS + units[i].Duration, key: units[i].Key && e.video}
		u.pieces = e.pieces(&units[i])
		for _, p := range u.pieces {
			u.size += len(p)
		}
		if u.size == 0 {
			continue
		}
		u.packets = 1
		if first := tsPayload - w.adaptation(&u) - u.header(); u.size > first {
			u.packets += (u.size - first + tsPayload - 1) / tsPayload
		}
		bytes += u.packets * tsPacket
		w.units = append(w.units, u)
	}
	w.pace()
	if n := len(w.units); n > 0 {
		spread := max(w.units[n-1].dts, w.units[n-1].ends) - w.units[0].dts
		bytes += int(TSRestMost(len(tracks), n, max(spread, 0)))
	}
	if cap(dst)-len(dst) < bytes {
		w.b = append(make([]byte, 0, len(dst)+bytes), dst...)
	}
	return w
}

// pace says how far the clock may go behind each unit of its track: to the next one; behind
// the last to its end or, where pictures stop and sound goes on, with that, but not into
// what the next segment may begin with.
func (w *tsWriter) pace() {
	for i, ends := len(w.units)-1, int64(math.MinInt64); i >= 0; i-- {
		u := &w.units[i]
		if ends == math.MinInt64 {
			ends = u.dts - tsAhead
		}
		if u.track == w.clock {
			u.ends = max(u.ends, ends)
			ends = u.dts
		}
	}
}

// spread has each PID's packets be a multiple of 16, by spreading the bytes of its
// last units over more of them.
func (w *tsWriter) spread() {
	missing := make([]int, len(w.es))
	for i := range w.units {
		missing[w.units[i].track] -= w.units[i].packets
	}
	for i := range missing {
		missing[i] &= 15
	}
	for i := len(w.units) - 1; i >= 0; i-- {
		u := &w.units[i]
		// The first packet has the header, each of the others a byte at least.
		u.extra = max(min(missing[u.track], u.size-(u.packets-1)), 0)
		missing[u.track] -= u.extra
	}
}

// adaptation is the length of the field in a unit's first packet: with the clock,
// or with the mark that decoding can begin here.
func (w *tsWriter) adaptation(u *tsUnit) int {
	switch {
	case u.track == w.clock:
		return 8
	case u.key:
		return 2
	}
	return 0
}

// header is the length of a unit's PES header.
func (u *tsUnit) header() int {
	if u.dts != u.pts {
		return 19
	}
	return 14
}

func (w *tsWriter) unit(u *tsUnit) {
	switch {
	case u.track == w.clock:
		w.clocks(u.dts)
	case !w.clocked:
		w.firstClock()
	default: // sound must not get ahead of its clock while a picture stands
		w.clocks(min(u.dts, w.ends))
	}
	packets, left := u.packets+u.extra, u.header()+u.size
	rest := u.pieces
	for i := range packets {
		after := packets - i - 1 // each of them has a byte at least
		room := tsPayload
		var field []byte
		if i == 0 {
			field = w.field(u)
			room -= len(field)
		}
		n := min(room, left-after)
		w.packet(u.track, i == 0, field, n)
		left -= n
		if i == 0 {
			w.pes(u)
			n -= u.header()
		}
		for n > 0 {
			k := min(n, len(rest[0]))
			w.b = append(w.b, rest[0][:k]...)
			n -= k
			if rest[0] = rest[0][k:]; len(rest[0]) == 0 {
				rest = rest[1:]
			}
		}
	}
}

// packet begins a packet of which n bytes of payload follow (2.4.3.2).
func (w *tsWriter) packet(track int, first bool, field []byte, n int) {
	c := w.counters[track]
	w.counters[track] = (c + 1) & 15
	w.b = appendPacketHead(w.b, pidFirst+track, first, c, tsPayload-n, field)
}

// appendPacketHead writes a header and an adaptation field of size bytes, which
// begins with field (its length byte left to fill in) and is stuffed.
func appendPacketHead(b []byte, pid int, first bool, counter byte, size int, field []byte) []byte {
	start, control := byte(0), byte(0x10)
	if first {
		start = 0x40
	}
	if size > 0 {
		control = 0x30
	}
	if size == tsPayload {
		control = 0x20
	}
	b = append(b, 0x47, start|byte(pid>>8), byte(pid), control|counter)
	if size == 0 {
		return b
	}
	at := len(b)
	if b = append(b, field...); len(field) == 0 {
		b = append(b, 0)
		if size > 1 {
			b = append(b, 0)
		}
	}
	b[at] = byte(size - 1)
	for len(b)-at < size {
		b = append(b, 0xff)
	}
	return b
}

// field is the adaptation field of a unit's first packet (2.4.3.4).
func (w *tsWriter) field(u *tsUnit) []byte {
	flags := byte(0)
	if u.key {
		flags = 0x40
	}
	if u.track == w.clock {
		w.clocked, w.last, w.ends = true, u.dts, u.ends
		return appendClock([]byte{0, flags | 0x10}, u.dts)
	}
	if flags == 0 {
		return nil
	}
	return []byte{0, flags}
}

// appendClock writes a program clock reference, that of the sending of a unit.
func appendClock(b []byte, dts int64) []byte {
	base := uint64(dts-tsAhead) & (1<<33 - 1)
	b = binary.BigEndian.AppendUint32(b, uint32(base>>1))
	return append(b, byte(base<<7)|0x7e, 0)
}

// clocks fills the time up to the next reference with packets of their own. They
// have no payload and do not count (2.4.3.3).
func (w *tsWriter) clocks(dts int64) {
	if !w.clocked {
		return
	}
	for range tsMostClocks {
		if dts-w.last <= tsClock {
			return
		}
		w.last += tsClock
		w.clockPacket(w.last)
	}
}

// firstClock stands before sound that comes before the first picture. It is the
// picture's, so that the clock does not run back behind the last one of the
// segment before, unless that were later than the sound. Where no picture comes it
// goes on with the sound, but not into what the next segment may begin with.
func (w *tsWriter) firstClock() {
	first := w.units[0].dts
	w.clocked, w.last, w.ends = true, first, w.units[len(w.units)-1].dts-tsAhead
	for i := range w.units {
		if w.units[i].track == w.clock {
			w.ends = w.units[i].dts
			w.last = min(w.ends, first+tsAhead)
			break
		}
	}
	w.clockPacket(w.last)
}

func (w *tsWriter) clockPacket(dts int64) {
	counter := (w.counters[w.clock] - 1) & 15
	w.b = appendPacketHead(w.b, pidFirst+w.clock, false, counter, tsPayload, appendClock([]byte{0, 0x10}, dts))
}

// pes writes a unit's PES header (2.4.3.6).
func (w *tsWriter) pes(u *tsUnit) {
	e := &w.es[u.track]
	// A length tells a player that the unit is whole. Without, it waits for the next
	// one, which at a discontinuity may come after the sound behind it.
	length := u.header() - 6 + u.size
	if length > 0xffff {
		length = 0 // allowed for video alone; sound is never so large
	}
	b := append(w.b, 0, 0, 1, e.streamID, byte(length>>8), byte(length), 0x84)
	if u.dts == u.pts {
		b = append(b, 0x80, 5)
		w.b = appendStamp(b, 2, u.pts)
		return
	}
	b = append(b, 0xc0, 10)
	b = appendStamp(b, 3, u.pts)
	w.b = appendStamp(b, 1, u.dts)
}

func appendStamp(b []byte, mark byte, v int64) []byte {
	v &= 1<<33 - 1
	return append(b, mark<<4|byte(v>>29)&0x0e|1, byte(v>>22), byte(v>>14)|1, byte(v>>7), byte(v<<1)|1)
}
