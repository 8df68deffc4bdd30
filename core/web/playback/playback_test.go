package playback

import (
	"encoding/json"
	"net"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/valyala/fasthttp"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// empty is an archive without footage.
type empty struct{}

func (empty) Segments(string, media.Span) ([]archive.Segment, error) { return nil, nil }
func (empty) Bounds(string) (media.Span, bool)                       { return media.Span{}, false }
func (empty) Newest(string) (media.Wall, bool)                       { return 0, false }
func (empty) Tracks(archive.InitID) ([]media.Track, error)           { return nil, archive.ErrGone }
func (empty) Layout(archive.FileID) (*archive.Layout, error)         { return nil, archive.ErrGone }
func (empty) Watch(string) (<-chan struct{}, func())                 { return nil, func() {} }
func (empty) Stamp(string) archive.Stamp                             { return archive.Stamp{} }
func (empty) Pin(archive.FileID) (*archive.Pin, error)               { return nil, archive.ErrGone }
func (empty) Extents(string, media.Span) ([]archive.Extent, error)   { return nil, nil }
func (empty) Locks(string, media.Span) []archive.Lock                { return nil }
func (empty) Readable([]archive.FileID) error                        { return nil }
func (empty) Unreadable(string, media.Span) error                    { return nil }
func (empty) Ranges(string, media.Span) ([]archive.Range, []archive.Gap, error) {
	return nil, nil, nil
}

type known map[string]Stream

func (k known) Stream(uid string) (Stream, bool) { s, ok := k[uid]; return s, ok }

type gate struct{}

// Play shuts streams called shut.
func (gate) Play(ctx *fasthttp.RequestCtx, uid string, _ bool) (Grant, *web.Error) {
	if uid == "shut" {
		return Grant{}, web.E(401, "login", "this stream needs a token or a login", "")
	}
	return Grant{Who: "address 192.0.2.1", Known: func() bool { return ctx.QueryArgs().Has("token") }}, nil
}

func newHandler() *Handler {
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		zone = time.UTC
	}
	all := map[string]bool{"hls": true, "mp4": true}
	return New(Options{
		Timeline: timeline.New(empty{}, func(string) timeline.Ring { return nil }),
		Streams:  known{"gate": {UID: "gate", Title: "North gate", Proto: all}, "shut": {UID: "shut", Title: "Secret", Proto: all}, "bare": {UID: "bare", Proto: map[string]bool{}}},
		Gate:     gate{}, Zone: func() *time.Location { return zone }, AllowOrigin: "https://ok.example",
		Page: func(ctx *fasthttp.RequestCtx, uid, title string) {
			ctx.SetContentType("text/html")
			ctx.SetBodyString(title)
		},
	})
}

func do(h *Handler, method, uri string, header ...string) (*fasthttp.RequestCtx, bool) {
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(uri)
	req.Header.SetHost("server.example")
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, nil)
	ok := h.Handle(&ctx)
	return &ctx, ok
}

type failure struct {
	Error struct{ Code, Message, Hint, ID string }
}

func TestAnswers(t *testing.T) {
	h := newHandler()
	for _, c := range []struct {
		name, method, uri string
		status            int
		code              string
	}{
		{"unknown stream", "GET", "/live/none/playlist.m3u8", 404, "no_such_stream"},
		{"no stream", "GET", "/live/", 404, "no_such_stream"},
		{"no path", "GET", "/live", 404, "no_such_stream"},
		{"rubbish for a stream", "GET", "/live/%ff%fe/playlist.m3u8", 404, "no_such_stream"},
		{"up and away", "GET", "/dvr/gate/../../../etc/passwd", 0, ""},
		{"up and away, encoded", "GET", "/dvr/gate/%2e%2e%2f%2e%2e%2fetc%2fpasswd", 0, ""},
		{"a folder in a stream", "GET", "/dvr/gate/a/b/record.mp4", 404, "no_such_file"},
		{"unknown file", "GET", "/live/gate/index.html", 404, "no_such_file"},
		{"record is of the archive", "GET", "/live/gate/record.mp4", 404, "no_such_file"},
		{"preview is live", "GET", "/dvr/gate/preview.mp4", 404, "no_such_file"},
		{"page is live", "GET", "/dvr/gate/", 404, "no_such_file"},
		{"nothing yet", "GET", "/live/gate/playlist.m3u8", 404, "no_footage"},
		{"nothing there", "GET", "/dvr/gate/playlist.m3u8?from=-1h&to=now", 404, "no_footage"},
		{"protocol off, hls", "GET", "/live/bare/playlist.m3u8", 404, "proto_off"},
		{"protocol off, mp4", "GET", "/dvr/bare/record.mp4?from=-1m", 404, "proto_off"},
		{"no from", "GET", "/dvr/gate/playlist.m3u8", 400, "no_from"},
		{"no from for mp4", "GET", "/dvr/gate/record.mp4?to=now", 400, "no_from"},
		{"empty from", "GET", "/dvr/gate/record.mp4?from=", 400, "no_from"},
		{"rubbish from", "GET", "/dvr/gate/record.mp4?from=yesterday", 400, "bad_time"},
		{"negative", "GET", "/dvr/gate/record.mp4?from=-", 400, "bad_time"},
		{"the 31st of February", "GET", "/dvr/gate/record.mp4?from=2026-02-31T00:00:00Z", 400, "bad_time"},
		{"hour 25", "GET", "/dvr/gate/record.mp4?from=2026-02-03T25:00:00Z", 400, "bad_time"},
		{"beyond time", "GET", "/dvr/gate/record.mp4?from=99999999999999999999", 400, "bad_time"},
		{"NaN", "GET", "/dvr/gate/record.mp4?from=NaN", 400, "bad_time"},
		{"rubbish to", "GET", "/dvr/gate/record.mp4?from=-1h&to=soon", 400, "bad_time"},
		{"backwards", "GET", "/dvr/gate/record.mp4?from=200&to=100", 400, "bad_range"},
		{"nothing between", "GET", "/dvr/gate/record.mp4?from=100&to=100", 400, "bad_range"},
		{"rubbish duration", "GET", "/dvr/gate/record.mp4?from=-1h&duration=long", 400, "bad_duration"},
		{"negative duration", "GET", "/dvr/gate/record.mp4?from=-1h&duration=-5s", 400, "bad_duration"},
		{"no duration", "GET", "/dvr/gate/record.mp4?from=-1h&duration=0", 400, "bad_duration"},
		{"malformed query", "GET", "/dvr/gate/record.mp4?from=%zz", 400, "bad_query"},
		{"malformed query, semicolon", "GET", "/dvr/gate/record.mp4?from=1;to=2", 400, "bad_query"},
		{"no time", "GET", "/dvr/gate/videoshot.mp4", 400, "no_time"},
		{"rubbish time", "GET", "/dvr/gate/videoshot.mp4?time=noon", 400, "bad_time"},
		{"no picture", "GET", "/dvr/gate/videoshot.mp4?time=-1h", 404, "no_footage"},
		{"no preview", "GET", "/live/gate/preview.mp4", 404, "no_footage"},
		{"no JPEG", "GET", "/live/gate/preview.jpg", 404, "no_footage"},
		{"no JPEG, small", "HEAD", "/live/gate/preview.jpg?width=4096", 404, "no_footage"},
		{"no JPEG then", "GET", "/dvr/gate/videoshot.jpg?time=-1h&width=16", 404, "no_footage"},
		{"JPEG, no time", "GET", "/dvr/gate/videoshot.jpg", 400, "no_time"},
		{"JPEG, rubbish time", "GET", "/dvr/gate/videoshot.jpg?time=noon", 400, "bad_time"},
		{"JPEG, too narrow", "GET", "/live/gate/preview.jpg?width=15", 400, "bad_width"},
		{"JPEG, too wide", "GET", "/live/gate/preview.jpg?width=4097", 400, "bad_width"},
		{"JPEG, rubbish width", "GET", "/live/gate/preview.jpg?width=0x20", 400, "bad_width"},
		{"JPEG, shut", "GET", "/live/shut/preview.jpg", 401, "login"},
		{"JPEG preview is live", "GET", "/dvr/gate/preview.jpg", 404, "no_such_file"},
		{"JPEG of a time is not", "GET", "/live/gate/videoshot.jpg", 404, "no_such_file"},
		{"no such segment", "GET", "/live/gate/1795166512580-431.m4s", 404, "no_such_segment"},
		{"rubbish segment", "GET", "/live/gate/x.m4s", 404, "no_such_segment"},
		{"segment of the far future", "GET", "/live/gate/9223372036854775807-1.m4s", 404, "no_such_segment"},
		{"rubbish init", "GET", "/live/gate/init-zz.mp4", 404, "no_such_segment"},
		{"closed range without footage", "GET", "/dvr/gate/record.mp4?from=100&to=200", 404, "no_footage"},
		{"shut", "GET", "/live/shut/playlist.m3u8", 401, "login"},
		{"shut, unknown file", "GET", "/live/shut/none", 401, "login"},
		{"shut page for a program", "GET", "/live/shut/", 401, "login"},
		{"POST", "POST", "/live/gate/playlist.m3u8", 405, "method"},
		{"DELETE", "DELETE", "/dvr/gate/record.mp4?from=-1h", 405, "method"},
		{"unknown method", "BREW", "/live/gate/playlist.m3u8", 405, "method"},
		{"ranges of nothing", "GET", "/dvr/gate/ranges.json", 200, ""},
		{"ranges, a length of no beginning", "GET", "/dvr/gate/ranges.json?duration=5m", 400, "no_from"},
		{"ranges, empty from", "GET", "/dvr/gate/ranges.json?from=", 400, "no_from"},
		{"live, an end of no beginning", "GET", "/live/gate/playlist.m3u8?to=now", 400, "no_from"},
		{"live, a length of no beginning", "GET", "/live/gate/media.m3u8?duration=5m", 400, "no_from"},
		{"ranges, rubbish", "GET", "/dvr/gate/ranges.json?from=x", 400, "bad_time"},
		{"page", "GET", "/live/gate/", 200, ""},
		{"options", "OPTIONS", "/live/gate/playlist.m3u8", 204, ""},
		{"not playback", "GET", "/lively/gate/", 0, ""},
		{"not playback either", "GET", "/api/v1/streams", 0, ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, ok := do(h, c.method, c.uri)
			if c.status == 0 {
				if ok {
					t.Fatalf("answered: %d %s", ctx.Response.StatusCode(), ctx.Response.Body())
				}
				return
			}
			if !ok || ctx.Response.StatusCode() != c.status {
				t.Fatalf("handled %v: %d %s", ok, ctx.Response.StatusCode(), ctx.Response.Body())
			}
			if c.status >= 400 {
				shape(t, ctx, c.code)
			}
			if c.status == 405 && len(ctx.Response.Header.Peek("Allow")) == 0 {
				t.Error("405 without Allow")
			}
		})
	}
}

// shape checks that a failure is {"error":{code,message,hint,id}} and fit for
// people.
func shape(t *testing.T, ctx *fasthttp.RequestCtx, code string) {
	t.Helper()
	body := ctx.Response.Body()
	var f failure
	d := json.NewDecoder(strings.NewReader(string(body)))
	if err := d.Decode(&f); err != nil || f.Error.Message == "" || f.Error.ID == "" || f.Error.Code == "" {
		t.Fatalf("not the shape of a failure: %s", body)
	}
	if code != "" && f.Error.Code != code {
		t.Errorf("code %s, want %s: %s", f.Error.Code, code, body)
	}
	if kind := string(ctx.Response.Header.ContentType()); kind != "application/json" {
		t.Errorf("content type %s", kind)
	}
	if !utf8.Valid(body) || len(body) > 1000 {
		t.Errorf("%d bytes, valid UTF-8 %v: %.200q", len(body), utf8.Valid(body), body)
	}
	if len(ctx.Response.Header.Peek("ETag"))+len(ctx.Response.Header.Peek("Content-Range")) > 0 && ctx.Response.StatusCode() != 416 {
		t.Error("a failure with the headers of a file")
	}
}

func TestShutPage(t *testing.T) {
	ctx, _ := do(newHandler(), "GET", "/live/shut/", "Accept", "text/html,application/xhtml+xml")
	if ctx.Response.StatusCode() != 401 || string(ctx.Response.Body()) != "shut" {
		t.Errorf("a person gets %d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
}

func TestAliases(t *testing.T) {
	h := newHandler()
	for name, uri := range map[string]string{
		"query behind &": "/live/gate/playlist.m3u8&start_time=1700000000000&end_time=1700000060000",
		"query behind ?": "/live/gate/playlist.m3u8?start_time=1700000000000&duration=60000",
		"timestamp":      "/dvr/gate/playlist.m3u8?timestamp=1700000000&duration=1m",
		"plus lost":      "/dvr/gate/playlist.m3u8?from=2026-03-01T08:00:00+01:00&duration=1m",
		"local time":     "/dvr/gate/playlist.m3u8?from=2026-03-01T08:00:00&duration=1m",
	} {
		if ctx, _ := do(h, "GET", uri); ctx.Response.StatusCode() != 404 || !strings.Contains(string(ctx.Response.Body()), "no_footage") {
			t.Errorf("%s: %d %s", name, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	// With a slash behind it the names in a playlist would count from another folder.
	for uri, want := range map[string]string{
		"/dvr/gate/playlist.m3u8/?from=1700000000&duration=60": "/dvr/gate/playlist.m3u8?duration=60&from=1700000000",
		"/dvr/gate/record.mp4/?from=-1h&token=x":               "/dvr/gate/record.mp4?from=-1h&token=x",
		"/live/gate/sub/media.m3u8/":                           "/live/gate/sub/media.m3u8",
	} {
		ctx, _ := do(h, "GET", uri)
		base, _ := url.Parse(uri)
		to, err := base.Parse(string(ctx.Response.Header.Peek("Location")))
		if ctx.Response.StatusCode() != 302 || err != nil || to.String() != want {
			t.Errorf("%s: %d to %s, want %s", uri, ctx.Response.StatusCode(), to, want)
		}
	}
	// A token behind "&" is one that the gate sees.
	ctx, _ := do(h, "GET", "/live/gate/playlist.m3u8&start_time=1700000000000&duration=1000&token=abc")
	if got := string(ctx.QueryArgs().Peek("token")); got != "abc" {
		t.Errorf("the token is %q", got)
	}
}

func TestSpanTimes(t *testing.T) {
	h := newHandler()
	for query, want := range map[string][2]int64{ // seconds
		"start_time=1700000000000&duration=60000":    {1700000000, 1700000060}, // ms beside start_time
		"from=1700000000&duration=60":                {1700000000, 1700000060},
		"from=1700000000&duration=1m":                {1700000000, 1700000060},
		"from=1700000000000&to=1700000060":           {1700000000, 1700000060},
		"from=2023-11-14T23:13:20&duration=1m":       {1700000000, 1700000060}, // Berlin
		"from=2023-11-14T22:13:20Z&duration=60s":     {1700000000, 1700000060},
		"from=2023-11-14T23:13:20 01:00&duration=60": {1700000000, 1700000060},
	} {
		var ctx fasthttp.RequestCtx
		ctx.Request.SetRequestURI("/dvr/gate/x?" + strings.ReplaceAll(query, " ", "%20"))
		r, _ := parse(&ctx)
		s, open, e := h.span(r)
		if e != nil || open || s.From.Milli() != want[0]*1000 || s.To.Milli() != want[1]*1000 {
			t.Errorf("%s: %v %v %v", query, s, open, e)
		}
	}
}

// archiveAsked keeps what was asked of it last.
type archiveAsked struct {
	empty
	span media.Span
}

func (a *archiveAsked) Ranges(_ string, s media.Span) ([]archive.Range, []archive.Gap, error) {
	a.span = s
	return nil, nil, nil
}

// TestRangesAsked: ranges.json obeys either end alone.
func TestRangesAsked(t *testing.T) {
	a := &archiveAsked{}
	h := newHandler()
	h.opt.Timeline = timeline.New(a, func(string) timeline.Ring { return nil })
	const all = 1<<63 - 1
	for query, want := range map[string]media.Span{
		"":                       {From: 0, To: all},
		"from=100":               {From: 100e9, To: all},
		"to=200":                 {From: 0, To: 200e9},
		"end_time=200":           {From: 0, To: 200e9},
		"from=100&to=200":        {From: 100e9, To: 200e9},
		"timestamp=100&duration": {From: 100e9, To: all},
		"time=100&duration=50":   {From: 100e9, To: 150e9},
	} {
		if ctx, _ := do(h, "GET", "/dvr/gate/ranges.json?"+query); ctx.Response.StatusCode() != 200 || a.span != want {
			t.Errorf("%q: %d, asked %v, want %v", query, ctx.Response.StatusCode(), a.span, want)
		}
	}
}

// ended is an archive with footage until an instant.
type ended struct {
	empty
	to media.Wall
}

func (a ended) Bounds(string) (media.Span, bool) {
	return media.Span{From: a.to.Add(-time.Hour), To: a.to}, true
}
func (a ended) Newest(string) (media.Wall, bool) { return a.to.Add(-time.Second), true }

// TestEndsToCome: a range that ends in the future leads to one that does not change any
// more, and that leads nowhere else, whether the camera is there or not.
func TestEndsToCome(t *testing.T) {
	now := media.WallOf(time.Now())
	at := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).Milli(), 10) }
	for name, behind := range map[string]time.Duration{"a camera that is there": 0, "one that has been away for two minutes": 2 * time.Minute} {
		h := newHandler()
		h.opt.Timeline = timeline.New(ended{to: now.Add(-behind)}, func(string) timeline.Ring { return nil })
		for _, file := range []string{"record.mp4", "record.ts", "scrub.m3u8"} {
			for what, query := range map[string]string{
				"from an hour ago into the future": "from=" + at(-time.Hour) + "&duration=2h",
				"from just now":                    "from=" + at(-time.Millisecond) + "&duration=60",
				"from now":                         "from=now&duration=60",
				"from what is to come":             "from=" + at(time.Hour) + "&duration=60",
				"relative":                         "from=-1m&duration=1h",
			} {
				uri, hops := "/dvr/gate/"+file+"?"+query, 0
				for ; hops < 4; hops++ {
					ctx, _ := do(h, "GET", uri)
					if ctx.Response.StatusCode() != 302 {
						break
					}
					uri = "/dvr/gate/" + string(ctx.Response.Header.Peek("Location"))
				}
				if hops > 2 || hops == 0 && what == "from an hour ago into the future" {
					t.Errorf("%s, %s %s: %d redirects, the last to %s", name, file, what, hops, uri)
				}
			}
		}
	}
}

func TestCORS(t *testing.T) {
	h := newHandler()
	for origin, want := range map[string]string{"https://ok.example": "https://ok.example", "https://evil.example": "", "": ""} {
		ctx, _ := do(h, "GET", "/dvr/gate/ranges.json", "Origin", origin)
		if got := string(ctx.Response.Header.Peek("Access-Control-Allow-Origin")); got != want {
			t.Errorf("origin %q: %q", origin, got)
		}
	}
}

func TestParseRange(t *testing.T) {
	for _, c := range []struct {
		h      string
		size   int64
		off, n int64
		want   rangeState
	}{
		{"bytes=0-0", 10, 0, 1, rangeOne}, {"bytes=0-", 10, 0, 10, rangeOne}, {"bytes=9-", 10, 9, 1, rangeOne}, {"bytes=2-5", 10, 2, 4, rangeOne},
		{"bytes=2-50", 10, 2, 8, rangeOne}, {"bytes=-3", 10, 7, 3, rangeOne}, {"bytes=-30", 10, 0, 10, rangeOne}, {" bytes=1-2 ", 10, 1, 2, rangeOne},
		{"bytes=10-", 10, 0, 0, rangeBad}, {"bytes=-0", 10, 0, 0, rangeBad}, {"bytes=0-", 0, 0, 0, rangeBad}, {"bytes=99999-100000", 10, 0, 0, rangeBad},
		{"bytes=5-2", 10, 0, 10, rangeWhole}, {"bytes=-", 10, 0, 10, rangeWhole}, {"bytes=a-b", 10, 0, 10, rangeWhole}, {"bytes=1", 10, 0, 10, rangeWhole},
		{"bytes=0-1,3-4", 10, 0, 10, rangeWhole}, {"items=0-1", 10, 0, 10, rangeWhole}, {"", 10, 0, 10, rangeWhole}, {"bytes=--3", 10, 0, 10, rangeWhole},
		{"bytes=99999999999999999999-", 10, 0, 10, rangeWhole}, {"bytes=0x1-2", 10, 0, 10, rangeWhole},
	} {
		off, n, st := parseRange(c.h, c.size)
		if st != c.want || st == rangeOne && (off != c.off || n != c.n) {
			t.Errorf("%q of %d: %d+%d %v", c.h, c.size, off, n, st)
		}
	}
}

func FuzzParseRange(f *testing.F) {
	for _, s := range []string{"bytes=0-", "bytes=-5", "bytes=1-2", "bytes=1-2,3-4", "bytes=-0", "bytes=9223372036854775807-", "bytes=-9223372036854775808"} {
		f.Add(s, int64(100))
	}
	f.Fuzz(func(t *testing.T, h string, size int64) {
		if size < 0 {
			return
		}
		off, n, st := parseRange(h, size)
		if st == rangeOne && (off < 0 || n <= 0 || off > size-n) {
			t.Errorf("%q of %d: %d+%d", h, size, off, n)
		}
	})
}

// FuzzURL: whatever the address, an answer has a real status and failures
// have their shape.
func FuzzURL(f *testing.F) {
	h := newHandler()
	for _, s := range []string{
		"/live/gate/playlist.m3u8", "/dvr/gate/playlist.m3u8?from=-1h&to=now", "/dvr/gate/record.mp4?from=100&to=200&download=a%0d%0ab", "/live/gate/preview.mp4",
		"/dvr/gate/videoshot.mp4?time=2026-03-01T08:00:00Z", "/live/gate/playlist.m3u8&start_time=1&duration=2", "/live/gate/1-2.m4s", "/live/gate/init-0.mp4",
		"/dvr/gate/ranges.json?from=1.5", "/dvr/../live//gate/", "/live/gate/?token=%00", "/live/gate/gap-1-2.m4s", "/dvr/gate/media.m3u8?from=1&container=ts",
		"/live/gate/whep", "/dvr/gate/videoshot.jpg?time=1&width=99999999999999999999",
	} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, uri string) {
		ctx, ok := do(h, "GET", uri)
		st := ctx.Response.StatusCode()
		if !ok {
			return
		}
		if st == 501 { // refused by name, and in no other way
			shape(t, ctx, "not_in_this_version")
		} else if st >= 500 {
			t.Errorf("%q: %d %s", uri, st, ctx.Response.Body())
		}
		if st >= 400 {
			shape(t, ctx, "")
		}
		if raw := ctx.Response.Header.String(); strings.Contains(raw, "\r\nX-Injected") {
			t.Errorf("%q put a header into the answer:\n%s", uri, raw)
		}
	})
}

func FuzzDisposition(f *testing.F) {
	for _, s := range []string{"clip", "a\r\nX-Injected: 1", `a"b`, "../../etc", "ünï", "\xff"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, name string) {
		d := Disposition(name, ".mp4")
		if strings.ContainsAny(d, "\r\n\x00\"/\\") || !strings.HasSuffix(d, ".mp4") {
			t.Errorf("%q", d)
		}
	})
}
