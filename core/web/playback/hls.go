package playback

import (
	"errors"
	"slices"
	"strconv"
	"strings"

	"media-server/core/hls"
	"media-server/core/media"
	"media-server/core/web"
)

func (h *Handler) answerHLS(r request) *web.Error {
	if e := container(r); e != nil {
		return e
	}
	if e := h.admit(&r, "hls"); e != nil {
		return e
	}
	switch {
	case r.file == recordTS:
		return h.recordTS(r)
	case strings.HasSuffix(r.file, ".m4s"), strings.HasSuffix(r.file, ".ts"):
		return h.segment(r)
	case strings.HasPrefix(r.file, "init-"):
		b, err := h.hls.Init(r.src, r.file)
		if err != nil {
			return h.fault(r, media.Span{}, err)
		}
		r.ctx.SetContentType("video/mp4")
		forever(r)
		r.ctx.SetBody(b)
		return nil
	}
	return h.playlist(r)
}

// forever: segments and inits never change under their name.
func forever(r request) {
	r.ctx.Response.Header.Set("Cache-Control", "private, max-age=31536000, immutable")
}

// playlist answers playlist.m3u8 and media.m3u8, for live and for ranges, and the
// scrub playlist of a range.
func (h *Handler) playlist(r request) *web.Error {
	req := hls.Request{UID: r.src, Live: r.live, TS: r.ts(), Carry: r.carry(), Within: r.within()}
	// An end without a beginning is refused rather than answered with live.
	ranged := !r.live || r.has(fromKeys...) || r.has(toKeys...) || r.has("duration")
	var more []string
	if ranged {
		s, open, e := h.span(r)
		if e != nil {
			return e
		}
		if r.file == "scrub.m3u8" && h.absolute(r, s, open) { // what it lists does not change
			return nil
		}
		req.Live, req.Span = false, s
		more = []string{"from", strconv.FormatInt(s.From.Milli(), 10)}
		if open {
			req.Span.To = 0
		} else {
			more = append(more, "to", strconv.FormatInt(s.To.Milli(), 10))
		}
	}
	var b []byte
	var err error
	if req.Live || req.Span.To == 0 {
		h.wake(r, req.Live, req.Span.From)
	}
	switch r.file {
	case "scrub.m3u8":
		b, err = h.hls.Scrub(req)
	case "media.m3u8":
		if (req.Live || req.Span.To == 0) && !req.TS {
			if req.Parts = r.lowLatency(); req.Parts {
				if e := h.await(r); e != nil {
					return e
				}
				req.Other = r.other(more)
				skip := r.args.Get("_HLS_skip")
				req.Skip = skip == "YES" || skip == "v2"
			}
		}
		req.FLAC = !req.TS && r.args.Get("sound") == "flac"
		b, err = h.hls.Media(req)
	default:
		if !r.live && req.Span.To != 0 && !req.TS {
			req.Scrub = "scrub.m3u8?" + r.carry(more...)
		}
		var uri string
		if uri, err = h.mediaURI(&r, &req, more); err != nil {
			break
		}
		var smaller []hls.Variant
		if r.sub != "" && r.src == r.uid && !req.TS {
			v := hls.Variant{Req: req}
			v.Req.UID, v.Req.Scrub = r.sub, ""
			if v.URI, err = h.mediaURI(&r, &v.Req, more); err == nil { // else it is away
				v.URI = subRoot + v.URI
				smaller = append(smaller, v)
			}
		}
		b, err = h.hls.Multivariant(req, uri, smaller...)
	}
	if err != nil {
		return h.fault(r, req.Span, err)
	}
	h.first("hls", r)
	r.ctx.SetContentType("application/vnd.apple.mpegurl")
	r.ctx.Response.Header.Set("Cache-Control", "no-cache")
	r.ctx.Response.SetBodyRaw(b) // made for this answer alone
	return nil
}

// mediaURI is where the media playlist of req is found. One that was found before G.711
// was converted goes on without.
func (h *Handler) mediaURI(r *request, req *hls.Request, more []string) (string, error) {
	converts, err := h.hls.Converts(*req)
	if err != nil {
		return "", err
	}
	if req.FLAC = converts && !req.TS; req.FLAC {
		more = append(slices.Clip(more), "sound", "flac")
	}
	uri := "media.m3u8"
	if c := r.carry(more...); c != "" {
		uri += "?" + c
	}
	return uri, nil
}

// other is the other rendition of a stream that has two; more is what its playlist's
// address tells beside token and session.
func (r *request) other(more []string) *hls.Variant {
	uid, uri := r.sub, subRoot+"media.m3u8"
	if r.src != r.uid {
		uid, uri = r.uid, "../media.m3u8"
	}
	if uid == "" {
		return nil
	}
	return &hls.Variant{Req: hls.Request{UID: uid, Carry: r.carry(more...)}, URI: uri}
}

func (h *Handler) segment(r request) *web.Error {
	body, final, err := h.hls.Segment(r.src, r.file, r.within())
	if errors.Is(err, hls.ErrNotYet) { // a part that a playlist has hinted at
		_ = h.until(r, func() (bool, error) {
			body, final, err = h.hls.Segment(r.src, r.file, r.within())
			return !errors.Is(err, hls.ErrNotYet), nil
		})
	}
	if err != nil {
		return h.fault(r, media.Span{}, err)
	}
	r.ctx.SetContentType("video/mp4")
	if strings.HasSuffix(r.file, ".ts") {
		r.ctx.SetContentType("video/mp2t")
	}
	if final {
		forever(r)
	} else { // the end of a closed range that reaches into the present
		r.ctx.Response.Header.Set("Cache-Control", "no-store")
	}
	return h.send(r, body, "")
}
