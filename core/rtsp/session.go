package rtsp

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strings"
	"sync"
	"time"

	"media-server/core/media"
	"media-server/core/timeline"
)

// session is what SETUP begins. It belongs to its connection, whose goroutine
// alone uses it, and ends with it.
type session struct {
	c     *conn
	id    string
	d     *description
	media []*medium
	tcp   bool     // written before the connection has the session
	udp   *udpPair // where packets come from; nil: by TCP
	onvif bool     // Require: onvif-replay; written while nothing plays
	play  *player
	at    media.Wall // where it was paused; 0 = it has not played, or goes on live

	mu   sync.Mutex
	pass Pass // closed when replaced
}

const (
	sessionTimeout = 60 * time.Second
	onvifFeature   = "onvif-replay"
	// describeWait is how long a stream may take to show its first frame: a camera that
	// is captured on demand has to be connected to.
	describeWait = 10 * time.Second
)

func random32() uint32 {
	var b [4]byte
	_, _ = rand.Read(b[:]) // never fails
	return binary.BigEndian.Uint32(b[:])
}

// admitted replaces the pass.
func (ss *session) admitted(p Pass) {
	ss.mu.Lock()
	old := ss.pass
	ss.pass = p
	ss.mu.Unlock()
	if old != nil {
		old.Close()
	}
}

// alive asks whether the viewer may go on; an error says why not. Any goroutine may
// call it.
func (ss *session) alive() error {
	ss.mu.Lock()
	defer ss.mu.Unlock()
	if ss.pass == nil {
		return nil
	}
	return ss.pass.Alive()
}

// add sets a track up.
func (ss *session) add(control int, t transport) (*medium, *response) {
	track := ss.d.tracks[control-1]
	c, _ := codingOf(&track, control-1)
	for _, m := range ss.media {
		if m.control == control {
			return nil, refuse(455, "the track is set up already")
		}
	}
	if len(ss.media) > 0 && ss.tcp != t.tcp {
		return nil, refuse(461, "all tracks of a session go the same way, by TCP or by UDP")
	}
	m := &medium{track: track, control: control, c: c, ssrc: random32(), seq: uint16(random32()), offset: random32(), tcp: t.tcp}
	if t.tcp {
		m.channels = ss.channels(t)
	} else {
		for i, port := range t.ports {
			m.to[i] = netip.AddrPortFrom(ss.c.from, port) // never to where a header says: that may be somebody else
		}
	}
	if len(ss.media) == 0 { // from then on others may look at it
		ss.tcp = t.tcp
	}
	ss.media = append(ss.media, m)
	return m, nil
}

// channels are those the client wants, unless another track has them.
func (ss *session) channels(t transport) [2]uint8 {
	used := map[uint8]bool{}
	for _, m := range ss.media {
		used[m.channels[0]], used[m.channels[1]] = true, true
	}
	if t.hasNumber && !used[t.channels[0]] && !used[t.channels[1]] {
		return t.channels
	}
	n := uint8(0)
	for used[n] || used[n+1] {
		n += 2
	}
	return [2]uint8{n, n + 1}
}

// begin starts a plan. The answer must be written before start is called, or have failed
// to be: sent tells which.
func (ss *session) begin(req *request, p plan) (res *response, start func(sent bool)) {
	r, err := ss.c.open(ss.d.t.uid, p.read)
	if err != nil {
		return ss.c.noFrames(ss.d.t.uid, 457, err), nil
	}
	pl := &player{ss: ss, p: p, d: ss.d, r: r, media: ss.media, done: make(chan struct{})}
	pl.ctx, pl.stop = context.WithCancel(ss.c.ctx)
	pl.asked = time.Now()
	pl.cseq = uint8(number(req.get("cseq")))
	pl.hold = ss.onvif && p.read.To != 0
	pl.send.udp, pl.send.write = ss.udp.conns(), ss.c.write
	for _, m := range ss.media {
		m.reported, m.broken = time.Time{}, false
	}
	ctx, cancel := context.WithTimeout(pl.ctx, describeWait)
	first, err := pl.prefetch(ctx)
	cancel()
	if err != nil {
		pl.stop()
		r.Close()
		return ss.c.noFrames(ss.d.t.uid, 457, err), nil
	}
	pl.base = first.PTS
	res = &response{status: 200}
	res.set("Session", ss.id)
	res.set("Range", p.rangeText(ss.d, first.PTS))
	var info []string
	for _, m := range ss.media {
		info = append(info, fmt.Sprintf("url=%s;seq=%d;rtptime=%d", controlURL(req.uri, m.control), m.seq, pl.time(m, first.PTS)))
	}
	res.set("RTP-Info", strings.Join(info, ","))
	if req.get("scale") != "" {
		res.set("Scale", decimal(p.scale))
	}
	if req.get("speed") != "" {
		res.set("Speed", decimal(p.speed))
	}
	if req.get("rate-control") != "" {
		res.set("Rate-Control", map[bool]string{true: "no", false: "yes"}[p.free])
	}
	return res, func(sent bool) {
		if !sent {
			pl.stop()
			r.Close()
			return
		}
		ss.play = pl
		ss.c.playing.Store(true)
		ss.c.s.runs(func() {
			defer close(pl.done) // last: another one may begin then
			defer ss.c.heard()
			defer ss.c.playing.Store(false)
			pl.run(first)
		})
	}
}

// halt stops what plays and waits for it.
func (ss *session) halt() {
	pl := ss.play
	if pl == nil {
		return
	}
	pl.stop()
	<-pl.done
	ss.play = nil
	switch {
	case pl.p.read.Live && ss.d.t.live:
		ss.at = 0
	case pl.at != 0:
		ss.at = pl.at
	}
	if pl.ended { // a source that has said goodbye comes back as another one
		ss.at = 0
		for _, m := range ss.media {
			m.ssrc, m.packets, m.octets = random32(), 0, 0
		}
	}
}

// end ends the session.
func (ss *session) end() {
	ss.halt()
	ss.admitted(nil)
}

// describe finds out what there is to be sent.
func (c *conn) describe(t target) (*description, *response) {
	title, offered, ok := c.s.o.Source.Stream(t.uid)
	switch {
	case !ok:
		return nil, refuse(404, "there is no stream %s", plain(t.uid)).as("there is no such stream")
	case !offered:
		return nil, refuse(404, "stream %s does not offer rtsp; stream-proto in its stream file lists what it offers", plain(t.uid)).as("the stream does not offer rtsp; stream-proto in its stream file lists what it offers")
	}
	d := &description{t: t, title: title}
	read := timeline.Read{Live: t.live, From: t.from, To: t.to}
	if b, has := c.s.o.Source.Bounds(t.uid); has && !t.live && t.from == 0 {
		read.From = b.From
	}
	r, err := c.open(t.uid, read)
	if err != nil {
		return nil, c.noFrames(t.uid, 404, err)
	}
	defer r.Close()
	ctx, cancel := context.WithTimeout(c.ctx, describeWait)
	defer cancel()
	f, err := r.Next(ctx)
	if err != nil {
		return nil, c.noFrames(t.uid, 404, err)
	}
	d.tracks = sendable(f.Tracks)
	if len(d.tracks) == 0 {
		return nil, refuse(503, "stream %s has no track that RTSP can carry yet", plain(t.uid)).as("it has no track that RTSP can carry yet")
	}
	if !t.live {
		d.origin = f.PTS
	}
	return d, nil
}

// open begins to read; live, it waits for a stream that is captured on demand.
func (c *conn) open(uid string, read timeline.Read) (Reader, error) {
	waits := read.Live && c.s.o.Source.Wake(uid)
	for end := time.Now().Add(describeWait); ; {
		r, err := c.s.o.Source.Frames(uid, read)
		if err == nil || !waits || !errors.Is(err, timeline.ErrNoFootage) || time.Now().After(end) {
			return r, err
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-c.ctx.Done():
			return nil, c.ctx.Err()
		}
	}
}

// noFrames answers that there is nothing to be sent.
func (c *conn) noFrames(uid string, status int, err error) *response {
	switch {
	case errors.Is(err, timeline.ErrNoFootage), errors.Is(err, io.EOF):
		hint := ""
		if b, ok := c.s.o.Source.Bounds(uid); ok {
			hint = fmt.Sprintf("; there is some from %s to %s", clockText(b.From), clockText(b.To))
		}
		c.refused(uid, status, "no footage")
		return refuse(status, "there is no footage of stream %s then%s", plain(uid), hint)
	case errors.Is(err, errOther):
		c.refused(uid, 457, err.Error())
		return refuse(457, "%v; DESCRIBE it with that from=", err)
	case errors.Is(err, context.DeadlineExceeded):
		c.refused(uid, 503, "no frame came")
		return refuse(503, "stream %s has sent nothing for %v", plain(uid), describeWait)
	case c.ctx.Err() != nil:
		return refuse(503, "the server stops")
	}
	c.s.o.Log.Error("footage cannot be read", "stream", uid, "err", err)
	return refuse(500, "the footage cannot be read; look in the server's log")
}
