package api

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// Lock keeps a stretch of a stream whatever the rules say.
type Lock struct {
	ID     string `json:"id"`
	UID    string `json:"uid"`
	From   int64  `json:"from"` // Unix ms
	To     int64  `json:"to"`
	Reason string `json:"reason"`
	Who    string `json:"who"`
	Made   int64  `json:"made_ms"`
	Until  int64  `json:"until,omitempty"` // 0 = until it is removed
}

// NewLock asks for a lock.
type NewLock struct {
	Span   media.Span
	Reason string
	Who    string
	Until  media.Wall // 0 = until it is removed
}

// ErrNoLock is what RemoveLock returns when there is no such lock.
var ErrNoLock = errors.New("there is no such lock")

// Locks is the part of Backend that keeps footage.
type Locks interface {
	Locks(uid string) []Lock
	AddLock(uid string, l NewLock) (Lock, error)
	RemoveLock(uid, id, who string) error
}

var lockRoutes = []route{
	{"GET", "streams/{uid}/locks", Viewer, (*API).locks},
	{"POST", "streams/{uid}/locks", Operator, (*API).addLock},
	{"DELETE", "streams/{uid}/locks/{id}", Operator, (*API).removeLock},
}

func (a *API) locks(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	return answerPage(ctx, a.b.Locks(s.UID), func(x *Lock) string { return x.ID })
}

// moment is a time in a JSON body, in any notation a URL takes; a number is
// taken like its digits.
type moment string

// UnmarshalJSON implements json.Unmarshaler.
func (m *moment) UnmarshalJSON(b []byte) error {
	if len(b) > 0 && b[0] != '"' {
		var n json.Number
		if err := json.Unmarshal(b, &n); err != nil {
			return fmt.Errorf("a time is a string or a number, not %s", b)
		}
		*m = moment(n.String())
		return nil
	}
	return json.Unmarshal(b, (*string)(m))
}

// strict reads a body that may have no other fields than v.
func strict(ctx *fasthttp.RequestCtx, v any) *web.Error {
	d := json.NewDecoder(bytes.NewReader(ctx.PostBody()))
	d.DisallowUnknownFields()
	if err := d.Decode(v); err != nil {
		return web.E(400, "bad_body", "the body must be a JSON object: "+err.Error()+" (at byte "+strconv.FormatInt(d.InputOffset(), 10)+")", "")
	}
	return nil
}

func (a *API) addLock(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	var in struct {
		From, To, Until moment
		Reason          string
	}
	if e := strict(ctx, &in); e != nil {
		return e
	}
	l := NewLock{Reason: in.Reason, Who: who.Name}
	now := time.Now()
	for _, t := range []struct {
		key    string
		text   moment
		at     *media.Wall
		needed bool
	}{{"from", in.From, &l.Span.From, true}, {"to", in.To, &l.Span.To, true}, {"until", in.Until, &l.Until, false}} {
		if t.text == "" && !t.needed {
			continue
		}
		w, err := timeline.ParseTime(string(t.text), now, a.zone())
		if err != nil {
			return web.E(400, "bad_time", t.key+": "+err.Error(), `for example {"from":"2026-03-01T08:00:00Z","to":"2026-03-01T08:10:00Z","reason":"…"}`)
		}
		*t.at = w
	}
	if l.Reason == "" {
		return web.E(400, "no_reason", "a lock needs a reason", "whoever finds it in a year wants to know why")
	}
	made, err := a.b.AddLock(s.UID, l)
	if err != nil {
		what, hint := err.Error(), ""
		if p := new(fault.Problem); errors.As(err, &p) {
			what, hint = p.What, p.Hint
		}
		return web.E(409, "lock", what, hint)
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), fmt.Sprintf("locked %s from %s to %s: %s", s.UID, l.Span.From.Time().UTC().Format(time.RFC3339Nano), l.Span.To.Time().UTC().Format(time.RFC3339Nano), l.Reason))
	ctx.SetStatusCode(201)
	ctx.Response.Header.Set("Location", "/api/v1/streams/"+s.UID+"/locks/"+made.ID)
	web.JSON(ctx, made)
	return nil
}

func (a *API) removeLock(ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e != nil {
		return e
	}
	switch err := a.b.RemoveLock(s.UID, args[1], who.Name); {
	case errors.Is(err, ErrNoLock):
		return web.E(404, "no_such_lock", fmt.Sprintf("stream %s has no lock %q", s.UID, args[1]), "the list is at /api/v1/streams/"+s.UID+"/locks")
	case err != nil:
		return web.E(503, "storage", err.Error(), "see problems; try again")
	}
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "removed lock "+args[1]+" of "+s.UID)
	ctx.SetStatusCode(204)
	return nil
}
