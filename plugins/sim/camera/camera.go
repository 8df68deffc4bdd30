package camera

import (
	"math/rand/v2"
	"time"

	"media-server/core/media"
)

// stale is how late a unit may be handed over. A process that was stopped for
// longer has lost what its camera saw meanwhile.
const stale = 2 * time.Second

// camera is one simulated device. All of it is guarded by Engine.mu.
type camera struct {
	set    Settings
	boot   time.Time // with monotonic reading
	rtc    media.Wall
	tracks []*track
	line   *Line
	ledger *ledger
	rng    *rand.Rand

	cues      []Cue // still to come, by time
	uid       string
	downTill  time.Duration // since boot
	quietFrom time.Duration
	quietTill time.Duration
	noKeyTill time.Duration
	noiseTill time.Duration
	ptsShift  time.Duration
	rtcShift  time.Duration

	wake time.Duration // when it is looked at next, since boot
	heap int           // index in the engine's heap; -1 = not in it
}

func newCamera(set Settings, l *ledger, now time.Time) (*camera, error) {
	c := &camera{set: set, boot: now, rtc: media.WallOf(now.Add(set.ClockOffset)), ledger: l, heap: -1, cues: set.cues}
	c.rng = rand.New(rand.NewPCG(set.Seed, 1))
	var names []string
	if set.Codec != "none" {
		names = append(names, videoClip(set))
	}
	switch set.Audio {
	case "pcma":
		names = append(names, "alaw")
	case "aac", "opus":
		names = append(names, set.Audio)
	}
	if set.Metadata {
		names = append(names, metadataFilm)
	}
	for i, name := range names {
		t, err := c.newTrack(i+1, name)
		if err != nil {
			return nil, err
		}
		c.tracks = append(c.tracks, t)
	}
	return c, nil
}

// Tracks are what a camera of these settings offers when it starts.
func Tracks(set Settings) ([]media.Track, error) {
	c, err := newCamera(set, nil, time.Time{})
	if err != nil {
		return nil, err
	}
	var out []media.Track
	for _, t := range c.tracks {
		out = append(out, t.media())
	}
	return out, nil
}

func videoClip(set Settings) string {
	if set.GOP > time.Second {
		return "h264-long"
	}
	if set.NoB {
		return "h264-plain"
	}
	return set.Codec
}

func (c *camera) newTrack(id int, name string) (*track, error) {
	video := id == 1 && c.set.Codec != "none"
	keysOnly := video && c.set.MilliFPS > 0 && c.set.MilliFPS < 5000
	t, err := newTrack(id, name, keysOnly, rand.New(rand.NewPCG(c.set.Seed, uint64(id)+1)))
	if err != nil {
		return nil, err
	}
	if video {
		if c.set.MilliFPS > 0 {
			t.num, t.den = int64(t.film.track.Timescale)*1000, c.set.MilliFPS
		}
		t.target = c.set.Bitrate * t.num / t.den / int64(t.film.track.Timescale) / 8
		if c.set.Codec == "h264" && !c.set.NoB { // the other one has B-frames, and would make this one wait for them
			if t.other, err = loadFilm("h264-small", keysOnly); err != nil {
				return nil, err
			}
			t.ahead = max(t.ahead, t.other.ahead)
			t.behind = max(t.behind, t.other.behind)
		}
	}
	if c.ledger != nil {
		t.number = c.ledger.next(c.set.Name, t.letter)
	}
	return t, nil
}

// ownClock turns time of the host since boot into the camera's, hostClock back.
func (c *camera) ownClock(d time.Duration) time.Duration {
	return time.Duration(media.Rescale(int64(d), 1000000+c.set.DriftPPM, 1000000))
}

func (c *camera) hostClock(d time.Duration) time.Duration {
	return time.Duration(media.Rescale(int64(d), 1000000, 1000000+c.set.DriftPPM))
}

// seek forgets what was due before now; for a camera nobody was connected to.
func (c *camera) seek(now time.Duration) {
	own := c.ownClock(now)
	for _, t := range c.tracks {
		t.held = parcel{}
		t.seek(own)
	}
}

// first is the track whose unit is due first, and when (host, since boot).
func (c *camera) first() (*track, time.Duration) {
	var best *track
	var at time.Duration
	for _, t := range c.tracks {
		if !c.line.wants[t.id] {
			continue
		}
		if d := c.hostClock(t.due()); best == nil || d < at {
			best, at = t, d
		}
	}
	return best, at
}

// step does everything due until now (since boot) and sets wake.
func (c *camera) step(e *Engine, now time.Duration) {
	for len(c.cues) > 0 && c.cues[0].At <= now {
		cue := c.cues[0]
		c.cues = c.cues[1:]
		c.act(e, cue, now)
	}
	for c.line != nil {
		t, at := c.first()
		c.wake = at
		if t == nil || at > now {
			break
		}
		if now-at > stale || now < c.quietTill && at >= c.quietFrom {
			t.skip()
			continue
		}
		c.send(e, t, at, now)
	}
	if c.line == nil {
		c.wake = now + time.Hour
	}
	if c.line != nil && now < c.quietTill {
		last := max(c.quietFrom, c.line.opened)
		switch p := c.line.patience; {
		case p <= 0: // waits for ever
		case now-last >= p:
			c.line.end(ErrSilent)
			return
		default:
			c.wake = min(c.wake, last+p)
		}
	}
	if len(c.cues) > 0 {
		c.wake = min(c.wake, c.cues[0].At)
	}
}

// send makes and hands over one unit, or lets it get lost.
func (c *camera) send(e *Engine, t *track, due, now time.Duration) {
	if t.swap && t.frame().key {
		t.film, t.other, t.swap, t.inband = t.other, t.film, false, true
	}
	f := t.frame()
	video := t.letter == 'v'
	if video && f.key && now < c.noKeyTill {
		t.skip()
		return
	}
	own := t.at(t.place())
	seen := e.wall.Add(c.hostClock(own) - now)
	u := t.make(c.set.Name, seen)
	if c.set.Reports {
		u.NTP = c.rtc.Add(own + c.rtcShift)
	}
	if c.ptsShift != 0 {
		shift := media.TicksOf(c.ptsShift, t.film.track.Timescale)
		u.PTS += shift
		u.DTS += shift
	}
	n := Network{Packets: uint64(len(u.Payload)/1400 + 1), Bytes: uint64(len(u.Payload))}
	p := parcel{unit: u, number: t.number, seen: seen}
	lost := c.set.Loss > 0 && t.rng.Float64() < c.set.Loss
	late := c.set.Reorder > 0 && t.rng.Float64() < c.set.Reorder
	t.skip()
	if lost {
		e.count(c.line, Network{Lost: n.Packets})
		return
	}
	if video && now < c.noiseTill {
		spoil(t.rng, p.unit.Payload)
		p.unit.Key, p.noise = false, true
	}
	if t.held.unit.Payload != nil { // what was late comes before what follows it
		c.hand(e, t, t.held)
		t.held = parcel{}
	}
	if late {
		n.Reordered = 1
		t.held = p
	} else {
		c.hand(e, t, p)
	}
	e.count(c.line, n)
}

// parcel is a unit on its way to the line.
type parcel struct {
	unit   media.AccessUnit
	number uint64
	seen   media.Wall
	noise  bool // carries no token
}

func (c *camera) hand(e *Engine, t *track, p parcel) {
	if c.ledger != nil && !p.noise {
		c.ledger.add(c.set.Name, t.letter, p.number, p.seen, p.unit.Key, len(p.unit.Payload))
	}
	e.deliver(c.line, p.unit)
}

// spoil makes one NAL unit of an unspecified type out of a sample, so that the
// framing between driver and core stays true and only the coding is rubbish.
func spoil(rng *rand.Rand, b []byte) {
	for i := range b {
		b[i] = byte(rng.Uint32())
	}
	if n := len(b) - 4; n > 1 {
		b[0], b[1], b[2], b[3] = byte(n>>24), byte(n>>16), byte(n>>8), byte(n)
		b[4] = 30
	}
}

// act carries out a cue.
func (c *camera) act(e *Engine, cue Cue, now time.Duration) {
	switch cue.Verb {
	case "drop":
		c.downTill = now + cue.For
		c.hangUp(ErrDropped)
	case "silence":
		c.quietFrom, c.quietTill = now, now+cue.For
	case "params", "params-inband":
		for _, t := range c.tracks {
			switch {
			case t.other == nil:
			case cue.Verb == "params-inband":
				t.swap = !t.swap
			default:
				t.film, t.other = t.other, t.film
				c.hangUp(ErrChanged)
			}
		}
	case "nokey":
		c.noKeyTill = now + cue.For
	case "rubbish":
		c.noiseTill = now + cue.For
	case "step":
		c.rtcShift += cue.For
	case "jump":
		c.ptsShift += cue.For
	case "motion":
		e.event(Event{UID: c.uid, Kind: "motion", Time: e.wall, Active: true})
		c.cue(Cue{At: now + cue.For, Verb: "motion-end"})
	case "motion-end":
		e.event(Event{UID: c.uid, Kind: "motion", Time: e.wall})
	}
}

// cue adds one in its place.
func (c *camera) cue(q Cue) {
	i := 0
	for i < len(c.cues) && c.cues[i].At <= q.At {
		i++
	}
	cues := append([]Cue(nil), c.cues[:i]...) // set.cues is shared
	c.cues = append(append(cues, q), c.cues[i:]...)
}

func (c *camera) hangUp(err error) {
	if c.line != nil {
		c.line.end(err)
	}
}
