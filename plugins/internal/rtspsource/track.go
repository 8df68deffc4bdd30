package rtspsource

import (
	"time"

	"media-server/core/media"
)

// track is one elementary stream under way.
type track struct {
	offer
	s       *session
	recv    receiver
	last    packet // as it is passed on: one for all, or each would be allocated
	line    timeline
	unpack  depacketizer
	units   uint64
	damaged uint64
	arrived int64  // Mono of its last packet; 0 = none yet
	bye     int64  // Mono of an RTCP BYE not followed by a packet; 0 = none
	others  uint64 // packets of senders before this one
	sr      uint32
	srAt    int64
	jitter  float64
	transit int64
	report  struct{ received, lost uint64 }
	ports   *ports // UDP
}

func (s *session) newTrack(o offer) *track {
	t := &track{offer: o, s: s}
	t.line.rate = int64(o.track.Timescale)
	if o.track.Codec != media.H264 && o.track.Codec != media.H265 {
		t.order.setDepth(0)
	}
	t.recv.reorder = s.udp
	t.recv.deliver = func(p *packet, lost bool, at stamp) { t.unpack.push(p, lost, at) }
	t.recv.restarted = func() {
		t.line.restart()
		t.others = t.recv.received - 1 // the packet at hand is the new sender's
	}
	t.unpack = o.unpack(port{unit: t.unit, discard: t.discard})
	return t
}

// packet takes an RTP packet as it arrived.
func (t *track) packet(b []byte, at stamp) {
	var ok bool
	p := &t.last
	if *p, ok = parseRTP(b); !ok {
		t.s.extra.bad++
		return
	}
	// A device that sends another dynamic payload type than it announced is
	// believed; comfort noise and the like are not.
	if p.pt != t.pt && !(t.single && p.pt >= 96 && t.pt >= 96) {
		t.s.extra.bad++
		return
	}
	t.s.lastRTP = at.mono
	t.arrived, t.bye = at.mono, 0
	if t.s.udp {
		transit := media.TicksOf(time.Duration(at.mono), t.track.Timescale) - int64(p.ts)
		if d := int32(transit - t.transit); t.transit != 0 {
			t.jitter += (float64(max(d, -d)) - t.jitter) / 16
		}
		t.transit = transit
	}
	t.recv.take(p, at)
}

// control takes an RTCP packet.
func (t *track) control(b []byte, at stamp) {
	readRTCP(b, func(r senderReport) {
		if t.line.setReport(r, t.recv.received-t.others, at) {
			t.sr, t.srAt = uint32(r.ntp>>16), at.mono
		}
	}, func(ssrc uint32) {
		if !t.recv.started || ssrc == t.recv.ssrc {
			t.bye = at.mono
		}
	})
}

// unit gives a complete access unit its times and hands it over.
func (t *track) unit(p piece) {
	t.units++
	if !t.line.started {
		t.line.head = t.recv.received - t.others
	}
	pts, jumped := t.line.extend(p.ts, p.at.mono)
	if jumped {
		t.order.reset()
	}
	u := media.AccessUnit{
		Track: t.track.ID, PTS: pts + p.offset,
		Received: p.at.wall, Mono: p.at.mono,
		Key: p.key, Damaged: p.damaged, Payload: p.payload,
	}
	if n := t.line.ntp(p.ts); n != 0 {
		u.NTP = n.Add(media.DurationOf(p.offset, t.track.Timescale))
	}
	u.DTS, u.HasDTS = t.order.next(u.PTS)
	if p.damaged {
		t.damaged++
	}
	t.s.deliver(u)
}

// discard counts a unit of which nothing usable arrived. What a join in the
// middle of a picture leaves behind is no loss.
func (t *track) discard() {
	if t.units > 0 {
		t.damaged++
	}
}

// receiverReport tells the sender how its packets arrive; UDP only, where some
// devices end sessions that get none.
func (t *track) receiverReport(now stamp) []byte {
	r := &t.recv
	if !r.started {
		return nil
	}
	received, lost := r.received-t.report.received, r.lost-t.report.lost
	t.report.received, t.report.lost = r.received, r.lost
	var fraction uint8
	if received+lost > 0 {
		fraction = uint8(min(255, lost*256/(received+lost)))
	}
	return receiverReport(t.s.ownSSRC, r.ssrc, fraction, uint32(min(r.lost, 1<<23-1)),
		r.cycles<<16|uint32(r.next-1), uint32(t.jitter), t.sr, time.Duration(now.mono-t.srAt))
}
