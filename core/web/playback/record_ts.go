package playback

import (
	"media-server/core/hls"
	"media-server/core/web"
)

// recordTS is a range as one stream of MPEG-TS, for players and tools of before
// HLS. It is made while it is sent: without a length, without byte ranges.
const recordTS = "record.ts"

func (h *Handler) recordTS(r request) *web.Error {
	s, open, e := h.span(r)
	if e != nil {
		return e
	}
	if h.absolute(r, s, open) {
		return nil
	}
	over, uid := func() {}, r.uid
	m, err := h.hls.Recording(hls.Request{UID: r.uid, Span: s}, h.opt.Done, func(sent int64) {
		over()
		if h.opt.Served != nil {
			h.opt.Served(uid, sent)
		}
	})
	if err != nil {
		return h.fault(r, s, err)
	}
	h.first("hls", r)
	hd := &r.ctx.Response.Header
	hd.Set("Cache-Control", "private, no-cache")
	hd.Set("Accept-Ranges", "none")
	if name := r.args.Get("download"); name != "" {
		hd.Set("Content-Disposition", Disposition(name, ".ts"))
	}
	r.ctx.SetContentType("video/mp2t")
	if r.ctx.IsHead() {
		r.ctx.Response.SkipBody = true
		_ = m.Close()
		return nil
	}
	over = h.out.add(r.ctx.Conn(), r.grant.Alive) // it ends with the right to it
	web.SendReader(r.ctx, m)
	return nil
}
