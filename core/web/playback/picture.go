package playback

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"media-server/core/media"
	"media-server/core/still"
	"media-server/core/timeline"
	"media-server/core/web"
)

const (
	previewMP4  = "preview.mp4"
	previewJPEG = "preview.jpg"
	shotMP4     = "videoshot.mp4"
	shotJPEG    = "videoshot.jpg"
)

// settledAfter is how far a picture lies behind the newest one when the answer for
// its time does not change any more, and pictureAge how long a browser may then show
// it without asking: it goes on showing what has been deleted meanwhile.
const (
	settledAfter = 10 * time.Second
	pictureAge   = time.Hour
)

// picture answers with the newest picture, or the one at a time.
func (h *Handler) picture(r request) *web.Error {
	at, fixed, e := h.shotTime(r)
	if e != nil {
		return e
	}
	s := media.Span{From: at, To: at + 1}
	if _, _, e := r.granted(s, false); e != nil {
		return e
	}
	if r.file == previewJPEG || r.file == shotJPEG {
		return h.jpeg(r, s, fixed)
	}
	p, err := h.pic.At(r.src, at, r.live)
	if err != nil {
		return h.fault(r, s, err)
	}
	if e := r.shown(p.At); e != nil {
		p.Body.Release()
		return e
	}
	h.first("picture", r)
	r.ctx.SetContentType("video/mp4")
	r.ctx.Response.Header.Set("Cache-Control", "no-cache")
	taken(r, p.At)
	return h.send(r, p.Body, "")
}

// shownBefore is how far before the span that a token is for a picture may have been
// taken: a group of pictures that reaches into it.
const shownBefore = 10 * time.Second

// shown refuses a picture of before the span that may be seen: the newest of a camera
// that has been away, or the last one before a gap.
func (r *request) shown(at media.Wall) *web.Error {
	if w := r.grant.Within; w.From != 0 && at < w.From.Add(-shownBefore) {
		return web.E(403, "other_time", "there is no picture of the time that the token is for", "ask for another time of it, or get a token for more").
			With("allowed", map[string]int64{"from": w.From.Milli(), "to": w.To.Milli()})
	}
	return nil
}

// covered tells whether footage of the time itself is there; a gap may still be filled.
func (h *Handler) covered(uid string, s media.Span) bool {
	// Addresses tell whole milliseconds: the one that footage begins in counts.
	segs, err := h.opt.Timeline.Segments(uid, media.Span{From: s.From, To: s.From.Add(time.Millisecond)})
	return err == nil && len(segs) > 0
}

// shotTime reads the time of a picture. fixed: the address means this time for ever.
func (h *Handler) shotTime(r request) (at media.Wall, fixed bool, e *web.Error) {
	now := time.Now()
	if r.live {
		return media.WallOf(now), false, nil
	}
	v := r.args.Get("time")
	if v == "" {
		v = r.args.Get("timestamp")
	}
	if v == "" {
		return 0, false, web.E(400, "no_time", "time is missing", "for instance ?time=-1h or ?time=2026-03-01T08:00:00Z")
	}
	at, err := timeline.ParseTime(v, now, h.opt.Zone())
	if err != nil {
		return 0, false, web.E(400, "bad_time", "time: "+err.Error(), "")
	}
	return at, v != "now" && !strings.HasPrefix(v, "-"), nil
}

// taken tells when a picture was taken.
func taken(r request, at media.Wall) {
	hd := &r.ctx.Response.Header
	hd.Set("X-Media-Start", fmt.Sprintf("%.3f", float64(at)/1e6))
	hd.Set("Last-Modified", at.Time().UTC().Format(http.TimeFormat))
}

// jpeg answers with a picture as JPEG.
func (h *Handler) jpeg(r request, s media.Span, fixed bool) *web.Error {
	width, e := r.width()
	if e != nil {
		return e
	}
	p, err := h.pic.JPEG(r.src, s.From, r.live, width)
	if err != nil {
		return h.fault(r, s, err)
	}
	if e := r.shown(p.At); e != nil {
		return e
	}
	hd := &r.ctx.Response.Header
	taken(r, p.At)
	cache := "private, no-cache"
	if fixed && p.End.Sub(s.From) > settledAfter && h.covered(r.src, s) {
		cache = "private, max-age=" + strconv.Itoa(int(pictureAge.Seconds()))
	}
	hd.Set("Cache-Control", cache)
	// Nothing is decoded for who has it already.
	if m := string(r.ctx.Request.Header.Peek("If-None-Match")); m != "" && tagIn(m, p.Tag, true) {
		hd.Set("ETag", p.Tag)
		r.ctx.SetStatusCode(304)
		return nil
	}
	body, err := p.Body()
	if err != nil {
		hd.Del("X-Media-Start")
		hd.Del("Last-Modified")
		return h.fault(r, s, err)
	}
	h.first("picture", r)
	r.ctx.SetContentType("image/jpeg")
	return h.send(r, body, p.Tag)
}

// width reads how wide a picture may be at most; 0 = as wide as it is.
func (r *request) width() (int, *web.Error) {
	v := r.args.Get("width")
	if v == "" {
		return 0, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < still.LeastWidth || n > still.MostWidth {
		return 0, web.E(400, "bad_width", fmt.Sprintf("width %q is not a number from %d to %d", clip(v), still.LeastWidth, still.MostWidth), "leave it out for the picture as large as it is")
	}
	return n, nil
}

// noPicture is the answer when nothing makes the JPEG.
func (h *Handler) noPicture(r request, err error) *web.Error {
	other := "/live/" + r.uid + "/" + previewMP4
	if !r.live {
		other = "/dvr/" + r.uid + "/" + shotMP4 + "?time=T"
	}
	other += " is the same picture and needs no decoder: browsers show it in <video>"
	var e *web.Error
	switch {
	case errors.Is(err, still.ErrDecode):
		return web.E(500, "not_decoded", err.Error(), other)
	case errors.Is(err, still.ErrNoDecoder):
		e = web.E(503, "no_decoder", "a JPEG of this stream needs ffmpeg, which is not on this server", "install it there (Debian: apt install ffmpeg), no restart needed; "+other)
	default:
		r.ctx.Response.Header.Set("Retry-After", "2")
		e = web.E(503, "busy", err.Error(), "try again in a moment; "+other)
	}
	e.Counted = true // mediaserver_stills_total
	return e
}
