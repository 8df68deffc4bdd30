package playback

import (
	"errors"
	"net/netip"
	"strings"

	"github.com/valyala/fasthttp"

	"media-server/core/web"
	"media-server/core/webrtc"
)

// whep tells whether the request is for WebRTC: /live/<uid>/whep takes the
// offers, whep/<session> is one that goes on. What a session's name names is
// empty for the former.
func (r *request) whep() (session string, ok bool) {
	if !r.live {
		return "", false
	}
	if r.file == "whep" {
		return "", true
	}
	session, ok = strings.CutPrefix(r.file, "whep/")
	return session, ok
}

// methods are those of an address; "" = GET and HEAD alone.
func (r *request) methods() string {
	switch session, ok := r.whep(); {
	case !ok:
		return "GET, HEAD, OPTIONS"
	case session == "":
		return "POST, OPTIONS"
	}
	return "PATCH, DELETE, OPTIONS"
}

// answerWHEP answers POST of an offer; everything else but a session's DELETE and
// PATCH is a wrong method.
func (h *Handler) answerWHEP(r request) *web.Error {
	session, _ := r.whep()
	switch {
	case session == "" && r.ctx.IsPost():
		return h.answer(r)
	case session != "" && (r.ctx.IsDelete() || r.ctx.IsPatch()):
		// The name is the right: nobody else knows it. A player that leaves has
		// nothing else at hand.
		return h.session(r, session)
	}
	r.ctx.Response.Header.Set("Allow", r.methods())
	return web.E(405, "method", "WHEP is POST of an offer to whep, and PATCH and DELETE of the session that it gives", "POST what RTCPeerConnection.createOffer gives, as application/sdp")
}

func (h *Handler) offer(r request) *web.Error {
	if h.opt.WebRTC == nil {
		return web.E(503, "webrtc_off", "WebRTC is not served here", "HLS plays at playlist.m3u8")
	}
	if kind, _, _ := strings.Cut(string(r.ctx.Request.Header.ContentType()), ";"); !strings.EqualFold(strings.TrimSpace(kind), "application/sdp") {
		return web.E(415, "not_sdp", "an offer is application/sdp", "set Content-Type: application/sdp")
	}
	h.wake(r, true, 0)
	ask := webrtc.Ask{UID: r.uid, Who: r.grant.Who, Alive: r.grant.Alive, Known: r.grant.Known != nil && r.grant.Known()}
	if a, ok := netip.AddrFromSlice(r.ctx.RemoteIP()); ok {
		ask.Address = a.Unmap()
	}
	a, err := h.opt.WebRTC.Open(r.ctx, ask, r.ctx.PostBody())
	if err != nil {
		return h.refusal(r.ctx, err)
	}
	h.first("webrtc", r)
	hd := &r.ctx.Response.Header
	hd.Set("Location", "/live/"+r.uid+"/whep/"+a.Session)
	hd.Set("ETag", `"`+a.Session[:8]+`"`)
	hd.Set("Accept-Patch", "application/trickle-ice-sdpfrag")
	hd.Set("Cache-Control", "no-store")
	if len(a.Notes) > 0 {
		hd.Set("X-Media-Note", strings.Join(a.Notes, "; "))
	}
	r.ctx.SetStatusCode(201)
	r.ctx.SetContentType("application/sdp")
	r.ctx.SetBodyString(a.SDP)
	return nil
}

// session ends a session, or takes candidates for it, of which there is no need.
func (h *Handler) session(r request, id string) *web.Error {
	if h.opt.WebRTC == nil {
		return web.E(404, "no_such_session", "there is no such session", "")
	}
	var err error
	if r.ctx.IsDelete() {
		err = h.opt.WebRTC.End(r.uid, id)
	} else {
		err = h.opt.WebRTC.Trickle(r.uid, id, r.ctx.PostBody())
	}
	if err != nil {
		return h.refusal(r.ctx, err)
	}
	r.ctx.SetStatusCode(204)
	return nil
}

func (h *Handler) refusal(ctx *fasthttp.RequestCtx, err error) *web.Error {
	var f *webrtc.Refusal
	if !errors.As(err, &f) {
		return web.E(503, "webrtc", "the session cannot be made at present: "+err.Error(), "try again")
	}
	if f.Status == 429 || f.Status == 503 {
		ctx.Response.Header.Set("Retry-After", "30")
	}
	return web.E(f.Status, f.Code, f.Message, f.Hint)
}
