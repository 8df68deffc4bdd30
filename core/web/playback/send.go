package playback

import (
	"strconv"
	"strings"

	"github.com/valyala/fasthttp"

	"media-server/core/timeline"
	"media-server/core/web"
)

// send answers with body, counts what was sent of the stream, and is cut when the
// right to it ends.
func (h *Handler) send(r request, body *timeline.Body, etag string) *web.Error {
	return Send(r.ctx, body, etag, func() func(int64) {
		done := h.out.add(r.ctx.Conn(), r.grant.Alive)
		return func(sent int64) {
			done()
			if h.opt.Served != nil {
				h.opt.Served(r.uid, sent)
			}
		}
	})
}

// Send answers with body, obeying Range, If-Range, If-Match and If-None-Match
// (RFC 9110). It owns body from here on. begins, which may be nil, is called where
// bytes of it will be sent; what it returns hears how many were.
func Send(ctx *fasthttp.RequestCtx, body *timeline.Body, etag string, begins func() func(sent int64)) *web.Error {
	size := body.Size()
	hd := &ctx.Response.Header
	hd.Set("Accept-Ranges", "bytes")
	if etag != "" {
		hd.Set("ETag", etag)
		if m := string(ctx.Request.Header.Peek("If-Match")); m != "" && !tagIn(m, etag, false) {
			body.Release()
			return errChanged()
		}
		if m := string(ctx.Request.Header.Peek("If-None-Match")); m != "" && tagIn(m, etag, true) {
			body.Release()
			ctx.SetStatusCode(304)
			return nil
		}
	}
	off, n := int64(0), size
	// Range is for GET alone: a HEAD tells the length of the whole (RFC 9110, 14.2).
	if rg := string(ctx.Request.Header.Peek("Range")); rg != "" && !ctx.IsHead() {
		ifRange := string(ctx.Request.Header.Peek("If-Range"))
		if ifRange == "" || etag != "" && ifRange == etag {
			var state rangeState
			off, n, state = parseRange(rg, size)
			switch state {
			case rangeBad:
				body.Release()
				hd.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
				e := web.E(416, "range", "the asked range of bytes is outside the file", "")
				web.Fail(ctx, e)
				hd.Set("Content-Range", "bytes */"+strconv.FormatInt(size, 10))
				return nil
			case rangeOne:
				ctx.SetStatusCode(206)
				hd.Set("Content-Range", "bytes "+strconv.FormatInt(off, 10)+"-"+strconv.FormatInt(off+n-1, 10)+"/"+strconv.FormatInt(size, 10))
			case rangeWhole:
				off, n = 0, size
			}
		}
	}
	done := func(int64) {}
	if begins != nil && !ctx.IsHead() {
		done = begins()
	}
	web.SendBody(ctx, body, off, n, func(sent int64, _ error) { done(sent) })
	return nil
}

func errChanged() *web.Error {
	return web.E(412, "changed", "the recording has changed since the first request", "start again without If-Match")
}

// tagIn compares weakly for If-None-Match, strongly for If-Match.
func tagIn(list, etag string, weak bool) bool {
	for _, t := range strings.Split(list, ",") {
		t = strings.TrimSpace(t)
		if weak {
			t = strings.TrimPrefix(t, "W/")
		}
		if t == "*" || t == etag {
			return true
		}
	}
	return false
}

type rangeState int

const (
	rangeWhole rangeState = iota // no range, or one we do not serve: send everything
	rangeOne
	rangeBad
)

// parseRange reads one byte range (RFC 9110, 14.2). Several ranges are
// answered with the whole, as the clause allows.
func parseRange(h string, size int64) (off, n int64, st rangeState) {
	spec, ok := strings.CutPrefix(strings.TrimSpace(h), "bytes=")
	if !ok || strings.Contains(spec, ",") {
		return 0, size, rangeWhole
	}
	a, b, ok := strings.Cut(strings.TrimSpace(spec), "-")
	if !ok {
		return 0, size, rangeWhole
	}
	if a == "" {
		suffix, err := strconv.ParseInt(b, 10, 64)
		if err != nil || suffix < 0 {
			return 0, size, rangeWhole
		}
		if suffix == 0 || size == 0 {
			return 0, 0, rangeBad
		}
		suffix = min(suffix, size)
		return size - suffix, suffix, rangeOne
	}
	from, err := strconv.ParseInt(a, 10, 64)
	if err != nil || from < 0 {
		return 0, size, rangeWhole
	}
	to := size - 1
	if b != "" {
		if to, err = strconv.ParseInt(b, 10, 64); err != nil || to < from {
			return 0, size, rangeWhole
		}
		to = min(to, size-1)
	}
	if from >= size {
		return 0, 0, rangeBad
	}
	return from, to - from + 1, rangeOne
}
