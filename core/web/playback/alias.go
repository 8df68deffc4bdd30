package playback

import (
	"net/url"
	"regexp"
	"strings"

	"github.com/valyala/fasthttp"

	"media-server/core/media"
	"media-server/core/web"
)

// Aliases answers the addresses that streams have in other servers, as set-top boxes
// and middleware know them: with a redirect to ours, where the names in playlists are
// found. It is asked behind all rooms that have names of their own in the root.
//
//	/<uid>/index.m3u8, preview.jpg, preview.mp4        live
//	/<uid>/index-F-D.m3u8, archive-F-D.m3u8|mp4|ts     from F (Unix seconds) for D seconds
//	/<uid>/archive-F-now.m3u8, timeshift_abs-F.m3u8    from F on
//	/<uid>/rewind-S.m3u8, timeshift_rel-S.m3u8         from S seconds ago on
//	/<uid>/recording_status.json                       what is recorded, in seconds
type Aliases struct{ *Handler }

// alias is an address: %1 and %2 stand for what the pattern found.
type alias struct {
	name *regexp.Regexp
	to   string
	args []string // name and value in turn
}

var aliases = []alias{
	{regexp.MustCompile(`^index\.m3u8$`), "live/playlist.m3u8", nil},
	{regexp.MustCompile(`^preview\.(jpg|mp4)$`), "live/preview.%1", nil},
	{regexp.MustCompile(`^(?:index|archive)-(\d{1,13})-(\d{1,9})\.m3u8$`), "dvr/playlist.m3u8", []string{"from", "%1", "duration", "%2"}},
	{regexp.MustCompile(`^archive-(\d{1,13})-(\d{1,9})\.mp4$`), "dvr/record.mp4", []string{"from", "%1", "duration", "%2"}},
	{regexp.MustCompile(`^archive-(\d{1,13})-(\d{1,9})\.ts$`), "dvr/record.ts", []string{"from", "%1", "duration", "%2"}},
	{regexp.MustCompile(`^archive-(\d{1,13})-now\.m3u8$`), "dvr/playlist.m3u8", []string{"from", "%1"}},
	{regexp.MustCompile(`^timeshift_abs-(\d{1,13})\.m3u8$`), "live/playlist.m3u8", []string{"from", "%1"}},
	{regexp.MustCompile(`^(?:rewind|timeshift_rel)-(\d{1,9})\.m3u8$`), "live/playlist.m3u8", []string{"from", "-%1s"}},
}

// filled puts what was found for %1 and %2.
func filled(text string, found []string) string {
	for n := 1; n < len(found); n++ {
		text = strings.ReplaceAll(text, "%"+string(rune('0'+n)), found[n])
	}
	return text
}

const recordingStatus = "recording_status.json"

var uidPattern = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]{0,35}$`)

// Handle implements web.Room.
func (a Aliases) Handle(ctx *fasthttp.RequestCtx) bool {
	uid, file, ok := strings.Cut(strings.TrimPrefix(string(ctx.Path()), "/"), "/")
	if !ok || !uidPattern.MatchString(uid) || !ctx.IsGet() && !ctx.IsHead() && !ctx.IsOptions() {
		return false
	}
	file, amp, _ := strings.Cut(file, "&")
	to, status := "", file == recordingStatus
	args, err := url.ParseQuery(strings.Trim(string(ctx.URI().QueryString())+"&"+amp, "&"))
	for i := range aliases {
		m := aliases[i].name.FindStringSubmatch(file)
		if m == nil {
			continue
		}
		root, name, _ := strings.Cut(aliases[i].to, "/")
		to = "/" + root + "/" + uid + "/" + filled(name, m)
		for k := 0; k+1 < len(aliases[i].args); k += 2 {
			args.Set(aliases[i].args[k], filled(aliases[i].args[k+1], m))
		}
		break
	}
	if to == "" && !status {
		return false
	}
	if a.opt.AllowOrigin != "" {
		cors(ctx, a.opt.AllowOrigin)
	}
	switch {
	case ctx.IsOptions():
		ctx.Response.Header.Set("Allow", "GET, HEAD, OPTIONS")
		ctx.SetStatusCode(204)
	case err != nil:
		web.Fail(ctx, web.E(400, "bad_query", "the query string is malformed", err.Error()))
	case status:
		if e := a.recordingStatus(request{ctx: ctx, uid: uid, file: "ranges.json", args: args}); e != nil {
			web.Fail(ctx, e)
		}
	default:
		if q := args.Encode(); q != "" {
			to += "?" + q
		}
		ctx.Response.Header.Set("Location", to)
		ctx.Response.Header.Set("Cache-Control", "no-store")
		ctx.SetStatusCode(302)
	}
	return true
}

// statusAnswer is recording_status.json; times in Unix seconds.
type statusAnswer struct {
	Stream string        `json:"stream"`
	Ranges []statusRange `json:"ranges"`
}

type statusRange struct {
	From     int64 `json:"from"`
	Duration int64 `json:"duration"`
}

// recordingStatus tells what is recorded of a stream, in whole seconds that footage
// covers.
func (h *Handler) recordingStatus(r request) *web.Error {
	if _, known := h.opt.Streams.Stream(r.uid); !known {
		return web.E(404, "no_such_stream", "there is no such stream", "the list of streams is at /api/v1/streams")
	}
	var e *web.Error
	if r.grant, e = h.opt.Gate.Play(r.ctx, r.uid, false); e != nil {
		return e
	}
	s, e := h.window(r)
	if e != nil {
		return e
	}
	rs, _, err := h.opt.Timeline.Ranges(r.uid, s)
	if err != nil {
		return h.fault(r, s, err)
	}
	a := statusAnswer{Stream: r.uid, Ranges: []statusRange{}}
	const second = media.Wall(1e9)
	for _, x := range rs {
		from, to := (x.Span.From+second-1)/second, x.Span.To/second
		if to > from {
			a.Ranges = append(a.Ranges, statusRange{int64(from), int64(to - from)})
		}
	}
	web.JSON(r.ctx, []statusAnswer{a})
	return nil
}
