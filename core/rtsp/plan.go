package rtsp

import (
	"strconv"
	"strings"
	"time"

	"media-server/core/media"
	"media-server/core/timeline"
)

// plan is what a PLAY request comes to.
type plan struct {
	read  timeline.Read
	unit  string        // how Range is answered: npt or clock
	scale int64         // thousandths; < 0 = backwards
	speed int64         // thousandths
	free  bool          // Rate-Control: no
	every time.Duration // of key frames: the least between two of them

	since1900 bool // npt was asked for in seconds of NTP
}

// Bounds of Scale and Speed, in thousandths. Above keysAbove only key frames are
// sent, as the rest would take the bandwidth of as many cameras.
const (
	one       = 1000
	keysAbove = 4 * one
	mostScale = 64 * one
	leastRate = one / 16
	mostSpeed = 16 * one
)

// asked is what planning needs to know.
type asked struct {
	d      *description
	tcp    bool
	now    media.Wall
	resume media.Wall // where it was paused; 0 = play from the beginning, or live
	oldest media.Wall // footage there is; 0 = none
}

// planOf reads a PLAY request (RFC 2326, 10.5; ONVIF Streaming Specification, 6.5).
func planOf(req *request, a asked) (p plan, res *response) {
	p = plan{scale: one, speed: one, unit: "npt"}
	p.free = a.tcp && strings.EqualFold(req.get("rate-control"), "no")
	if text := req.get("scale"); text != "" {
		n, ok := thousandths(text)
		if !ok {
			return p, refuse(400, "Scale is not a number")
		}
		p.scale = bound(n, leastRate, mostScale)
	}
	if text := req.get("speed"); text != "" {
		n, ok := thousandths(text)
		if !ok || n < 0 {
			return p, refuse(400, "Speed is not a number above 0")
		}
		p.speed = bound(n, leastRate, mostSpeed)
	}
	if p.free { // only the direction counts
		p.scale, p.speed = bound(p.scale, one, one), one
	}
	if res := p.frames(req.get("frames")); res != nil {
		return p, res
	}
	return p, p.place(req.get("range"), a)
}

// bound brings |n| between low and high; 0 is what is normal.
func bound(n, low, high int64) int64 {
	switch {
	case n == 0:
		return one
	case n < 0:
		return -min(max(-n, low), high)
	}
	return min(max(n, low), high)
}

// thousandths reads a decimal number.
func thousandths(text string) (int64, bool) {
	f, err := strconv.ParseFloat(text, 64)
	if err != nil || !(f > -1e6 && f < 1e6) {
		return 0, false
	}
	return int64(f * one), true
}

// frames reads the ONVIF header: intra, intra/MS, predicted, all.
func (p *plan) frames(text string) *response {
	kind, ms, least := strings.Cut(text, "/")
	switch strings.ToLower(strings.TrimSpace(kind)) {
	case "", "all", "predicted":
		return nil
	case "intra":
	default:
		return refuse(400, "Frames is intra, intra/MS, predicted or all")
	}
	p.read.Keys = true
	if least {
		n, err := strconv.ParseUint(strings.TrimSpace(ms), 10, 31)
		if err != nil {
			return refuse(400, "Frames: intra/MS needs milliseconds")
		}
		p.every = time.Duration(n) * time.Millisecond
	}
	return nil
}

// place finds where to begin and to end.
func (p *plan) place(text string, a asked) *response {
	t := &a.d.t
	r := &p.read
	back, intra := p.scale < 0, p.read.Keys
	r.Keys = intra || back || p.scale > keysAbove
	r.Live, r.From, r.To = t.live, a.d.origin, t.to
	switch {
	case a.resume != 0:
		r.Live, r.From = false, a.resume
	case back && t.to != 0: // backwards begins with the later end
		r.From = t.to - 1
	case back:
		r.From = a.now
	}
	if text != "" {
		s, err := parseSpan(text)
		if err != nil {
			return refuse(457, "%v", err).as("the Range is not understood")
		}
		if res := p.span(s, a); res != nil {
			return res
		}
	}
	if r.Live && back {
		r.Live, r.From = false, a.now
	}
	if r.Live {
		p.scale, p.speed, p.free, r.To, r.From = one, one, false, 0, 0
		r.Keys = intra
		return nil
	}
	return p.order(a, back)
}

// span takes over what a Range header says.
func (p *plan) span(s span, a asked) *response {
	t, r := &a.d.t, &p.read
	p.unit = s.unit
	if s.now {
		r.Live, r.To = true, 0
		return nil
	}
	p.since1900 = s.unit == "npt" && s.hasFrom && time.Duration(s.from) > ntpEpoch
	wall := func(v int64) media.Wall {
		switch {
		case s.unit == "clock":
			return media.Wall(v)
		case p.since1900:
			return media.Wall(time.Duration(v) - ntpEpoch)
		}
		return a.d.origin.Add(time.Duration(v))
	}
	if t.live && s.unit == "npt" && !p.since1900 { // live begins with now, whatever number that has
		r.Live = true
		return nil
	}
	if s.hasFrom {
		r.Live, r.From = false, wall(s.from)
		if t.live {
			r.To = 0
		}
	}
	if s.hasTo {
		to := wall(s.to)
		if t.to == 0 || to < t.to || p.scale < 0 {
			r.To = to
		}
	}
	return nil
}

// earliest is the first instant that a range can begin with: 0 means none in
// timeline.Read, and to whoever counts in milliseconds what lies before this is 0.
const earliest = media.Wall(time.Millisecond)

// order checks the ends of a stored range, and brings its earlier one to where
// footage begins.
func (p *plan) order(a asked, back bool) *response {
	t, r := &a.d.t, &p.read
	const late = 2 * time.Second // clocks differ
	switch {
	case r.From > a.now.Add(late):
		return refuse(457, "the range begins in the future")
	case t.to != 0 && r.From >= t.to && !back:
		return refuse(457, "the range begins behind the end of what the URL names")
	}
	if back {
		first := max(t.from, a.oldest, earliest)
		if r.To == 0 || r.To == t.to && r.To >= r.From {
			r.To = first
		}
		r.Backward, r.To = true, max(r.To, first)
		if t.to != 0 {
			r.From = min(r.From, t.to-1)
		}
		if r.To >= r.From {
			return refuse(457, "the range ends where it begins, or behind that: with a Scale below 0 it begins with its later end")
		}
		return nil
	}
	if r.To != 0 && r.To <= r.From {
		return refuse(457, "the range ends before it begins")
	}
	if r.From = max(r.From, t.from, a.oldest, earliest); r.To != 0 && r.To <= r.From {
		return refuse(457, "the range ends before the first footage that may be played")
	}
	return nil
}

// ends are the earlier and the later end of what is read; 0 = none, or live.
func (p *plan) ends() (from, to media.Wall) {
	if p.read.Backward {
		return p.read.To, p.read.From
	}
	return p.read.From, p.read.To
}

// rate is how many thousandths of the media's time go by in one of the viewer's.
func (p *plan) rate() int64 {
	return max(max(p.scale, -p.scale)*p.speed/one, 1)
}

// rangeText answers what is played: from the first frame to the end.
func (p *plan) rangeText(d *description, first media.Wall) string {
	if p.read.Live {
		return "npt=now-"
	}
	if p.unit == "clock" || d.t.live && !p.since1900 {
		end := ""
		if p.read.To != 0 {
			end = clockText(p.read.To)
		}
		return "clock=" + clockText(first) + "-" + end
	}
	origin, end := d.origin, ""
	if p.since1900 {
		origin = media.Wall(-ntpEpoch)
	}
	if p.read.To != 0 {
		end = nptText(p.read.To.Sub(origin))
	}
	return "npt=" + nptText(first.Sub(origin)) + "-" + end
}

// decimal writes thousandths.
func decimal(n int64) string {
	return strconv.FormatFloat(float64(n)/one, 'f', -1, 64)
}
