package rtspsource

import (
	"context"
	"crypto/rand"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/bluenviron/gortsplib/v4/pkg/auth"
	"github.com/bluenviron/gortsplib/v4/pkg/base"
	"github.com/bluenviron/gortsplib/v4/pkg/description"

	"media-server/core/media"
	"media-server/plugins/sdk"
	"media-server/plugins/sdk/pb"
)

const (
	dialTimeout   = 5 * time.Second
	answerTimeout = 10 * time.Second // for one request; some cameras wake up slowly
	userAgent     = "media-server"
)

// session is one RTSP connection and what was set up on it.
type session struct {
	cfg  Config
	addr address
	wire *wire

	cseq    int
	sender  *auth.Sender
	id      string        // RTSP session
	keep    time.Duration // between keep-alives
	getPar  bool          // keep-alive by GET_PARAMETER
	server  string        // Server header
	base    *base.URL
	descr   sdp
	offers  []offer
	left    []sdk.LeftOut
	udp     bool
	ownSSRC uint32

	mu      sync.Mutex // over all below while UDP readers run
	tracks  []*track
	routes  [256]route
	sink    Sink
	opened  bool
	early   []media.AccessUnit // units before Open
	fatal   error              // ends the capture
	now     stamp              // arrival of what is being looked at
	lastRTP int64              // Mono
	lastAny int64
	seen    uint64 // bytes of the RTSP connection when lastAny was set
	sent    counts // already added to the sink's statistics
	extra   counts
}

type route struct {
	t    *track
	rtcp bool
}

// connect dials and describes; it follows redirects.
func connect(ctx context.Context, cfg Config) (*session, error) {
	addr, err := parseAddress(cfg.URL)
	if err != nil {
		return nil, sdk.Fail(pb.Cause_SETTINGS, err.Error(), "correct stream-url")
	}
	for hop := 0; ; hop++ {
		s := &session{cfg: cfg, addr: addr, keep: 25 * time.Second}
		next, err := s.describe(ctx)
		if err != nil {
			s.close()
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			return nil, err
		}
		if next == "" {
			return s, nil
		}
		s.close()
		to, err := parseAddress(next)
		if err != nil || hop == 3 || addr.tls && !to.tls {
			return nil, nonsense(addr.host, "redirects to where we cannot follow")
		}
		// The password goes along to the same host only.
		if a, _, _ := net.SplitHostPort(addr.host); !strings.HasPrefix(to.host, a+":") && !strings.HasPrefix(to.host, "["+a+"]:") {
			to.hasUser = false
		} else {
			to.user, to.pass, to.hasUser = addr.user, addr.pass, addr.hasUser
		}
		addr = to
	}
}

func (s *session) dial(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, dialTimeout)
	defer cancel()
	nc, err := (&net.Dialer{KeepAlive: 15 * time.Second}).DialContext(ctx, "tcp", s.addr.host)
	if err != nil {
		return unreachable(s.addr.host, err)
	}
	if s.addr.tls {
		host, _, _ := net.SplitHostPort(s.addr.host)
		conf := &tls.Config{ServerName: host, MinVersion: tls.VersionTLS12}
		if !s.cfg.VerifyTLS {
			// Cameras come with certificates they made themselves and with the
			// TLS of their year; encryption without proof beats plain text.
			conf.InsecureSkipVerify = true //nolint:gosec // the default is documented; tls-verify turns it off
			conf.MinVersion = tls.VersionTLS10
			for _, c := range append(tls.CipherSuites(), tls.InsecureCipherSuites()...) {
				conf.CipherSuites = append(conf.CipherSuites, c.ID)
			}
		}
		tc := tls.Client(nc, conf)
		if err := tc.HandshakeContext(ctx); err != nil {
			nc.Close()
			return unreachable(s.addr.host, err)
		}
		nc = tc
	}
	s.wire = newWire(nc)
	var b [4]byte
	rand.Read(b[:])
	s.ownSSRC = binary.BigEndian.Uint32(b[:])
	return nil
}

// describe dials and asks what there is; redirect is where else to ask.
func (s *session) describe(ctx context.Context) (redirect string, err error) {
	if err := s.dial(ctx); err != nil {
		return "", err
	}
	stop := context.AfterFunc(ctx, func() { s.wire.nc.SetDeadline(time.Unix(1, 0)) })
	defer stop()

	m, err := s.request(ctx, base.Options, s.addr.request, nil)
	if err != nil {
		return "", err
	}
	s.getPar = strings.Contains(m.get("public"), "GET_PARAMETER")
	s.server = plain(m.get("server"), 80)

	if m, err = s.request(ctx, base.Describe, s.addr.request, base.Header{"Accept": {"application/sdp"}}); err != nil {
		return "", err
	}
	if m.code >= 300 && m.code < 400 && m.get("location") != "" {
		return m.get("location"), nil
	}
	if m.code != 200 {
		return "", refusedBy(s.addr.host, "DESCRIBE", m.code, s.addr.hasUser)
	}
	if v := m.get("server"); v != "" {
		s.server = plain(v, 80)
	}
	s.descr = parseSDP(m.body)
	if len(s.descr.sections) == 0 {
		return "", nonsense(s.addr.host, "describes no media")
	}
	s.base = s.baseURL(m)
	s.offers, s.left = choose(s.descr, s.cfg.Wants)
	return "", nil
}

// baseURL is what the controls of the tracks are relative to: the session's
// control, Content-Base, else what was asked for. What cannot be read is passed
// over.
func (s *session) baseURL(m *message) *base.URL {
	for _, v := range []string{s.descr.control, m.get("content-base"), m.get("content-location")} {
		if v == "" || v == "*" {
			continue
		}
		if strings.HasPrefix(v, "/") {
			v = s.addr.request.Scheme + "://" + s.addr.request.Host + v
		}
		if u, err := base.ParseURL(v); err == nil && u.Host != "" {
			u.User = nil
			return u
		}
	}
	return s.addr.request
}

// request sends a request and waits for its answer, once more with credentials
// if asked for them.
func (s *session) request(ctx context.Context, method base.Method, u *base.URL, h base.Header) (*message, error) {
	for try := 0; ; try++ {
		if err := s.send(method, u, h); err != nil {
			return nil, s.broken(ctx, method, err)
		}
		m, err := s.await(ctx, method)
		if err != nil {
			return nil, err
		}
		if v := m.get("session"); v != "" {
			s.takeSession(v)
		}
		if m.code != 401 {
			return m, nil
		}
		if !s.addr.hasUser || try == 1 || !s.challenge(m) {
			return nil, refusedBy(s.addr.host, string(method), 401, s.addr.hasUser)
		}
	}
}

// challenge takes what a 401 demands.
func (s *session) challenge(m *message) bool {
	var v base.HeaderValue
	for _, c := range m.header["www-authenticate"] {
		if k, rest, ok := strings.Cut(c, " "); ok {
			v = append(v, map[string]string{"basic": "Basic", "digest": "Digest"}[strings.ToLower(k)]+" "+rest)
		}
	}
	sender := &auth.Sender{WWWAuth: v, User: s.addr.user, Pass: s.addr.pass}
	if sender.Initialize() != nil {
		return false
	}
	s.sender = sender
	return true
}

func (s *session) send(method base.Method, u *base.URL, h base.Header) error {
	s.cseq++
	req := &base.Request{Method: method, URL: u, Header: base.Header{
		"CSeq":       {strconv.Itoa(s.cseq)},
		"User-Agent": {userAgent},
	}}
	for k, v := range h {
		req.Header[k] = v
	}
	if s.id != "" {
		req.Header["Session"] = base.HeaderValue{s.id}
	}
	if s.sender != nil {
		s.sender.AddAuthorization(req)
	}
	b, err := req.Marshal()
	if err != nil {
		return err
	}
	return s.wire.write(b)
}

// await reads until the answer to the last request. Media that comes before it
// is not lost.
func (s *session) await(ctx context.Context, method base.Method) (*message, error) {
	s.wire.nc.SetReadDeadline(time.Now().Add(answerTimeout))
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	for {
		if m, err := s.answer(); m != nil || err != nil {
			return m, err
		}
		if err := s.wire.fill(); err != nil {
			return nil, s.broken(ctx, method, err)
		}
		s.arrival()
	}
}

// answer takes apart what has been read, up to the answer to the last request.
func (s *session) answer() (*message, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for {
		channel, frame, m, ok, err := s.wire.next()
		switch {
		case err != nil:
			return nil, nonsense(s.addr.host, "does not speak RTSP")
		case !ok:
			return nil, nil
		case m == nil:
			s.frame(channel, frame)
		case m.method != "":
			s.asked(m)
		case m.code >= 200 && (m.get("cseq") == "" || m.get("cseq") == strconv.Itoa(s.cseq)):
			return m, nil
		}
	}
}

// arrival stamps what was just read.
func (s *session) arrival() stamp {
	now := instant()
	s.mu.Lock()
	s.now = now
	s.extra.wire = s.wire.total
	s.mu.Unlock()
	return now
}

// broken words the end of a connection while a request was under way.
func (s *session) broken(ctx context.Context, method base.Method, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case isTimeout(err):
		return silent(s.addr.host, "accepts the connection but does not answer "+string(method),
			"the device may hang: restart it, or check that this is its RTSP port")
	case errors.Is(err, io.EOF) && s.wire.total == 0:
		return sdk.Fail(pb.Cause_LOST, s.addr.host+" closes the connection without an answer",
			"the device may be out of sessions, block this address, or speak another protocol on this port")
	}
	return lost(s.addr.host, err)
}

// takeSession reads "id;timeout=60". Half of the timeout, and never more than
// 25 s, is what devices are known to live with.
func (s *session) takeSession(v string) {
	id, rest, _ := strings.Cut(v, ";")
	s.id = strings.TrimSpace(id)
	for p := range strings.SplitSeq(rest, ";") {
		if k, n, ok := strings.Cut(strings.TrimSpace(p), "="); ok && strings.EqualFold(k, "timeout") {
			if sec, err := strconv.Atoi(strings.TrimSpace(n)); err == nil && sec > 0 {
				s.keep = max(time.Second, min(time.Duration(sec)*time.Second/2, 25*time.Second))
			}
		}
	}
}

// asked answers a request of the device.
func (s *session) asked(m *message) {
	switch m.method {
	case "TEARDOWN", "REDIRECT":
		s.fatal = sdk.Fail(pb.Cause_LOST, s.addr.host+" ended the session", "")
	case "ANNOUNCE":
		s.fatal = sdk.ErrChanged
	}
	res := "RTSP/1.0 200 OK\r\nCSeq: " + plain(m.get("cseq"), 20) + "\r\n\r\n"
	if err := s.wire.write([]byte(res)); err != nil && s.fatal == nil {
		s.fatal = lost(s.addr.host, err)
	}
}

// trackURL is where to set a track up.
func (s *session) trackURL(control string) (*base.URL, error) {
	if control == "*" {
		control = ""
	}
	return description.Media{Control: control}.URL(s.base)
}

// close ends the connection, with a TEARDOWN if there is a session: many
// devices allow only a few.
func (s *session) close() {
	if s.wire == nil {
		return
	}
	if s.id != "" {
		s.wire.nc.SetDeadline(time.Now().Add(300 * time.Millisecond))
		s.cseq++
		req := &base.Request{Method: base.Teardown, URL: s.base, Header: base.Header{
			"CSeq": {strconv.Itoa(s.cseq)}, "User-Agent": {userAgent}, "Session": {s.id},
		}}
		if s.sender != nil {
			s.sender.AddAuthorization(req)
		}
		if b, err := req.Marshal(); err == nil {
			_, _ = s.wire.nc.Write(b) // the camera notices the connection's end as well
		}
	}
	s.wire.nc.Close()
}

// device is what the source calls itself.
func (s *session) device() string {
	for _, v := range []string{s.server, s.descr.tool, s.descr.title} {
		if v = plain(v, 80); v != "" && v != "-" {
			return v
		}
	}
	return ""
}
