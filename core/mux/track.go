package mux

import (
	"github.com/cespare/xxhash/v2"

	"media-server/core/media"
)

// track is a writer's state of one track.
type track struct {
	media.Track
	ready  bool // has parameters
	inFile bool

	order   reorder
	next    int64 // earliest decode time allowed
	expect  int64 // where stored samples end; -1 = nothing to join
	nextSeq uint64
	last    uint32 // last duration known; 0 = none
	ended   int64  // decode time that ends the held unit, known from a unit not taken; -1 = unknown

	held    unit
	holding bool

	bytes   gather // payloads of the samples below, then of the held unit
	pending []unit
	size    int   // their payload
	ticks   int64 // their duration
}

// unit is an access unit with its place on the timeline.
type unit struct {
	dts       int64
	cto       int32
	duration  uint32
	size      uint32
	key       bool
	seq, hash uint64
	wall      media.Wall
	cameraPTS int64
	ntp       media.Wall
}

func (u *unit) end() int64 { return u.dts + int64(u.duration) }

// ns converts a decode time to nanoseconds since zero, for comparing tracks.
func (t *track) ns(ticks int64) int64 { return int64(media.DurationOf(ticks, t.Timescale)) }

// usual is the duration of a unit about which nothing is known.
func (t *track) usual() uint32 {
	if t.last > 0 {
		return t.last
	}
	var d int64
	switch t.Codec {
	case media.AAC:
		d = media.Rescale(1024, int64(t.Timescale), int64(max(t.SampleRate, 8000)))
	case media.PCMA, media.PCMU:
		d = media.Rescale(int64(t.held.size), int64(t.Timescale), int64(max(t.SampleRate*t.Channels, 8000)))
	case media.Opus:
		d = int64(t.Timescale) / 50
	default:
		d = int64(t.Timescale) / 25
	}
	return uint32(max(d, 1))
}

// place finds decode time and composition offset for a unit of the track.
func (w *Writer) place(t *track, u *media.AccessUnit, wall media.Wall) (dts int64, cto int32) {
	scale := int64(t.Timescale)
	p := media.TicksOf(wall.Sub(w.zero), t.Timescale)
	dts = p
	if t.Kind() == media.Video {
		switch lag := u.PTS - u.DTS; {
		case u.HasDTS && lag >= 0 && lag <= 10*scale:
			dts = p - lag
		default:
			if u.HasDTS {
				w.stats.BadDTS++
			}
			dts = t.order.decode(p, int64(t.usual()), scale)
		}
	}
	if t.expect >= 0 {
		if off := dts - t.expect; off < 0 || off <= joinTicks(t.Timescale) {
			dts = t.expect
		}
		t.expect = -1
	}
	if dts < t.next {
		switch {
		case t.next == 0:
			w.stats.NegativeTimes++
		case t.Kind() != media.Data: // documents lasted to the end of their part; the offset keeps their time
			w.stats.Backwards++
		}
		dts = t.next
	}
	if t.Kind() == media.Audio {
		return dts, 0
	}
	if off := p - dts; off >= -10*scale && off <= 20*scale {
		return dts, int32(off)
	}
	return dts, 0
}

func joinTicks(timescale uint32) int64 { return media.TicksOf(joinWithin, timescale) }

// hold copies a unit's payload behind what the track holds already.
func (t *track) hold(u *media.AccessUnit, wall media.Wall, dts int64, cto int32, key bool) {
	t.bytes.write(u.Payload)
	t.held = unit{dts: dts, cto: cto, size: uint32(len(u.Payload)), key: key, seq: u.Seq,
		hash: xxhash.Sum64(u.Payload), wall: wall, cameraPTS: u.PTS, ntp: u.NTP}
	t.holding = true
	t.next = dts + 1
}

// take moves the held unit, whose duration is now known, to the pending samples.
func (t *track) take(duration uint32) {
	t.held.duration = duration
	t.pending = append(t.pending, t.held)
	t.size += int(t.held.size)
	t.ticks += int64(duration)
	t.next = max(t.next, t.held.end())
	t.holding = false
}
