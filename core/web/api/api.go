package api

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
	"media-server/core/web/playback"
)

// Role orders what people may do.
type Role int

// Roles, each including those before it.
const (
	Anybody Role = iota
	Viewer
	Operator
	Administrator
)

// Identity is who asks.
type Identity struct {
	Name       string
	Role       Role
	MustChange bool // the first password has not been changed yet: nothing else is allowed
}

// Auth finds out who asks, by API token or session. err says why a credential
// that was given is not good; no credential at all is Anybody without error.
type Auth func(ctx *fasthttp.RequestCtx) (Identity, *web.Error)

// Server is GET server.
type Server struct {
	Name      string   `json:"name"`
	Node      string   `json:"node"`
	Version   string   `json:"version"`
	Started   int64    `json:"started_ms"`
	Now       int64    `json:"now_ms"`
	TimeZone  string   `json:"time_zone"`
	Epoch     uint64   `json:"epoch"`
	Streams   int      `json:"streams"`
	Active    int      `json:"active"`
	Recording int      `json:"recording"`
	Viewers   int      `json:"viewers"`
	Problems  int      `json:"problems"`
	Locks     int      `json:"locks"` // in force, of all streams
	Spaces    []Space  `json:"spaces"`
	Plugins   []Plugin `json:"plugins"`
	Pending   []string `json:"pending_restart"`
}

// Space is a storage space as server tells it.
type Space struct {
	Name  string `json:"name"`
	State string `json:"state"`
	Total int64  `json:"total_bytes"`
	Used  int64  `json:"used_bytes"`
	Free  int64  `json:"free_bytes"`
}

// Plugin is a plugin process as server tells it.
type Plugin struct {
	Name     string `json:"name"`
	Kind     string `json:"kind"`
	Version  string `json:"version"`
	State    string `json:"state"`
	Restarts int    `json:"restarts"`
	Error    string `json:"error,omitempty"`
}

// Problem is something a person should look at.
type Problem struct {
	Level string `json:"level"` // error, warning
	Where string `json:"where"` // file:line:column, stream, space, plugin
	What  string `json:"what"`
	Hint  string `json:"hint,omitempty"`
	UID   string `json:"uid,omitempty"`
	Since int64  `json:"since_ms,omitempty"`
}

// Track is a track of a stream.
type Track struct {
	ID         int    `json:"id"`
	Kind       string `json:"kind"`
	Codec      string `json:"codec"`
	Width      int    `json:"width,omitempty"`
	Height     int    `json:"height,omitempty"`
	SampleRate int    `json:"sample_rate,omitempty"`
	Channels   int    `json:"channels,omitempty"`
	InHLS      bool   `json:"in_hls"`
	LeftOut    string `json:"left_out,omitempty"` // why it is not recorded
}

// Stream is GET streams/{uid}.
type Stream struct {
	UID          string            `json:"uid"`
	Name         string            `json:"name"`
	Node         string            `json:"node"`
	Role         string            `json:"role"`
	State        string            `json:"state"`
	Since        int64             `json:"since"`
	Reason       string            `json:"reason"`
	Hint         string            `json:"hint,omitempty"`
	Settings     map[string]string `json:"settings"`
	Tracks       []Track           `json:"tracks"`
	BitrateIn    int64             `json:"bitrate_in"`
	Viewers      int               `json:"viewers"`
	LastFrame    int64             `json:"last_frame_ms"`
	Recording    bool              `json:"recording"`
	Mode         string            `json:"mode,omitempty"`          // what dvr-mode or its schedule says now: off, event, continuous
	RecordingWhy string            `json:"recording_why,omitempty"` // continuous, schedule, event
	FirstMS      int64             `json:"first_ms,omitempty"`      // oldest footage
	Bytes        int64             `json:"bytes,omitempty"`
	Device       string            `json:"device,omitempty"`
	ClockMS      *int64            `json:"camera_clock_offset_ms,omitempty"`
	Counters     map[string]uint64 `json:"counters"`
	Problems     []Problem         `json:"problems"`
	Removed      bool              `json:"removed,omitempty"` // no longer configured; its footage is kept
}

// Event is an entry of the journal.
type Event struct {
	ID      int64          `json:"id"`
	Type    string         `json:"type"`
	TimeMS  int64          `json:"time_ms"`
	Node    string         `json:"node"`
	UID     string         `json:"uid"`
	Level   string         `json:"level"`
	Message string         `json:"message"`
	Data    map[string]any `json:"data,omitempty"`
}

// EventQuery selects events, newest first.
type EventQuery struct {
	Types    []string // globs: stream.*
	UID      string
	Level    string
	Text     string
	From, To media.Wall
	Before   int64 // cursor: only smaller ids; 0 = from the newest
	Limit    int
}

// Backend is what the API asks; node implements it.
type Backend interface {
	Server() Server
	Problems() []Problem
	Streams() []Stream
	Stream(uid string) (Stream, bool)
	Events(q EventQuery) (items []Event, next int64, err error)
	// Follow delivers events with ids above after, old ones first, until stop
	// is called.
	Follow(after int64) (events <-chan Event, stop func(), err error)
	// Reload reads all settings again. The problems are those of files that
	// were refused; everything else is in force.
	Reload() []Problem
	Audit(who, address, what string)
	Accounts
	PlayTokens
	Locks
	Retention
	Marks
	Spaces
	Inspector
	Moves
	Groomings
	Backups
	KeyKeeper
	Proofs
	Exports
	Stored
}

// API answers /api/v1/….
type API struct {
	b    Backend
	auth Auth
	tl   *timeline.Timeline
	zone func() *time.Location
	done <-chan struct{}

	addresses Addresses
	fetched   downloads
}

// New makes the API. done ends event streams at shutdown.
func New(b Backend, auth Auth, tl *timeline.Timeline, zone func() *time.Location, addresses Addresses, done <-chan struct{}) *API {
	return &API{b: b, auth: auth, tl: tl, zone: zone, done: done, addresses: addresses}
}

type handler func(a *API, ctx *fasthttp.RequestCtx, who Identity, args []string) *web.Error

type route struct {
	method, pattern string
	role            Role
	fn              handler
}

// routes are all of the API, group by group.
var routes = slices.Concat(baseRoutes, addressRoutes, playTokenRoutes, lockRoutes, retentionRoutes, moveRoutes, groomRoutes, eventRoutes, spaceRoutes, inspectRoutes, backupRoutes, gapRoutes, keyRoutes, proofRoutes, exportRoutes, storedRoutes)

var baseRoutes = []route{
	{"GET", "server", Viewer, (*API).server},
	{"GET", "problems", Viewer, (*API).problems},
	{"GET", "streams", Viewer, (*API).streams},
	{"GET", "streams/{uid}", Viewer, (*API).stream},
	{"GET", "streams/{uid}/ranges", Viewer, (*API).ranges},
	{"GET", "events", Viewer, (*API).events},
	{"GET", "events/stream", Viewer, (*API).follow},
	{"POST", "reload", Operator, (*API).reload},
	{"GET", "tokens", Administrator, (*API).tokens},
	{"POST", "tokens/api", Administrator, (*API).createToken},
	{"DELETE", "tokens/{id}", Administrator, (*API).revokeToken},
	{"POST", "users/{name}/password", Administrator, (*API).setPassword},
	{"POST", "users/{name}/digest", Administrator, (*API).setPlayer},
	{"DELETE", "users/{name}/digest", Administrator, (*API).removePlayer},
}

const prefix = "/api/v1/"

// Handle answers if the path is the API's; else it returns false untouched.
func (a *API) Handle(ctx *fasthttp.RequestCtx) bool {
	path := string(ctx.Path())
	if path != "/api/v1" && !strings.HasPrefix(path, prefix) {
		return false
	}
	ctx.Response.Header.Set("Cache-Control", "no-store") // answers without a body too
	if e := a.answer(ctx, strings.Trim(strings.TrimPrefix(path, "/api/v1"), "/")); e != nil {
		if e.Status == 401 {
			ctx.Response.Header.Set("WWW-Authenticate", `Bearer realm="media-server"`)
		}
		web.Fail(ctx, e)
	}
	return true
}

func (a *API) answer(ctx *fasthttp.RequestCtx, path string) *web.Error {
	var allowed []string
	for _, r := range routes {
		args, ok := match(r.pattern, path)
		if !ok {
			continue
		}
		if method := string(ctx.Method()); method != r.method && !(method == "HEAD" && r.method == "GET") {
			allowed = append(allowed, r.method)
			continue
		}
		who, e := a.admit(ctx, r.role)
		if e != nil {
			return e
		}
		return r.fn(a, ctx, who, args)
	}
	if e := later.Refuse(string(ctx.Method()), path); e != nil {
		return e
	}
	if len(allowed) > 0 {
		ctx.Response.Header.Set("Allow", strings.Join(allowed, ", "))
		return web.E(405, "method", "this route does not take "+string(ctx.Method()), "allowed: "+strings.Join(allowed, ", "))
	}
	return web.E(404, "no_such_route", "the API has no "+strconv.Quote("/api/v1/"+path), "")
}

func (a *API) admit(ctx *fasthttp.RequestCtx, need Role) (Identity, *web.Error) {
	who, e := a.auth(ctx)
	switch {
	case e != nil:
		return who, e
	case who.Role == Anybody:
		return who, web.E(401, "login", "the API needs an API token or a login", "make a token with: media-server token api")
	case who.MustChange:
		return who, web.E(403, "change_password", "the first password has to be changed before anything else", "log in at /cpanel/")
	case who.Role < need:
		return who, web.E(403, "role", "your role may not do this", "")
	}
	return who, nil
}

// match compares a path with a pattern whose {x} elements stand for one
// non-empty element each.
func match(pattern, path string) (args []string, ok bool) {
	p, q := strings.Split(pattern, "/"), strings.Split(path, "/")
	if len(p) != len(q) {
		return nil, false
	}
	for i := range p {
		switch {
		case strings.HasPrefix(p[i], "{"):
			if q[i] == "" {
				return nil, false
			}
			args = append(args, q[i])
		case p[i] != q[i]:
			return nil, false
		}
	}
	return args, true
}

type list struct {
	Items any `json:"items"`
	Next  any `json:"next"`
}

func (a *API) server(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	web.JSON(ctx, a.b.Server())
	return nil
}

func (a *API) problems(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	return answerPage(ctx, a.b.Problems(), func(x *Problem) string { return x.Level + "\x00" + x.Where + "\x00" + x.What })
}

func (a *API) streams(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	all := a.b.Streams()
	limit, e := intArg(ctx, "limit", 1000, 1, 10000)
	if e != nil {
		return e
	}
	after := string(ctx.QueryArgs().Peek("cursor"))
	out := make([]Stream, 0, min(limit, len(all)))
	l := list{}
	for _, s := range all {
		if strings.ToLower(s.UID) <= strings.ToLower(after) && after != "" {
			continue
		}
		if len(out) == limit {
			l.Next = out[limit-1].UID
			break
		}
		out = append(out, s)
	}
	l.Items = out
	web.JSON(ctx, l)
	return nil
}

func intArg(ctx *fasthttp.RequestCtx, key string, def, lo, hi int) (int, *web.Error) {
	v := string(ctx.QueryArgs().Peek(key))
	if v == "" {
		return def, nil
	}
	n, err := strconv.Atoi(v)
	if err != nil || n < lo || n > hi {
		return 0, web.E(400, "bad_"+key, fmt.Sprintf("%s must be a number from %d to %d", key, lo, hi), "")
	}
	return n, nil
}

func (a *API) one(args []string) (Stream, *web.Error) {
	s, ok := a.b.Stream(args[0])
	if !ok {
		return s, web.E(404, "no_such_stream", fmt.Sprintf("there is no stream %q", args[0]), "the list of streams is at /api/v1/streams")
	}
	return s, nil
}

func (a *API) stream(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	s, e := a.one(args)
	if e == nil {
		web.JSON(ctx, s)
	}
	return e
}

func (a *API) window(ctx *fasthttp.RequestCtx) (media.Span, *web.Error) {
	s := media.Span{From: 0, To: 1<<63 - 1}
	for key, at := range map[string]*media.Wall{"from": &s.From, "to": &s.To} {
		v := string(ctx.QueryArgs().Peek(key))
		if v == "" {
			continue
		}
		w, err := timeline.ParseTime(v, time.Now(), a.zone())
		if err != nil {
			return s, web.E(400, "bad_time", key+": "+err.Error(), "")
		}
		*at = w
	}
	if s.Empty() {
		return s, web.E(400, "bad_range", "to is not after from", "")
	}
	return s, nil
}

// streamWindow is the stream and the window that are asked about.
func (a *API) streamWindow(ctx *fasthttp.RequestCtx, args []string) (s Stream, span media.Span, e *web.Error) {
	if s, e = a.one(args); e == nil {
		span, e = a.window(ctx)
	}
	return s, span, e
}

func unreadable(err error) *web.Error {
	return web.E(503, "storage", "the catalogue cannot be read at present: "+err.Error(), "see problems; try again")
}

func (a *API) ranges(ctx *fasthttp.RequestCtx, _ Identity, args []string) *web.Error {
	s, span, e := a.streamWindow(ctx, args)
	if e != nil {
		return e
	}
	rs, gs, err := a.tl.Ranges(s.UID, span)
	if err != nil {
		return unreadable(err)
	}
	web.JSON(ctx, playback.Ranges(rs, gs, a.tl.Locks(s.UID, span)))
	return nil
}

func (a *API) reload(ctx *fasthttp.RequestCtx, who Identity, _ []string) *web.Error {
	ps := a.b.Reload()
	a.b.Audit(who.Name, ctx.RemoteIP().String(), "reload")
	if ps == nil {
		ps = []Problem{}
	}
	web.JSON(ctx, map[string]any{"problems": ps})
	return nil
}

func (a *API) eventQuery(ctx *fasthttp.RequestCtx) (q EventQuery, e *web.Error) {
	args := ctx.QueryArgs()
	if q.Limit, e = intArg(ctx, "limit", 100, 1, 1000); e != nil {
		return q, e
	}
	span, e := a.window(ctx)
	if e != nil {
		return q, e
	}
	q.From, q.To = span.From, span.To
	if v := string(args.Peek("type")); v != "" {
		q.Types = strings.Split(v, ",")
	}
	q.UID, q.Level, q.Text = string(args.Peek("uid")), string(args.Peek("level")), string(args.Peek("text"))
	if v := string(args.Peek("cursor")); v != "" {
		n, err := strconv.ParseInt(v, 10, 64)
		if err != nil || n <= 0 {
			return q, web.E(400, "bad_cursor", "cursor is not one this server gave", "")
		}
		q.Before = n
	}
	return q, nil
}

func (a *API) events(ctx *fasthttp.RequestCtx, _ Identity, _ []string) *web.Error {
	q, e := a.eventQuery(ctx)
	if e != nil {
		return e
	}
	items, next, err := a.b.Events(q)
	if err != nil {
		return web.E(503, "journal", "the journal cannot be read at present: "+err.Error(), "")
	}
	if items == nil {
		items = []Event{}
	}
	l := list{Items: items}
	if next > 0 {
		l.Next = strconv.FormatInt(next, 10)
	}
	web.JSON(ctx, l)
	return nil
}
