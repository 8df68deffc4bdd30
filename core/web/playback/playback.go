package playback

import (
	"errors"
	"fmt"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/archive"
	"media-server/core/hls"
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/picture"
	"media-server/core/still"
	"media-server/core/timeline"
	"media-server/core/web"
	"media-server/core/webrtc"
)

// Stream is what playback needs to know of a configured stream.
type Stream struct {
	UID   string
	Title string
	Proto map[string]bool // hls, mp4, webrtc
	Sub   string          // the uid of its smaller stream; "" = it has none
}

// Streams finds streams. A uid that is no longer configured but has footage is
// found too.
type Streams interface {
	Stream(uid string) (Stream, bool)
}

// Gate decides who may play, or says why not.
type Gate interface {
	Play(ctx *fasthttp.RequestCtx, uid string, live bool) (Grant, *web.Error)
}

// Grant is the right to play a stream.
type Grant struct {
	Who    string      // token, user or address: names the session
	Within media.Span  // what may be played; 0 = no bound on that side
	Alive  func() bool // false = the right has ended since; nil = it never does
	Known  func() bool // a token or a login that is good was shown, needed or not; nil = no
}

// Options are the parts a Handler is made of.
type Options struct {
	Timeline    *timeline.Timeline
	Decoder     picture.Decoder // of what must be decoded for a JPEG
	Camera      picture.Camera  // pictures that cameras make; nil = none
	Streams     Streams
	Gate        Gate
	Zone        func() *time.Location                                          // the server's time zone
	Page        func(ctx *fasthttp.RequestCtx, uid, title string)              // player page
	Viewer      func(uid, proto, session, earlier string) (name, limit string) // called at each media request, for the count of viewers: a session, and the one it says to be; not "" = one too many, by that setting
	Served      func(uid string, bytes int64)                                  // bytes sent
	First       func(proto string, d time.Duration)                            // time to the first byte's plan
	Wake        func(uid string) bool                                          // somebody wants to see the stream live: it may have to be captured first. false = it is captured anyway
	Done        <-chan struct{}                                                // the server ends: nobody waits any longer
	AllowOrigin string                                                         // "", "*" or a list: CORS of media
	WebRTC      *webrtc.Server                                                 // nil = none
}

// Handler answers playback URLs.
type Handler struct {
	opt Options
	hls *hls.Server
	mp4 *mp4.Server
	pic *picture.Server
	out sending
}

// New makes a handler.
func New(opt Options) *Handler {
	return &Handler{opt: opt, hls: hls.New(opt.Timeline), mp4: mp4.New(opt.Timeline), pic: picture.New(opt.Timeline, opt.Decoder, opt.Camera)}
}

// request is a playback URL taken apart.
type request struct {
	ctx   *fasthttp.RequestCtx
	uid   string
	live  bool
	file  string
	slash bool // there was one behind it
	args  url.Values
	start time.Time
	grant Grant
	src   string // the stream that is shown: uid, or its smaller one
	sub   string // its smaller stream; "" = it has none
	name  string // of the session, for URIs in playlists
}

// parse takes /live/<uid>/<file>[&a=b…] apart. Middleware of the field writes
// the query behind "&" as well as behind "?".
func parse(ctx *fasthttp.RequestCtx) (r request, ok bool) {
	root, rest, _ := strings.Cut(strings.TrimPrefix(string(ctx.Path()), "/"), "/")
	if root != "live" && root != "dvr" {
		return r, false
	}
	uid, file, _ := strings.Cut(rest, "/")
	file, amp, _ := strings.Cut(file, "&")
	args, err := url.ParseQuery(string(ctx.URI().QueryString()))
	if err != nil {
		args = url.Values{"": {err.Error()}}
	}
	if more, err := url.ParseQuery(amp); err == nil {
		for k, v := range more {
			args[k] = append(args[k], v...)
			for _, x := range v {
				ctx.QueryArgs().Add(k, x) // where the gate looks for a token
			}
		}
	}
	r = request{ctx: ctx, uid: uid, live: root == "live", args: args, start: time.Now()}
	r.file, r.slash = strings.CutSuffix(file, "/")
	return r, true
}

// Handle answers the request if its path is a playback URL; otherwise it
// returns false and has done nothing.
func (h *Handler) Handle(ctx *fasthttp.RequestCtx) bool {
	r, ok := parse(ctx)
	if !ok {
		return false
	}
	_, whep := r.whep()
	if h.opt.AllowOrigin != "" {
		cors(ctx, h.opt.AllowOrigin)
	}
	if ctx.IsOptions() {
		ctx.Response.Header.Set("Allow", r.methods())
		if whep {
			ctx.Response.Header.Set("Accept-Post", "application/sdp")
		}
		ctx.SetStatusCode(204)
		return true
	}
	if whep {
		if e := h.answerWHEP(r); e != nil {
			web.Fail(ctx, e)
		}
		return true
	}
	if !ctx.IsGet() && !ctx.IsHead() {
		ctx.Response.Header.Set("Allow", "GET, HEAD, OPTIONS")
		web.Fail(ctx, web.E(405, "method", "playback URLs are read with GET", ""))
		return true
	}
	if r.slash && r.file != "" {
		// Names in a playlist, and redirects, count from the folder that its address
		// names: with a slash behind it that is another one.
		to := "../" + path.Base(r.file)
		if q := r.args.Encode(); q != "" {
			to += "?" + q
		}
		ctx.Response.Header.Set("Location", to)
		ctx.Response.Header.Set("Cache-Control", "no-store")
		ctx.SetStatusCode(302)
		return true
	}
	if e := h.answer(r); e != nil {
		web.Fail(ctx, e)
	}
	return true
}

func cors(ctx *fasthttp.RequestCtx, allow string) {
	h := &ctx.Response.Header
	h.Add("Vary", "Origin") // also where there is none: a cache must not give that answer to a page
	origin := string(ctx.Request.Header.Peek("Origin"))
	if origin == "" {
		return
	}
	for _, a := range strings.Split(allow, ",") {
		if a = strings.TrimSpace(a); a == "*" || a == origin {
			h.Set("Access-Control-Allow-Origin", a)
			h.Set("Access-Control-Expose-Headers", "Accept-Ranges, Content-Length, Content-Range, ETag, Location, X-Media-Note, X-Media-Start")
			h.Set("Access-Control-Allow-Headers", "Range, Authorization, Content-Type, If-Match, If-Range, If-None-Match")
			h.Set("Access-Control-Allow-Methods", "GET, HEAD, POST, PATCH, DELETE, OPTIONS")
			return
		}
	}
}

// proto names the door a file belongs to, "" = no such file.
func proto(live bool, file string) string {
	switch {
	case file == "playlist.m3u8" || file == "media.m3u8" || file == "playlist_ios.m3u8",
		!live && (file == "scrub.m3u8" || file == "record.ts"), strings.HasSuffix(file, ".m4s"), strings.HasSuffix(file, ".ts"), strings.HasPrefix(file, "init-") && strings.HasSuffix(file, ".mp4"):
		return "hls"
	case live && (file == previewMP4 || file == previewJPEG), !live && (file == shotMP4 || file == shotJPEG):
		return "picture"
	case !live && file == "record.mp4":
		return "mp4"
	case !live && file == "ranges.json":
		return "ranges"
	case live && file == "whep":
		return "webrtc"
	case live && file == "":
		return "page"
	}
	return ""
}

// subRoot is where the files of a stream's smaller stream are found under its own
// address, so that the right to the one is that to the other.
const subRoot = "sub/"

func (h *Handler) answer(r request) *web.Error {
	st, known := h.opt.Streams.Stream(r.uid)
	r.src, r.sub = r.uid, st.Sub
	p := proto(r.live, r.file)
	if file, is := strings.CutPrefix(r.file, subRoot); is && st.Sub != "" {
		// What is one recording, and what tells of it, is asked for under its own name.
		if q := proto(r.live, file); q == "picture" || q == "hls" && file != recordTS {
			p, r.file, r.src = q, file, st.Sub
		} else {
			p = ""
		}
	}
	if known {
		var e *web.Error
		if r.grant, e = h.opt.Gate.Play(r.ctx, r.uid, r.live); e != nil {
			if p == "page" && strings.Contains(string(r.ctx.Request.Header.Peek("Accept")), "text/html") {
				// People get the page, which says how to get in; the title of a
				// stream they may not see is none of their business.
				h.opt.Page(r.ctx, r.uid, r.uid)
				if r.ctx.Response.StatusCode() == 200 {
					r.ctx.SetStatusCode(e.Status)
				}
				return nil
			}
			return e
		}
	}
	switch {
	case !known:
		return web.E(404, "no_such_stream", fmt.Sprintf("there is no stream %q", clip(r.uid)), "the list of streams is at /api/v1/streams")
	case p == "":
		return web.E(404, "no_such_file", fmt.Sprintf("a stream has no %q", clip(r.file)), h.hint(r))
	case (p == "hls" || p == "mp4" || p == "webrtc") && st.Proto != nil && !st.Proto[p]:
		return web.E(404, "proto_off", fmt.Sprintf("stream %s does not offer %s", r.uid, p), "stream-proto in its stream file lists what it offers")
	}
	if bad := r.args.Get(""); bad != "" {
		return web.E(400, "bad_query", "the query string is malformed", bad)
	}
	switch p {
	case "hls":
		return h.answerHLS(r)
	case "mp4":
		return h.record(r)
	case "picture":
		return h.picture(r)
	case "ranges":
		return h.ranges(r)
	case "webrtc":
		return h.offer(r)
	}
	h.opt.Page(r.ctx, r.uid, st.Title)
	return nil
}

func (h *Handler) hint(r request) string {
	if r.live {
		return "known here: playlist.m3u8, preview.jpg, preview.mp4, whep"
	}
	return "known here: playlist.m3u8, scrub.m3u8, record.mp4, record.ts, videoshot.jpg, videoshot.mp4, ranges.json"
}

func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// Names of the ends of a range, and those that other servers give them.
var (
	fromKeys = []string{"from", "start_time", "timestamp", "time"}
	toKeys   = []string{"to", "end_time"}
)

// has tells whether one of the keys has a value.
func (r *request) has(keys ...string) bool {
	return slices.ContainsFunc(keys, func(k string) bool { return r.args.Get(k) != "" })
}

// span reads from, to and duration, and refuses what the grant does not cover. open:
// neither to nor duration was given, and no end is set.
func (h *Handler) span(r request) (s media.Span, open bool, e *web.Error) {
	if s, open, e = h.asked(r); e != nil {
		return s, open, e
	}
	return r.granted(s, open)
}

func (h *Handler) asked(r request) (s media.Span, open bool, e *web.Error) {
	now := time.Now()
	read := func(keys []string) (media.Wall, bool, *web.Error) {
		for _, k := range keys {
			if v := r.args.Get(k); v != "" {
				w, err := timeline.ParseTime(v, now, h.opt.Zone())
				if err != nil {
					return 0, false, web.E(400, "bad_time", fmt.Sprintf("%s: %v", k, err), "")
				}
				return w, true, nil
			}
		}
		return 0, false, nil
	}
	from, has, e := read(fromKeys)
	if e != nil {
		return s, false, e
	}
	if !has {
		return s, false, web.E(400, "no_from", "from is missing", "for instance ?from=-1h or ?from=2026-03-01T08:00:00Z&duration=5m")
	}
	s.From = from
	if s.To, has, e = read(toKeys); e != nil || has {
		if e == nil && s.To <= s.From {
			e = web.E(400, "bad_range", "to is not after from", "")
		}
		return s, false, e
	}
	v := r.args.Get("duration")
	if v == "" {
		return s, true, nil
	}
	d, err := timeline.ParseSpan(v)
	if err == nil && r.args.Get("start_time") != "" && strings.Trim(v, "0123456789") == "" {
		d /= 1000 // beside start_time a plain duration is milliseconds
	}
	if err != nil || d <= 0 {
		return s, false, web.E(400, "bad_duration", fmt.Sprintf("duration %q is not understood", clip(v)), "allowed: 30s, 5m, 2h, plain seconds")
	}
	s.To = s.From.Add(d)
	return s, false, nil
}

// carry is the part of the query that playlists pass on.
func (r *request) carry(more ...string) string {
	q := url.Values{}
	if t := r.args.Get("token"); t != "" {
		q.Set("token", t)
	}
	if r.name != "" {
		q.Set("s", r.name)
	}
	if v := r.args.Get("latency"); v == "normal" {
		q.Set("latency", v)
	}
	if r.ts() {
		q.Set("container", "ts")
	}
	for i := 0; i+1 < len(more); i += 2 {
		q.Set(more[i], more[i+1])
	}
	return q.Encode()
}

// noFootage is the 404 of an existing stream, with what is nearest.
func noFootage(tl *timeline.Timeline, uid string, live bool, s media.Span) *web.Error {
	e := web.E(404, "no_footage", fmt.Sprintf("stream %s has no footage there", uid), "ranges.json lists what is there")
	if live {
		e.Message, e.Hint = fmt.Sprintf("stream %s has nothing to show yet", uid), "the stream's state is at /api/v1/streams/"+uid
	}
	if near, ok := nearest(tl, uid, s); ok {
		_ = e.With("nearest", map[string]int64{"from": near.From.Milli(), "to": near.To.Milli()})
	}
	return e
}

func nearest(tl *timeline.Timeline, uid string, s media.Span) (best media.Span, ok bool) {
	b, has := tl.Bounds(uid)
	if !has {
		return best, false
	}
	s.From, s.To = min(max(s.From, b.From), b.To), min(max(s.To, b.From), b.To)
	// Widening: a wrong time must not make the server read a month's catalogue,
	// as long as something lies near.
	for _, around := range []time.Duration{time.Hour, 24 * time.Hour, b.Duration()} {
		near := media.Span{From: s.From.Add(-around), To: s.To.Add(around)}.Intersect(b)
		rs, _, err := tl.Ranges(uid, near)
		if err != nil {
			return best, false
		}
		least := media.Wall(-1)
		for _, x := range rs {
			d := max(x.Span.From-s.To, s.From-x.Span.To, 0)
			if least < 0 || d < least {
				best, least, ok = x.Span, d, true
			}
		}
		if ok {
			break
		}
	}
	return best, ok
}

// fault turns an error of the rooms below into an answer.
func (h *Handler) fault(r request, s media.Span, err error) *web.Error {
	if errors.Is(err, hls.ErrCodec) && (r.ts() || r.file == recordTS) {
		return web.E(415, "codec_not_in_hls", "in MPEG-TS: "+err.Error(), "leave container out, where more codecs are carried; record.mp4 carries every one of this stream")
	}
	for _, still := range []error{still.ErrNoDecoder, still.ErrBusy, still.ErrDecode, still.ErrStopping} {
		if errors.Is(err, still) {
			return h.noPicture(r, err)
		}
	}
	return fault(h.opt.Timeline, r.uid, r.live, s, err)
}

// Fault turns an error about the footage of a span into an answer, as record.mp4
// gives it.
func Fault(tl *timeline.Timeline, uid string, s media.Span, err error) *web.Error {
	return fault(tl, uid, false, s, err)
}

func fault(tl *timeline.Timeline, uid string, live bool, s media.Span, err error) *web.Error {
	switch {
	case errors.Is(err, timeline.ErrNoFootage):
		if gone := tl.Unreadable(uid, s); gone != nil && !live {
			return fault(tl, uid, live, s, gone)
		}
		return noFootage(tl, uid, live, s)
	case errors.Is(err, hls.ErrCodec):
		return web.E(415, "codec_not_in_hls", err.Error(), "record.mp4 carries every codec of this stream")
	case errors.Is(err, hls.ErrTooLarge):
		return web.E(413, "segment_too_large", err.Error(), "leave container out: fragmented MP4 is sent as it lies")
	case errors.Is(err, hls.ErrBusy):
		return web.E(503, "busy", err.Error(), "leave container out, or try again")
	case errors.Is(err, hls.ErrTooLong), errors.Is(err, mp4.ErrTooLong), errors.Is(err, mp4.ErrHole):
		return web.E(400, "range_too_long", err.Error(), "ask for it in pieces, a day each for instance")
	case errors.Is(err, hls.ErrOutside):
		return web.E(403, "other_time", "the token is for another time", "ask for what lies in the allowed span, or get a token for more")
	case errors.Is(err, hls.ErrNotFound), errors.Is(err, hls.ErrNotYet):
		return web.E(404, "no_such_segment", "this segment does not exist or has been deleted", "")
	case errors.Is(err, archive.ErrGone):
		return web.E(410, "deleted", "this footage has been deleted", "")
	case errors.Is(err, archive.ErrKeyDestroyed):
		return web.E(410, "key_destroyed", err.Error(), "nobody can read it again here; ask for footage of other days. A backup or key export made before still holds the key")
	case errors.Is(err, archive.ErrNoKey):
		return web.E(503, "no_key", err.Error(), "see the problems page: check [keys] path and passphrase, or restore the keys from a backup or an export; other footage plays")
	case errors.Is(err, archive.ErrDamaged):
		return web.E(500, "damaged", err.Error(), "media-server verify lists what was changed; ask for what lies before or behind")
	}
	return web.E(503, "storage", "the footage cannot be read at present: "+err.Error(), "see the problems page; try again")
}
