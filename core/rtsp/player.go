package rtsp

import (
	"context"
	"errors"
	"io"
	"time"

	"media-server/core/media"
)

// player sends the frames of one PLAY. Its goroutine belongs to the session, which
// waits for it.
type player struct {
	ss   *session
	p    plan
	d    *description
	r    Reader
	cseq uint8
	ctx  context.Context
	stop context.CancelFunc
	done chan struct{}

	media  []*medium
	send   sender
	byID   map[int]*medium // of the tracks in force
	tracks *media.Track    // the first of them, to know them again

	base  media.Wall // where scaled time begins
	start time.Time  // when the frame with decode time pace is due
	pace  media.Wall
	timer *time.Timer
	lastK media.Wall // newest key frame sent, with Frames: intra/MS

	sent media.Wall  // decode time of the newest frame sent; 0 = none
	jump bool        // a hole lies behind it
	last media.RunID // of the newest frame
	zero media.Wall  // likewise

	hold  bool // ONVIF, closed range: a frame waits until it is known what follows
	held  map[*medium]*heldFrame
	asked time.Time // when PLAY came; zero = the first frame was sent

	// Read by others when done is closed.
	at    media.Wall // decode time of the newest frame of the lead
	ended bool       // the range is over, and a BYE said so
}

type heldFrame struct {
	f   media.Frame
	buf []byte
}

const (
	reportEvery = 5 * time.Second // of sender reports
	countEvery  = 1 << 20
)

// run sends from frame f on, until the range is over, the client has gone or the
// session stops it.
func (p *player) run(f *media.Frame) {
	defer p.r.Close()
	p.held = map[*medium]*heldFrame{}
	p.base, p.pace, p.start = f.PTS, f.DTS, time.Now()
	p.timer = time.NewTimer(time.Hour)
	defer p.timer.Stop()
	var err error
	for ; err == nil; f, err = p.r.Next(p.ctx) {
		if err = p.take(f); err != nil {
			break
		}
	}
	switch {
	case errors.Is(err, io.EOF):
		p.over()
	case p.ctx.Err() == nil && p.send.err == nil:
		p.ss.c.s.o.Log.Warn("rtsp playback broke off", "stream", p.d.t.uid, "client", p.ss.c.from, "err", err)
		p.over()
	}
	p.ss.c.s.served(p.d.t.uid, p.send.total)
}

// take sends a frame when it is due.
func (p *player) take(f *media.Frame) error {
	m := p.medium(f)
	if len(p.byID) == 0 { // the camera sends something else now: to be described anew
		return io.EOF
	}
	p.breaks(m, f)
	if m == nil || p.skips(m, f) {
		return nil
	}
	f.Break = m.broken || p.jump // the reader has done with it
	m.broken = false
	if err := p.wait(f); err != nil {
		return err
	}
	p.sent, p.jump = f.DTS, false
	if p.hold {
		p.swap(m, f)
	} else {
		p.emit(m, f, false)
	}
	p.send.flush()
	p.count()
	return p.send.err
}

// holeLeast is how far a frame behind a hole lies from what was sent before. One
// that is nearer follows another behind the same hole.
const holeLeast = 200 * time.Millisecond

// breaks remembers that a frame does not follow the one before: the reader says so
// once where all tracks break off, also on a frame that is left out here.
func (p *player) breaks(m *medium, f *media.Frame) {
	if !f.Break {
		return
	}
	if p.sent != 0 && f.DTS.Sub(p.sent).Abs() > holeLeast {
		p.jump = true
	}
	switch {
	case !f.Follows(p.last, p.zero):
		p.last, p.zero = f.Run, f.Zero
		for _, m := range p.media {
			m.broken = true
		}
	case m != nil:
		m.broken = true
	}
}

// count tells what was sent, now and then.
func (p *player) count() {
	if p.asked.IsZero() && p.send.total < countEvery {
		return
	}
	if !p.asked.IsZero() {
		p.ss.c.s.first(time.Since(p.asked))
		p.asked = time.Time{}
	}
	p.ss.c.s.served(p.d.t.uid, p.send.total)
	p.send.total = 0
}

// skips leaves out what a scaled playback does not carry: sound at another
// tempo, and key frames that come too soon.
func (p *player) skips(m *medium, f *media.Frame) bool {
	kind := m.track.Kind()
	if kind == media.Audio && p.p.scale != one {
		return true
	}
	if p.p.every > 0 && kind == media.Video {
		if d := f.PTS.Sub(p.lastK).Abs(); p.lastK != 0 && d < p.p.every {
			return true
		}
		p.lastK = f.PTS
	}
	return false
}

// medium finds where a frame goes; nil = its track was not set up, or is another
// than the client was told of.
func (p *player) medium(f *media.Frame) *medium {
	if len(f.Tracks) == 0 {
		return nil
	}
	if p.tracks != &f.Tracks[0] {
		p.tracks = &f.Tracks[0]
		p.byID = matchTracks(p.media, p.d.tracks, f.Tracks)
	}
	return p.byID[f.Track]
}

// matchTracks finds the tracks in force that go where others were described: the
// first of a coding stays the first.
func matchTracks(ms []*medium, described, now []media.Track) map[int]*medium {
	out := map[int]*medium{}
	taken := map[int]bool{} // control numbers
	for i := range now {
		for j := range described {
			if taken[j] || !sameCoding(&now[i], &described[j]) {
				continue
			}
			taken[j] = true
			for _, m := range ms {
				if m.control == j+1 {
					out[now[i].ID] = m
				}
			}
			break
		}
	}
	return out
}

// wait waits until a frame of stored footage is due: after the one before, as long
// as their decode times lie apart. Where footage is missing nothing is waited for.
func (p *player) wait(f *media.Frame) error {
	if p.p.read.Live || p.p.free {
		return nil
	}
	d := f.DTS.Sub(p.pace)
	if p.p.read.Backward {
		d = -d
	}
	due := p.start.Add(time.Duration(media.Rescale(int64(d), one, p.p.rate())))
	left := time.Until(due)
	if p.jump && (d < 0 || left > 0) {
		p.pace, p.start = f.DTS, time.Now()
		return nil
	}
	if left <= 0 {
		return nil
	}
	p.timer.Reset(left)
	select {
	case <-p.timer.C:
		return nil
	case <-p.ctx.Done():
		return p.ctx.Err()
	}
}

// time is a frame's RTP time. It is the server's clock, so that it jumps with a
// hole; with a Scale it runs as fast as the viewer's (RFC 2326, 12.34), and
// upwards in any case.
func (p *player) time(m *medium, at media.Wall) uint32 {
	if p.p.scale == one && !p.p.read.Backward {
		return m.clockTime(at)
	}
	d := int64(at - p.base)
	if p.p.read.Backward {
		d = -d
	}
	return m.clockTime(p.base + media.Wall(media.Rescale(d, one, max(p.p.scale, -p.p.scale))))
}

// emit sends a frame; last = nothing of its track follows before a hole, or at all.
func (p *player) emit(m *medium, f *media.Frame, last bool) {
	ts := p.time(m, f.PTS)
	if time.Since(m.reported) >= reportEvery || f.Break {
		p.send.report(m, f.PTS, ts, false)
	}
	if p.ss.onvif {
		clean := f.Key && m.track.Kind() == media.Video
		p.send.onvif(f.PTS, clean, last, f.Break, false, p.cseq)
	}
	m.c.pack(&p.send, m, f, ts)
	p.send.extOn = false
	if m == lead(p.media) {
		p.at = f.DTS
	}
}

// lead is the medium whose place counts: the first with pictures, as sound may be left
// out, else the first.
func lead(ms []*medium) *medium {
	for _, m := range ms {
		if m.track.Kind() == media.Video {
			return m
		}
	}
	return ms[0]
}

// swap keeps a frame and sends the one of its track that was kept before.
func (p *player) swap(m *medium, f *media.Frame) {
	h := p.held[m]
	if h == nil {
		h = &heldFrame{}
		p.held[m] = h
	} else if h.f.Payload != nil {
		p.emit(m, &h.f, f.Break)
	}
	h.buf = append(h.buf[:0], f.Payload...)
	h.f = *f
	h.f.Payload = h.buf
}

// over ends the range: what was kept goes out as the last of its track, and each
// track says goodbye (RFC 3550, 6.6).
func (p *player) over() {
	for _, m := range p.media {
		h := p.held[m]
		if h == nil || h.f.Payload == nil {
			continue
		}
		ts := p.time(m, h.f.PTS)
		p.send.onvif(h.f.PTS, h.f.Key && m.track.Kind() == media.Video, true, h.f.Break, true, p.cseq)
		m.c.pack(&p.send, m, &h.f, ts)
		p.send.extOn = false
	}
	now := p.at
	if now == 0 {
		now = p.base
	}
	for _, m := range p.media {
		p.send.report(m, now, p.time(m, now), true)
	}
	p.send.flush()
	p.ended = true
}

// errOther says that other tracks were sent then than the client was told of.
var errOther = errors.New("the stream was sent in another coding then")

// prefetch gives the first frame that the client will get. The error is errOther where
// none of what comes goes anywhere.
func (p *player) prefetch(ctx context.Context) (*media.Frame, error) {
	for {
		f, err := p.r.Next(ctx)
		if err != nil {
			return nil, err
		}
		m := p.medium(f)
		if m != nil {
			return f, nil
		}
		if len(p.byID) == 0 {
			return nil, errOther
		}
		p.breaks(nil, f)
	}
}
