package webrtc

import (
	"context"
	"errors"
	"time"

	"github.com/pion/rtcp"

	"media-server/core/media"
)

const (
	longGroup   = 15 * time.Second       // a key frame older than this is shown alone
	rewindEvery = 10 * time.Second       // between two groups of pictures sent again on request
	keyOnItsWay = time.Second            // a request so soon behind a key frame was made before it came
	burstAge    = 250 * time.Millisecond // what is older when a session begins belongs to the burst
	burstWithin = 3 * time.Second        // from a beginning until its burst is over
	staleSound  = 80 * time.Millisecond  // sound of a burst that is not sent: a player would stay behind by it, and hold the picture back
	soundWithin = 1500 * time.Millisecond
	reportEvery = time.Second
)

var errChanged = errors.New("the stream is no longer what was negotiated")

// feed is the sending side of a session: one goroutine.
type feed struct {
	s       *session
	pace    pacer
	cut     cutter
	tracks  *media.Track // first of the tracks that outs were matched with
	began   time.Time    // of the newest burst
	burst   bool
	rewound time.Time // when a group was sent again
	keyAt   time.Time // when a key frame was sent
	still   bool      // a still picture was sent; the next key frame goes on
	waiting bool      // for a key frame
	report  time.Time
}

// send reads frames and sends them until the session ends.
func (s *session) send() {
	f := &feed{s: s}
	now := media.WallOf(time.Now())
	for _, o := range []*out{s.video, s.audio} {
		if o != nil {
			o.clock.origin = now
		}
	}
	for s.ctx.Err() == nil {
		if again := f.read(); !again {
			return
		}
	}
}

// read sends from the newest group of pictures on; true = begin anew.
func (f *feed) read() (again bool) {
	r, err := f.s.server.opt.Source.Live(f.s.uid)
	if err != nil {
		return false
	}
	defer r.Close()
	f.began, f.burst, f.still, f.waiting = time.Now(), true, false, f.s.video != nil
	for {
		fr, err := f.next(r)
		if err != nil || fr == nil {
			return false // the stream has gone, or nothing came for long: the player learns it by DTLS
		}
		if err := f.frame(fr); err != nil {
			return false
		}
		select {
		case <-f.s.refresh:
			if f.rewind() {
				return true
			}
		default:
		}
	}
}

// rewind decides what a player gets that asks for a key frame. It has lost what
// cannot be sent again: once, that is the newest group of pictures. One that asks
// soon again cannot take as much as there is, and gets nothing until the next key
// frame comes by itself.
func (f *feed) rewind() bool {
	switch now := time.Now(); {
	case now.Sub(f.keyAt) < keyOnItsWay:
	case now.Sub(f.rewound) > rewindEvery:
		f.rewound = now
		return true
	default:
		f.waiting = true
	}
	return false
}

// silentAtMost is how long a stream may be without a frame before its sessions end:
// the camera is away, and a player that asks again is told so.
const silentAtMost = 30 * time.Second

func (f *feed) next(r Reader) (*media.Frame, error) {
	end := time.Now().Add(silentAtMost)
	for {
		fr, err := next(f.s.ctx, r, reportEvery)
		if err == nil {
			return fr, nil
		}
		if f.s.ctx.Err() != nil || !errors.Is(err, context.DeadlineExceeded) || time.Now().After(end) {
			return nil, err
		}
		f.reports()
	}
}

func (f *feed) frame(fr *media.Frame) error {
	if err := f.match(fr); err != nil {
		return err
	}
	f.reports()
	switch s := f.s; {
	case s.video != nil && fr.Track == s.video.id:
		return f.picture(s.video, fr)
	case s.audio != nil && fr.Track == s.audio.id:
		return f.sound(s.audio, fr)
	}
	return nil
}

// match finds the tracks again after they have changed. H.264 goes on with other
// parameters; another codec needs another session.
func (f *feed) match(fr *media.Frame) error {
	if len(fr.Tracks) == 0 || f.tracks == &fr.Tracks[0] {
		return nil
	}
	f.tracks = &fr.Tracks[0]
	for _, o := range []*out{f.s.video, f.s.audio} {
		if o == nil {
			continue
		}
		o.id = 0
		for _, t := range fr.Tracks {
			if t.Codec == o.line.track.Codec && t.SampleRate == o.line.track.SampleRate && t.Channels == o.line.track.Channels {
				o.id, o.line.track = t.ID, t
				break
			}
		}
		if o.id == 0 && o == f.s.video {
			return errChanged
		}
	}
	return nil
}

// picture sends an access unit of H.264.
func (f *feed) picture(o *out, fr *media.Frame) error {
	now := media.WallOf(time.Now())
	age := now.Sub(fr.PTS)
	switch {
	case fr.Break && !fr.Key:
		f.waiting = true
	case fr.Key:
		f.still, f.waiting = f.burst && age > longGroup, false
	case f.still:
		return nil
	}
	if f.waiting {
		return nil
	}
	if !fr.Key && hasB(fr.Payload) {
		return errChanged
	}
	if f.burst = f.burst && time.Since(f.began) < burstWithin; f.burst && age > burstAge {
		// The newest that was sent must stay behind what is squeezed towards edge.
		o.clock.edge = max(o.clock.edge, now)
	} else if fr.Break && !f.burst {
		o.clock.edge = 0 // of another time map, perhaps
	}
	if fr.Key {
		f.keyAt = time.Now()
	}
	ts := o.clock.picture(fr.PTS)
	parts := f.cut.h264(&o.line.track, fr.Payload, fr.Key)
	for i, p := range parts {
		if err := f.pace.wait(f.s.ctx); err != nil {
			return err
		}
		if err := o.write(p, ts, i == len(parts)-1); err != nil {
			return err
		}
		f.s.sent.Add(int64(len(p)) + 12)
	}
	return nil
}

// sound sends a packet of Opus, or G.711 in packets that fit.
func (f *feed) sound(o *out, fr *media.Frame) error {
	if media.WallOf(time.Now()).Sub(fr.PTS) > staleSound && time.Since(f.began) < soundWithin {
		return nil
	}
	payload, pts := fr.Payload, fr.PTS
	if o.line.track.Codec == media.Opus {
		n := opusSamples(payload)
		if n == 0 || len(payload) > maxPayload {
			return nil // no packet of Opus
		}
		return f.packet(o, payload, o.clock.sound(pts, n))
	}
	for len(payload) > 0 {
		p := payload[:min(len(payload), 960)] // 120 ms
		if err := f.packet(o, p, o.clock.sound(pts, int64(len(p)))); err != nil {
			return err
		}
		pts = pts.Add(time.Duration(len(p)) * time.Second / 8000)
		payload = payload[len(p):]
	}
	return nil
}

func (f *feed) packet(o *out, p []byte, ts uint32) error {
	f.s.sent.Add(int64(len(p)) + 12)
	return o.write(p, ts, o.packets == 0) // marker: a talk spurt begins (RFC 3551 4.1)
}

// reports sends sender reports: which timestamp belongs to which time of the
// server's clock, so that the player can align sound and picture (RFC 3550 6.4.1).
func (f *feed) reports() {
	if time.Since(f.report) < reportEvery {
		return
	}
	f.report = time.Now()
	now := media.WallOf(f.report)
	for _, o := range []*out{f.s.video, f.s.audio} {
		if o == nil || o.packets == 0 {
			continue
		}
		_ = f.s.pc.WriteRTCP([]rtcp.Packet{
			&rtcp.SenderReport{SSRC: o.ssrc(), NTPTime: ntp(now), RTPTime: o.clock.at(now), PacketCount: o.packets, OctetCount: o.bytes},
			rtcp.NewCNAMESourceDescription(o.ssrc(), f.s.uid),
		})
	}
}
