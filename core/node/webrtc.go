package node

import (
	"errors"

	"golang.org/x/sys/unix"

	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web/api"
	"media-server/core/webrtc"
)

// openWebRTC makes the server of WebRTC. A port that cannot be had is a problem
// that is told, and nothing that recording or another protocol waits for.
func (n *Node) openWebRTC(set *Settings) error {
	s, err := webrtc.New(webrtc.Options{Config: set.WebRTC, Source: liveFrames{n.timeline}, Gate: webrtcGate{n}, Served: n.viewers.served, Log: n.log})
	if err != nil {
		return err
	}
	n.webrtc = s
	if err := s.Listen(); err != nil {
		n.log.Error("WebRTC is not served: its port cannot be opened", "err", fault.Of(err)[0].What, "hint", webrtcHint(err))
	}
	return nil
}

// webrtcHint is what to do where the port cannot be opened.
func webrtcHint(err error) string {
	if hint := fault.Of(err)[0].Hint; hint != "" {
		return hint
	}
	if errors.Is(err, unix.EADDRINUSE) {
		return "another program may use the port; change listen in [webrtc] of media-server.ini"
	}
	return "change listen in [webrtc] of media-server.ini"
}

func (n *Node) webrtcProblems() []api.Problem {
	if n.webrtc == nil {
		return nil
	}
	if err := n.webrtc.Err(); err != nil {
		return []api.Problem{{Level: "error", Where: "[webrtc]", What: "WebRTC is not served: " + fault.Of(err)[0].What, Hint: webrtcHint(err)}}
	}
	return nil
}

// liveFrames opens readers of the timeline.
type liveFrames struct{ t *timeline.Timeline }

func (l liveFrames) Live(uid string) (webrtc.Reader, error) {
	r, err := l.t.Frames(uid, timeline.Read{Live: true})
	if err != nil {
		return nil, err
	}
	return r, nil
}

// Newest implements webrtc.Source.
func (l liveFrames) Newest(uid string) (media.Wall, bool) { return l.t.Newest(uid) }

// webrtcGate counts viewers; the door has let them in already.
type webrtcGate struct{ n *Node }

// Play implements webrtc.Gate. Each session is a viewer of its own.
func (g webrtcGate) Play(a webrtc.Ask) (webrtc.Pass, error) {
	if limit := g.n.watches(a.UID, "webrtc", a.Session); limit != "" {
		return nil, &webrtc.Refusal{Status: 429, Code: "too_many_viewers", Message: "as many viewers as may watch are watching", Hint: "try again later; the bound is " + limit}
	}
	g.n.viewers.hold(a.UID, "webrtc", a.Session)
	return webrtcPass{g.n, a}, nil
}

type webrtcPass struct {
	n   *Node
	ask webrtc.Ask
}

// Alive implements webrtc.Pass. A stream that no longer offers WebRTC ends it, too.
func (p webrtcPass) Alive() bool {
	st, ok := playable{p.n}.Stream(p.ask.UID)
	return ok && (st.Proto == nil || st.Proto["webrtc"]) && (p.ask.Alive == nil || p.ask.Alive())
}

// Close implements webrtc.Pass: the place is free at once.
func (p webrtcPass) Close() { p.n.viewers.gone(p.ask.UID, "webrtc", p.ask.Session) }
