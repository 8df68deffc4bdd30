package rtsp

import (
	"fmt"
	"net"
	"strconv"
	"strings"

	"media-server/core/media"
)

const methods = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, TEARDOWN, GET_PARAMETER, SET_PARAMETER"

// answer carries a request out. after, which may be nil, is called when the answer has
// been sent or could not be.
func (c *conn) answer(req *request) (res *response, after func(sent bool)) {
	if no := unknownFeatures(req); len(no) > 0 {
		res = refuse(551, "this server knows %s alone", onvifFeature)
		res.set("Unsupported", strings.Join(no, ", "))
		return res, nil
	}
	if res := c.inSession(req); res != nil {
		return res, nil
	}
	switch req.method {
	case "OPTIONS":
		res = &response{status: 200}
		res.set("Public", methods)
		return res, nil
	case "DESCRIBE":
		return c.onDescribe(req), nil
	case "SETUP":
		return c.onSetup(req), nil
	case "PLAY":
		return c.onPlay(req)
	case "PAUSE":
		return c.onPause(), nil
	case "TEARDOWN":
		return c.onTeardown(), nil
	case "GET_PARAMETER", "SET_PARAMETER":
		return c.onParameter(req), nil
	case "ANNOUNCE", "RECORD", "REDIRECT":
		res = refuse(405, "this server does not take streams from clients")
		res.set("Allow", methods)
		return res, nil
	}
	return refuse(501, "the method is not known"), nil
}

// unknownFeatures are those that a client requires and this server lacks.
func unknownFeatures(req *request) (no []string) {
	for _, v := range append(req.header["require"], req.header["proxy-require"]...) {
		for f := range strings.SplitSeq(v, ",") {
			if f = plain(strings.TrimSpace(f)); f != "" && f != onvifFeature {
				no = append(no, f)
			}
		}
	}
	return no
}

func requires(req *request, feature string) bool {
	return strings.Contains(strings.Join(req.header["require"], ","), feature)
}

// inSession refuses a session that is not this connection's.
func (c *conn) inSession(req *request) *response {
	id, _, _ := strings.Cut(req.get("session"), ";")
	switch id = strings.TrimSpace(id); {
	case id == "" && c.ss != nil && req.method != "OPTIONS" && req.method != "DESCRIBE" && req.method != "GET_PARAMETER" && req.method != "SET_PARAMETER":
		return refuse(454, "the request names no session")
	case id == "":
		return nil
	case c.ss == nil || id != c.ss.id:
		return refuse(454, "there is no such session on this connection; it ends with the connection that made it")
	}
	return nil
}

// targetOf reads the URL of a request. One that was described a moment ago is the
// same still, even if its times are relative to now.
func (c *conn) targetOf(req *request) (target, *response) {
	t, res := parseTarget(req.uri, c.s.now(), c.s.zone())
	if res == nil && c.d != nil && c.d.t.asked == t.asked {
		t.from, t.to = c.d.t.from, c.d.t.to
	}
	return t, res
}

func (c *conn) onDescribe(req *request) *response {
	if accept := req.get("accept"); accept != "" && !strings.Contains(accept, "application/sdp") && !strings.Contains(accept, "*/*") {
		return refuse(400, "descriptions are application/sdp alone")
	}
	t, res := parseTarget(req.uri, c.s.now(), c.s.zone())
	if res != nil {
		c.tell(t.uid, res)
		return res
	}
	if res = c.mayPlay(req, t); res != nil {
		return res
	}
	d, res := c.describe(t)
	if res != nil {
		c.tell(t.uid, res)
		return res
	}
	c.d = d
	host, _, _ := net.SplitHostPort(c.nc.LocalAddr().String())
	res = &response{status: 200, body: d.sdp(host, req.uri)}
	res.set("Content-Type", "application/sdp")
	return res
}

// mayPlay asks the gate without staying.
func (c *conn) mayPlay(req *request, t target) *response {
	pass, res := c.admit(req, t, Ask{Live: t.live, Unknown: t.from == 0 && t.to == 0, From: t.from, To: t.to})
	if pass != nil {
		pass.Close()
	}
	return res
}

func (c *conn) onSetup(req *request) *response {
	t, res := c.targetOf(req)
	if res != nil {
		c.tell(t.uid, res)
		return res
	}
	if res := c.mayPlay(req, t); res != nil {
		return res
	}
	ss := c.ss
	if ss == nil {
		if c.d == nil || c.d.t.asked != t.asked {
			if c.d, res = c.describe(t); res != nil {
				c.tell(t.uid, res)
				return res
			}
		}
		ss = &session{c: c, id: fmt.Sprintf("%08x%08x", random32(), random32()), d: c.d}
	}
	switch {
	case ss.play != nil:
		return refuse(455, "tracks are set up before PLAY")
	case ss.d.t.uid != t.uid || ss.d.t.live != t.live:
		return refuse(459, "a session is of one stream; another one needs a connection of its own")
	case t.track == 0 && len(ss.d.tracks) == 1:
		t.track = 1
	case t.track == 0 || t.track > len(ss.d.tracks):
		return refuse(404, "there is no such track; set up those that DESCRIBE names")
	}
	var udp *udpPair
	way, ok := parseTransport(req.header["transport"], func() bool { // who wants TCP moves no ports
		udp = c.packets(ss)
		return udp != nil
	})
	if !ok {
		return refuse(461, "this server sends RTP/AVP/TCP;unicast;interleaved=0-1%s", map[bool]string{true: " and RTP/AVP;unicast;client_port=5000-5001"}[udp != nil])
	}
	m, res := ss.add(t.track, way)
	if res != nil {
		return res
	}
	if !m.tcp && ss.udp == nil {
		ss.udp = udp
	}
	ss.onvif = ss.onvif || requires(req, onvifFeature)
	c.begins(ss)
	res = &response{status: 200}
	res.set("Session", fmt.Sprintf("%s;timeout=%d", ss.id, int(sessionTimeout.Seconds())))
	if m.tcp {
		res.set("Transport", fmt.Sprintf("RTP/AVP/TCP;unicast;interleaved=%d-%d;ssrc=%08X", m.channels[0], m.channels[1], m.ssrc))
	} else {
		a, b := ss.udp.ports()
		res.set("Transport", fmt.Sprintf("RTP/AVP;unicast;client_port=%d-%d;server_port=%d-%d;ssrc=%08X", m.to[0].Port(), m.to[1].Port(), a, b, m.ssrc))
	}
	return res
}

func (c *conn) onPlay(req *request) (res *response, after func(sent bool)) {
	ss := c.ss
	if ss == nil {
		return refuse(455, "SETUP comes before PLAY"), nil
	}
	if ss.play != nil && req.get("range") == "" && req.get("scale") == "" && req.get("speed") == "" && !closed(ss.play.done) {
		res = &response{status: 200} // it plays already; some clients keep a session so
		res.set("Session", ss.id)
		return res, nil
	}
	wasPlaying := ss.play != nil
	ss.halt() // it reads what is written now
	// GStreamer's rtspsrc sends Rate-Control alone.
	ss.onvif = ss.onvif || requires(req, onvifFeature) || req.get("rate-control") != ""
	t, res := parseTarget(req.uri, c.s.now(), c.s.zone())
	if res != nil || t.uid != ss.d.t.uid { // some clients send the URL without its times
		t.token = ss.d.t.token
	}
	t.uid, t.live, t.from, t.to = ss.d.t.uid, ss.d.t.live, ss.d.t.from, ss.d.t.to
	if t.token == "" {
		t.token = ss.d.t.token
	}
	a := asked{d: ss.d, tcp: ss.tcp, now: media.WallOf(c.s.now()), resume: ss.at}
	if b, ok := c.s.o.Source.Bounds(t.uid); ok {
		a.oldest = b.From
	}
	p, res := planOf(req, a)
	if res == nil {
		var pass Pass
		from, to := p.ends()
		if pass, res = c.admit(req, t, Ask{Live: p.read.Live, From: from, To: to}); res == nil {
			ss.admitted(pass)
			res, after = ss.begin(req, p)
		}
	}
	if after == nil && res.status != 401 {
		c.tell(t.uid, res)
	}
	if after == nil && wasPlaying {
		res.set("Session", ss.id) // it is there still, paused
	}
	return res, after
}

func closed(done <-chan struct{}) bool {
	select {
	case <-done:
		return true
	default:
		return false
	}
}

func (c *conn) onPause() *response {
	if c.ss == nil {
		return refuse(455, "there is nothing to pause")
	}
	c.ss.halt()
	res := &response{status: 200}
	res.set("Session", c.ss.id)
	return res
}

func (c *conn) onTeardown() *response {
	if c.ss != nil {
		c.ends()
	}
	return &response{status: 200}
}

// onParameter answers what keeps a session alive; there are no parameters.
func (c *conn) onParameter(req *request) *response {
	if req.method == "SET_PARAMETER" && len(req.body) > 0 {
		return refuse(451, "there are no parameters to set")
	}
	res := &response{status: 200}
	if c.ss != nil {
		res.set("Session", c.ss.id)
	}
	return res
}

// number reads a small number; 0 = it is none.
func number(text string) int {
	n, _ := strconv.Atoi(text)
	return n
}
