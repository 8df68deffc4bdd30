package playback

import (
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

func (h *Handler) first(proto string, r request) {
	if h.opt.First != nil {
		h.opt.First(proto, time.Since(r.start))
	}
}

// absolute answers relative and open times, and ends in the future, with a redirect to
// the URL that means the same for ever: a player sends several Range requests, and they
// must all be about the same file.
func (h *Handler) absolute(r request, s media.Span, open bool) bool {
	relative := func(k string) bool {
		v := r.args.Get(k)
		return v == "now" || strings.HasPrefix(v, "-")
	}
	now := media.WallOf(time.Now())
	ahead := s.From < now && h.toCome(r.src, s, now)
	if open || ahead {
		s.To = now // never an end in the future: that would lead to itself for ever
	}
	if !open && !ahead && !slices.ContainsFunc(fromKeys, relative) && !slices.ContainsFunc(toKeys, relative) {
		return false
	}
	s.To = h.settled(r.src, s, now)
	q := url.Values{}
	for k, v := range r.args {
		switch k {
		case "from", "to", "duration", "start_time", "end_time", "timestamp", "time", "":
		default:
			q[k] = v
		}
	}
	q.Set("from", strconv.FormatInt(s.From.Milli(), 10))
	q.Set("to", strconv.FormatInt(s.To.Milli(), 10))
	r.ctx.Response.Header.Set("Location", r.file+"?"+q.Encode())
	r.ctx.Response.Header.Set("Cache-Control", "no-store")
	r.ctx.SetStatusCode(302)
	return true
}

// toCome tells whether a range ends in the future, so that what is recorded meanwhile
// belongs to it. Where the clock was set back footage lies ahead of it: that is there.
func (h *Handler) toCome(uid string, s media.Span, now media.Wall) bool {
	b, ok := h.opt.Timeline.Bounds(uid)
	return ok && s.To > now.Add(2*settleTime) && b.To < now.Add(2*settleTime)
}

// settleTime is how far behind the newest frame everything has arrived: the
// sound of a moment may come after its pictures.
const settleTime = time.Second

// settled moves an end that lies in the present to where the recording does not
// change any more, so that all requests for the URL are about the same bytes.
func (h *Handler) settled(uid string, s media.Span, now media.Wall) media.Wall {
	end, ok := h.opt.Timeline.Newest(uid)
	if !ok || now.Sub(end) > time.Minute {
		return s.To
	}
	if edge := end.Add(-settleTime); edge < s.To && edge > s.From {
		return edge
	}
	return s.To
}

func (h *Handler) record(r request) *web.Error {
	s, open, e := h.span(r)
	if e != nil {
		return e
	}
	if h.absolute(r, s, open) {
		return nil
	}
	if e := h.admit(&r, "mp4"); e != nil {
		return e
	}
	m, err := h.mp4.Record(r.uid, s)
	if err != nil {
		if len(r.ctx.Request.Header.Peek("If-Match")) > 0 && (errors.Is(err, timeline.ErrNoFootage) || errors.Is(err, archive.ErrGone)) {
			return errChanged() // all of it has been deleted since
		}
		return h.fault(r, s, err)
	}
	h.first("mp4", r)
	hd := &r.ctx.Response.Header
	hd.Set("X-Media-Start", fmt.Sprintf("%.3f", float64(m.Start)/1e6))
	hd.Set("Cache-Control", "private, no-cache")
	if name := r.args.Get("download"); name != "" {
		hd.Set("Content-Disposition", Disposition(name, ".mp4"))
	}
	r.ctx.SetContentType("video/mp4")
	return h.send(r, m.Body, m.ETag)
}

// Disposition names a download, which ends with ext, without letting a header be injected.
func Disposition(name, ext string) string {
	clean := strings.Map(func(c rune) rune {
		if c < 32 || c == '"' || c == '\\' || c == '/' || c == 127 {
			return '_'
		}
		return c
	}, name)
	if !strings.HasSuffix(clean, ext) {
		clean += ext
	}
	return `attachment; filename*=UTF-8''` + url.PathEscape(clean)
}

// rangesAnswer is ranges.json; times in Unix milliseconds.
type rangesAnswer struct {
	Start  int64       `json:"start"`
	Stop   int64       `json:"stop"`
	Length int64       `json:"length"`
	Ranges []rangeItem `json:"ranges"`
	Locks  []lockItem  `json:"locks"`
	Gaps   []gapItem   `json:"gaps"`
}
type rangeItem struct {
	From     int64  `json:"from"`
	To       int64  `json:"to"`
	Duration int64  `json:"duration"`
	Kind     string `json:"kind"`
	Groomed  bool   `json:"groomed,omitempty"` // old: a picture every second or so, and no sound, are left of it
}
type lockItem struct {
	ID    string `json:"id"`
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	Until int64  `json:"until,omitempty"` // 0 = for ever
}
type gapItem struct {
	From  int64  `json:"from"`
	To    int64  `json:"to"`
	State string `json:"state"`
	Why   string `json:"why"`
}

// Ranges is the body of ranges.json and of the API's streams/{uid}/ranges. Who
// made a lock and why is for the API alone to tell.
func Ranges(rs []archive.Range, gs []archive.Gap, ls []archive.Lock) any {
	a := rangesAnswer{Ranges: []rangeItem{}, Locks: []lockItem{}, Gaps: []gapItem{}}
	for _, l := range ls {
		x := lockItem{ID: l.ID.String(), From: l.Span.From.Milli(), To: l.Span.To.Milli()}
		if l.Until != 0 {
			x.Until = l.Until.Milli()
		}
		a.Locks = append(a.Locks, x)
	}
	for _, x := range rs {
		f, t := x.Span.From.Milli(), x.Span.To.Milli()
		a.Ranges = append(a.Ranges, rangeItem{f, t, t - f, x.Kind, x.Groomed})
		a.Length += t - f
	}
	if n := len(a.Ranges); n > 0 {
		a.Start, a.Stop = a.Ranges[0].From, a.Ranges[n-1].To
	}
	for _, g := range gs {
		a.Gaps = append(a.Gaps, gapItem{g.Span.From.Milli(), g.Span.To.Milli(), g.State, string(g.Why)})
	}
	return a
}

// window is the time that a list of ranges is asked for: all of it without a time.
func (h *Handler) window(r request) (media.Span, *web.Error) {
	s := r.within()
	begins := r.has(fromKeys...) || r.args.Has("from")
	if !begins && r.has(toKeys...) {
		r.args.Set("from", "0") // all until then
		begins = true
	}
	if begins || r.has("duration") {
		var open bool
		var e *web.Error
		if s, open, e = h.asked(r); e != nil {
			return s, e
		}
		if open {
			s.To = 1<<63 - 1
		}
	}
	return s.Intersect(r.within()), nil
}

func (h *Handler) ranges(r request) *web.Error {
	s, e := h.window(r)
	if e != nil {
		return e
	}
	rs, gs, err := h.opt.Timeline.Ranges(r.uid, s)
	if err != nil {
		return h.fault(r, s, err)
	}
	web.JSON(r.ctx, Ranges(rs, gs, h.opt.Timeline.Locks(r.uid, s)))
	return nil
}
