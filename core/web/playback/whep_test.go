package playback

import (
	"bytes"
	"context"
	"net"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/valyala/fasthttp"

	"media-server/core/media"
	"media-server/core/webrtc"
)

const offered = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" +
	"a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\na=setup:actpass\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n"

// sound is a stream of one frame for ever.
type sound struct{ codec media.Codec }

func (s sound) Live(string) (webrtc.Reader, error) { return s, nil }
func (sound) Newest(string) (media.Wall, bool)     { return 1 << 62, true }
func (sound) Close()                               {}
func (s sound) Next(ctx context.Context) (*media.Frame, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return &media.Frame{Tracks: []media.Track{{ID: 1, Codec: s.codec, Timescale: 8000, SampleRate: 8000, Channels: 1}}, Track: 1, PTS: 1 << 62, Key: true, Payload: make([]byte, 160)}, nil
}

type asked struct {
	webrtc.Ask
	open atomic.Bool
}

func (a *asked) Play(ask webrtc.Ask) (webrtc.Pass, error) {
	a.Ask = ask
	a.open.Store(true)
	return a, nil
}
func (a *asked) Alive() bool { return true }
func (a *asked) Close()      { a.open.Store(false) }

func whepHandler(t *testing.T, codec media.Codec) (*Handler, *asked, *webrtc.Server) {
	t.Helper()
	h, gate := newHandler(), &asked{}
	c := webrtc.DefaultConfig()
	c.Listen = "127.0.0.1:0"
	s, err := webrtc.New(webrtc.Options{Config: c, Source: sound{codec}, Gate: gate})
	if err == nil {
		err = s.Listen()
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	h.opt.WebRTC = s
	h.opt.Streams.(known)["gate"].Proto["webrtc"] = true
	return h, gate, s
}

func post(h *Handler, method, uri, body string, header ...string) *fasthttp.RequestCtx {
	var ctx fasthttp.RequestCtx
	ctx.Init(&fasthttp.Request{}, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, nil)
	ctx.Request.Header.SetMethod(method)
	ctx.Request.SetRequestURI(uri)
	for i := 0; i+1 < len(header); i += 2 {
		ctx.Request.Header.Set(header[i], header[i+1])
	}
	ctx.Request.SetBodyString(body)
	h.Handle(&ctx)
	return &ctx
}

func TestWHEP(t *testing.T) {
	h, gate, s := whepHandler(t, media.PCMA)
	ctx := post(h, "POST", "/live/gate/whep?token=abc", offered, "Content-Type", "application/sdp; charset=utf-8", "Origin", "https://ok.example", "User-Agent", "test")
	hd := &ctx.Response.Header
	at := string(hd.Peek("Location"))
	if ctx.Response.StatusCode() != 201 || string(hd.ContentType()) != "application/sdp" || !strings.HasPrefix(at, "/live/gate/whep/") || !bytes.Contains(ctx.Response.Body(), []byte("a=rtpmap:8 PCMA/8000")) {
		t.Fatalf("%s\n%s", hd, ctx.Response.Body())
	}
	if !strings.Contains(string(hd.Peek("Access-Control-Expose-Headers")), "Location") || len(hd.Peek("ETag")) == 0 {
		t.Errorf("%s", hd)
	}
	if gate.UID != "gate" || gate.Address.String() != "192.0.2.7" || len(gate.Session) != 32 || !gate.open.Load() || !gate.Known {
		t.Errorf("%+v", gate)
	}
	if post(h, "POST", "/live/gate/whep", offered, "Content-Type", "application/sdp"); gate.Known {
		t.Error("known, who has shown nothing")
	}
	if ctx := post(h, "PATCH", at, "a=ice-ufrag:abcd\r\na=candidate:1 1 udp 1 192.0.2.1 9 typ host\r\n", "Content-Type", "application/trickle-ice-sdpfrag"); ctx.Response.StatusCode() != 204 {
		t.Errorf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	if ctx := post(h, "PATCH", at, "a=ice-ufrag:zzzz\r\n"); ctx.Response.StatusCode() != 422 {
		t.Errorf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	if ctx := post(h, "DELETE", at, ""); ctx.Response.StatusCode() != 204 {
		t.Errorf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	s.Close()
	if gate.open.Load() || s.Sessions() != 0 {
		t.Error("something is left")
	}
}

func TestWHEPRefused(t *testing.T) {
	h, _, _ := whepHandler(t, media.PCMA)
	aac, _, _ := whepHandler(t, media.AAC)
	off := newHandler()
	off.opt.Streams.(known)["gate"].Proto["webrtc"] = true
	const sdp = "application/sdp"
	for _, c := range []struct {
		name              string
		h                 *Handler
		method, uri, kind string
		body              string
		status            int
		code              string
		allow             string
	}{
		{"no such stream", h, "POST", "/live/none/whep", sdp, offered, 404, "no_such_stream", ""},
		{"shut", h, "POST", "/live/shut/whep", sdp, offered, 401, "login", ""},
		{"not offered", h, "POST", "/live/bare/whep", sdp, offered, 404, "proto_off", ""},
		{"no SDP", h, "POST", "/live/gate/whep", "application/json", offered, 415, "not_sdp", ""},
		{"empty", h, "POST", "/live/gate/whep", sdp, "", 400, "bad_offer", ""},
		{"long", h, "POST", "/live/gate/whep", sdp, strings.Repeat("x", webrtc.MaxOffer+1), 413, "offer_too_long", ""},
		{"bad query", h, "POST", "/live/gate/whep?a=%zz", sdp, offered, 400, "bad_query", ""},
		{"GET", h, "GET", "/live/gate/whep", "", "", 405, "method", "POST, OPTIONS"},
		{"DELETE of all", h, "DELETE", "/live/gate/whep", "", "", 405, "method", "POST, OPTIONS"},
		{"GET of a session", h, "GET", "/live/gate/whep/17", "", "", 405, "method", "PATCH, DELETE, OPTIONS"},
		{"POST to a session", h, "POST", "/live/gate/whep/17", sdp, offered, 405, "method", "PATCH, DELETE, OPTIONS"},
		{"no such session", h, "DELETE", "/live/gate/whep/17", "", "", 404, "no_such_session", ""},
		{"no such session to patch", h, "PATCH", "/live/gate/whep/17", "", "", 404, "no_such_session", ""},
		{"of the past", h, "POST", "/dvr/gate/whep", sdp, offered, 405, "method", ""},
		{"codec", aac, "POST", "/live/gate/whep", sdp, offered, 415, "codec_not_in_webrtc", ""},
		{"off", off, "POST", "/live/gate/whep", sdp, offered, 503, "webrtc_off", ""},
		{"off, a session", off, "DELETE", "/live/gate/whep/1", sdp, offered, 404, "no_such_session", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx := post(c.h, c.method, c.uri, c.body, "Content-Type", c.kind)
			if ctx.Response.StatusCode() != c.status {
				t.Errorf("%d %s", ctx.Response.StatusCode(), ctx.Response.Body())
			}
			shape(t, ctx, c.code)
			if got := string(ctx.Response.Header.Peek("Allow")); c.allow != "" && got != c.allow {
				t.Errorf("Allow: %s", got)
			}
		})
	}
}

func TestWHEPPreflight(t *testing.T) {
	h, _, _ := whepHandler(t, media.PCMA)
	for uri, allow := range map[string]string{"/live/gate/whep": "POST, OPTIONS", "/live/gate/whep/17": "PATCH, DELETE, OPTIONS"} {
		ctx := post(h, "OPTIONS", uri, "", "Origin", "https://ok.example", "Access-Control-Request-Method", "POST", "Access-Control-Request-Headers", "content-type")
		hd := &ctx.Response.Header
		if ctx.Response.StatusCode() != 204 || string(hd.Peek("Allow")) != allow || string(hd.Peek("Access-Control-Allow-Origin")) != "https://ok.example" ||
			!strings.Contains(string(hd.Peek("Access-Control-Allow-Methods")), "DELETE") || !strings.Contains(string(hd.Peek("Access-Control-Allow-Headers")), "Content-Type") {
			t.Errorf("%s: %s", uri, hd)
		}
	}
}

func TestRefusalOfTheUnknown(t *testing.T) {
	h := newHandler()
	var ctx fasthttp.RequestCtx
	if e := h.refusal(&ctx, context.Canceled); e == nil || e.Status != 503 {
		t.Error(e)
	}
	if e := h.refusal(&ctx, &webrtc.Refusal{Status: 429}); e.Status != 429 || len(ctx.Response.Header.Peek("Retry-After")) == 0 {
		t.Error("no Retry-After", e)
	}
}
