package rtsp

import (
	"context"
	"errors"
	"net/netip"
	"strings"

	"media-server/core/media"
	"media-server/core/timeline"
)

// Reader gives the frames of a stream; see timeline.Reader.
type Reader interface {
	Next(ctx context.Context) (*media.Frame, error)
	Close()
}

// Source is where frames come from. Safe for concurrent use.
type Source interface {
	Frames(uid string, o timeline.Read) (Reader, error)
	Bounds(uid string) (media.Span, bool)
	// Stream gives the title of a stream; offered = its stream-proto has rtsp. ok is
	// false where there is no such stream, nor footage of one.
	Stream(uid string) (title string, offered, ok bool)
	// Wake is told that somebody wants to see a stream live. True: it is captured only
	// then, and what comes may take a while.
	Wake(uid string) bool
}

// Ask is somebody who wants to play.
type Ask struct {
	UID       string
	Live      bool
	Address   netip.Addr
	Token     string     // of the URL, or a Bearer token
	User      Account    // that was proved; zero = none
	Session   string     // names the viewer
	Unknown   bool       // not said yet what is to be played; From and To do not count
	From, To  media.Wall // of a recording; To 0 = goes on live
	UserAgent string
}

// Account is a Digest account whose password somebody has proved to know.
type Account struct {
	Name  string
	Since int64 // when it got that password, Unix ms; with another one the proof is void
}

// Gate decides. An error that is a *Refusal says what to answer.
type Gate interface {
	Play(Ask) (Pass, error)
}

// Pass lets somebody in for as long as Alive, which is asked once a second, gives no
// error; one says why it is over, in words for the log. Safe for concurrent use.
type Pass interface {
	Alive() error
	Close()
}

// Refusal is why somebody may not play. Status is that of HTTP.
type Refusal struct {
	Status              int
	Code, Message, Hint string
	Cause               error // for the log, where that is more than Message; not for the client
}

func (r *Refusal) Error() string {
	if r.Hint == "" {
		return r.Message
	}
	return r.Message + "; " + r.Hint
}

// Accounts prove who a player is by HTTP Digest (RFC 7616). Safe for concurrent use.
type Accounts interface {
	// Challenges are the values of WWW-Authenticate; stale = the answer was to an
	// old one, and right otherwise.
	Challenges(from netip.Addr, stale bool) []string
	// Check reads an Authorization header. same tells whether a URI in it is that
	// of the request. A refusal is an error that is shown.
	Check(method, header string, same func(uri string) bool, from netip.Addr) (user Account, stale bool, err error)
}

// status is a refusal's in RTSP, which has fewer.
func (r *Refusal) status() int {
	switch r.Status {
	case 401, 403, 404, 503:
		return r.Status
	case 429: // RFC 2326, 11.3.3 is the nearest: others watch already
		return 453
	}
	return 403
}

// admit asks the gate for what a request wants: of ask the caller says what is to be
// played. t is the URL that the client knows, which says no more of that once it has
// gone elsewhere. pass is to be closed.
func (c *conn) admit(req *request, t target, ask Ask) (pass Pass, res *response) {
	ask.UID, ask.Address, ask.Token, ask.Session, ask.UserAgent = t.uid, c.from, t.token, c.id, req.get("user-agent")
	scheme, rest, _ := strings.Cut(req.get("authorization"), " ")
	presented, proved, stale := ask.Token != "", false, false
	switch {
	case strings.EqualFold(scheme, "bearer"):
		ask.Token, presented = strings.TrimSpace(rest), true
	case strings.EqualFold(scheme, "digest") && c.s.o.Accounts != nil:
		if stale, res = c.prove(req, t); res != nil {
			return nil, res
		}
		ask.User, presented, proved = c.user, true, !stale
	default:
		ask.User = c.user
	}
	pass, err := c.s.o.Gate.Play(ask)
	if err == nil {
		return pass, nil
	}
	r := new(Refusal)
	if !errors.As(err, &r) {
		c.s.o.Log.Error("cannot tell who may play", "stream", t.uid, "err", err)
		return nil, refuse(500, "something went wrong here; look in the server's log")
	}
	if r.Status != 401 || presented {
		c.refused(t.uid, r.status(), r.Message)
	}
	if r.Status == 401 && c.s.o.Accounts != nil && !proved {
		c.user = Account{} // if there was one, it is another now
		res = c.challenge(stale)
		res.reason = r.Error()
		return nil, res
	}
	res = refuse(r.status(), "%s", r.Error())
	if r.Status == 401 {
		res.set("WWW-Authenticate", `Bearer realm="media-server"`)
	}
	return nil, res
}

// prove checks a Digest answer, and keeps whose it is for the requests that follow.
// stale = it was right, but old, and somebody was proved on this connection before.
func (c *conn) prove(req *request, t target) (stale bool, res *response) {
	user, stale, err := c.s.o.Accounts.Check(req.method, req.get("authorization"), t.same, c.from)
	switch {
	case stale && c.user.Name != "":
		return true, nil
	case stale:
		return true, c.challenge(true)
	case err == nil:
		c.user = user
		return false, nil
	}
	r := new(Refusal)
	if !errors.As(err, &r) {
		c.refused(t.uid, 401, err.Error())
		return false, c.challenge(false)
	}
	why := r.Message
	if r.Cause != nil {
		why = r.Cause.Error()
	}
	c.refused(t.uid, r.status(), why)
	return false, refuse(r.status(), "%s", r.Error())
}

func (c *conn) challenge(stale bool) *response {
	res := refuse(401, "this stream needs a token, or an account of this server")
	for _, v := range c.s.o.Accounts.Challenges(c.from, stale) {
		res.set("WWW-Authenticate", v)
	}
	return res
}

// same tells whether a URI names the same stream: clients sign the URL of the
// request, or of the presentation, with or without its query.
func (t target) same(uri string) bool {
	uri, _ = cutTrack(uri)
	if i := strings.Index(uri, "://"); i >= 0 {
		uri = uri[i+3:]
		_, uri, _ = strings.Cut(uri, "/")
	}
	uri, _, _ = strings.Cut(uri, "?")
	kind, uid, _ := strings.Cut(strings.Trim(uri, "/"), "/")
	return uid == t.uid && kind == map[bool]string{true: "live", false: "dvr"}[t.live]
}
