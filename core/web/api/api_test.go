package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/archive"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/timeline"
	"media-server/core/web"
)

// fake is a server with three streams.
type fake struct {
	plays   []NewPlayToken
	revoked []string
	rotated []bool

	events  []Event
	query   EventQuery
	audited []string
	fail    error
	tokens  []Token
	locks   []Lock
	gaps    []GapItem
	changes RetentionChanges
	spaces  []SpaceStatus
	pools   []Pool
	set     []Setting
	proof   NewProof
	offer   string

	problems  []Problem
	held      []HeldBack
	groomings []Grooming
	moves     []Move
	marks     []Mark
	backups   []Backup
	inspected []InspectionStream
	asked     []string // streams that were inspected
	exporting exporting
}

func (f *fake) Server() Server      { return Server{Name: "harbour"} }
func (f *fake) Problems() []Problem { return f.problems }
func (f *fake) Streams() []Stream   { return []Stream{{UID: "a"}, {UID: "B"}, {UID: "c"}} }
func (f *fake) Stream(uid string) (Stream, bool) {
	for _, s := range f.Streams() {
		if s.UID == uid {
			return s, true
		}
	}
	return Stream{}, false
}
func (f *fake) Events(q EventQuery) ([]Event, int64, error) { f.query = q; return f.events, 7, f.fail }
func (f *fake) Follow(int64) (<-chan Event, func(), error) {
	return nil, func() {}, errors.New("closed")
}
func (f *fake) Reload() []Problem { return nil }
func (f *fake) CreatePlayToken(t NewPlayToken) (string, PlayToken, error) {
	f.plays = append(f.plays, t)
	return "a.b.c", PlayToken{ID: "p1", Kind: "play", UID: t.UID, Expires: 9}, nil
}
func (f *fake) PlayTokens(after string, limit int) (out []PlayToken, err error) {
	for _, id := range []string{"p1", "p2", "p3"} {
		if id > after && len(out) < limit {
			out = append(out, PlayToken{ID: id})
		}
	}
	return out, nil
}
func (f *fake) RevokeForeign(id string) error { f.revoked = append(f.revoked, id); return nil }
func (f *fake) RotateTokenSecret(revoke bool) error {
	f.rotated = append(f.rotated, revoke)
	return nil
}

func (f *fake) Audit(who, address, what string) { f.audited = append(f.audited, who+": "+what) }
func (f *fake) CreateToken(name, role string, ttl time.Duration, by string) (string, Token, error) {
	if role != "viewer" {
		return "", Token{}, fmt.Errorf("no role %q", role)
	}
	return "secret", Token{ID: "t1", Name: name, Role: role, By: by}, nil
}
func (f *fake) Tokens() []Token { return f.tokens }
func (f *fake) RevokeToken(id string) error {
	if id != "t1" {
		return errors.New("no such token")
	}
	return nil
}

func (f *fake) SetPlayer(user, password string) error {
	switch {
	case user == "sealed": // there is a fault in it as well
		return fmt.Errorf("%w: %w", ErrSealed, fault.New("keys", "shut", "open them"))
	case user == "unwritten":
		return errors.New("store the account: the disk is full")
	case len(password) < 10:
		return fault.New("password", "too short", "ten characters")
	}
	return nil
}

func (f *fake) RemovePlayer(user string) error {
	if user != "anna" {
		return errors.New("no such account")
	}
	return nil
}

func (f *fake) SetPassword(user, password string) error {
	if len(password) < 10 {
		return errors.New("the password is too short")
	}
	return nil
}

func (f *fake) Locks(string) []Lock { return f.locks }
func (f *fake) AddLock(uid string, l NewLock) (Lock, error) {
	if l.Span.Empty() {
		return Lock{}, fault.New("", "the lock has no length", "give to after from")
	}
	x := Lock{ID: "1", UID: uid, From: l.Span.From.Milli(), To: l.Span.To.Milli(), Reason: l.Reason, Who: l.Who}
	f.locks = append(f.locks, x)
	return x, nil
}
func (f *fake) RemoveLock(_, id, _ string) error {
	if id != "1" {
		return ErrNoLock
	}
	return nil
}
func (f *fake) RetentionPreview(c RetentionChanges) (*RetentionPlan, error) {
	f.changes = c
	return &RetentionPlan{}, f.fail
}
func (f *fake) RetentionOutlook() (*RetentionPlan, error) { return &RetentionPlan{}, f.fail }
func (f *fake) RetentionHeld() []HeldBack                 { return f.held }
func (f *fake) Groomings() []Grooming                     { return f.groomings }
func (f *fake) Moves() []Move                             { return f.moves }
func (f *fake) ConfirmRetention(uid string) bool          { return uid == "a" }
func (f *fake) ConfirmSpace(name string) bool             { return name == "main" }

func (f *fake) AddMark(uid string, m NewMark) (Mark, error) {
	return Mark{UID: uid, Kind: m.Kind, At: m.At.Milli()}, f.fail
}
func (f *fake) MarksOf(string, media.Span) ([]Mark, error) { return f.marks, f.fail }

func (f *fake) SpaceStatuses() []SpaceStatus { return f.spaces }
func (f *fake) StoredFiles(string, string, string, int) ([]StoredFile, bool, error) {
	return nil, false, f.fail
}
func (f *fake) ReadStored(string, string, int64, []byte) (int, error) { return 0, f.fail }
func (f *fake) Pools() ([]Pool, error)                                { return f.pools, f.fail }
func (f *fake) AddSpace(name string, keys []Setting) error {
	for _, k := range keys {
		if k.Key == "pth" {
			return &RefusedSettings{[]Problem{{Where: "conf.d/spaces.ini:3:1", What: "unknown key", Hint: "did you mean path?"}}}
		}
	}
	f.set, f.spaces = keys, append(f.spaces, SpaceStatus{Name: name, State: "normal"})
	return nil
}
func (f *fake) ChangeSpace(name string, keys []Setting) error {
	f.set = keys
	if name != "main" {
		return ErrNoSpace
	}
	return nil
}
func (f *fake) RemoveSpace(name string) error {
	switch name {
	case "empty":
		return nil
	case "main":
		return fault.New("space main", "there is footage in it", "let it age")
	}
	return ErrNoSpace
}
func (f *fake) AddPool(name string, keys []Setting) error {
	f.set, f.pools = keys, append(f.pools, Pool{Name: name})
	return nil
}
func (f *fake) ChangePool(string, []Setting) error { return ErrNoPool }
func (f *fake) RemovePool(name string) error {
	if name == "used" {
		return fault.New("pool used", "streams are recorded in it: a", "give them another dvr-pool first")
	}
	return ErrNoPool
}
func (f *fake) InitializeSpace(name, confirm string, locked bool) (*SpaceContents, error) {
	c := SpaceContents{Files: 2, Bytes: 10, From: 1, To: 2, Confirm: "yes", Streams: []SpaceStream{{UID: "a", Files: 2, Bytes: 10}}}
	switch {
	case name != "main":
		return nil, ErrNoSpace
	case confirm != "yes":
		return nil, &Unconfirmed{What: "it would delete 2 files", Hint: "send confirm", Contents: c}
	}
	return &c, nil
}
func (f *fake) RestoreSpace(name string) error {
	switch name {
	case "lost":
		return nil
	case "main":
		return fault.New("space main", "the space is not lost", "")
	}
	return ErrNoSpace
}

func (f *fake) Inspected() (out []string, err error) {
	for _, s := range f.inspected {
		out = append(out, s.UID)
	}
	return out, f.fail
}
func (f *fake) Inspect(t time.Time, month bool, uids []string) (*Inspection, error) {
	f.asked = append(f.asked, uids...)
	in := &Inspection{From: t.UnixMilli(), Streams: []InspectionStream{}}
	for _, uid := range uids {
		in.Streams = append(in.Streams, InspectionStream{UID: uid})
	}
	return in, f.fail
}
func (f *fake) Why(uid string, at media.Wall) (*Reason, error) {
	return &Reason{At: at.Milli(), Events: []Event{}}, f.fail
}
func (f *fake) OpenGaps(media.Span) ([]GapItem, error) { return f.gaps, f.fail }

func (f *fake) Backups() ([]Backup, error) { return f.backups, f.fail }
func (f *fake) DismissBackup() (was string, err error) {
	was, f.offer = f.offer, ""
	return was, f.fail
}
func (f *fake) MakeBackup() (Backup, error) { return Backup{Name: "b"}, f.fail }
func (f *fake) StageRestore(name string) (StagedRestore, error) {
	switch name {
	case "b":
		return StagedRestore{Name: name}, nil
	case "damaged":
		return StagedRestore{}, fault.New(name, "the backup cannot be restored", "take an older one")
	}
	return StagedRestore{}, fs.ErrNotExist
}

type empty struct{}

func (empty) Segments(string, media.Span) ([]archive.Segment, error) { return nil, nil }
func (empty) Bounds(string) (media.Span, bool)                       { return media.Span{}, false }
func (empty) Newest(string) (media.Wall, bool)                       { return 0, false }
func (empty) Tracks(archive.InitID) ([]media.Track, error)           { return nil, archive.ErrGone }
func (empty) Layout(archive.FileID) (*archive.Layout, error)         { return nil, archive.ErrGone }
func (empty) Watch(string) (<-chan struct{}, func())                 { return nil, func() {} }
func (empty) Stamp(string) archive.Stamp                             { return archive.Stamp{} }
func (empty) Pin(archive.FileID) (*archive.Pin, error)               { return nil, archive.ErrGone }
func (empty) Extents(string, media.Span) ([]archive.Extent, error)   { return nil, nil }
func (empty) Locks(string, media.Span) []archive.Lock                { return nil }
func (empty) Readable([]archive.FileID) error                        { return nil }
func (empty) Unreadable(string, media.Span) error                    { return nil }
func (empty) Ranges(_ string, s media.Span) ([]archive.Range, []archive.Gap, error) {
	if s.From > 0 {
		return nil, nil, errors.New("the catalogue is away")
	}
	return nil, nil, nil
}

// newAPI makes one whose header "Who" says who asks.
func newAPI(f *fake) *API {
	auth := func(ctx *fasthttp.RequestCtx) (Identity, *web.Error) {
		switch who := string(ctx.Request.Header.Peek("Who")); who {
		case "viewer":
			return Identity{Name: who, Role: Viewer}, nil
		case "operator":
			return Identity{Name: who, Role: Operator}, nil
		case "admin":
			return Identity{Name: who, Role: Administrator}, nil
		case "new":
			return Identity{Name: who, Role: Administrator, MustChange: true}, nil
		case "bad":
			return Identity{}, web.E(401, "bad_token", "the token is not valid", "")
		}
		return Identity{}, nil
	}
	return New(f, auth, timeline.New(empty{}, func(string) timeline.Ring { return nil }), func() *time.Location { return time.UTC }, places{}, nil)
}

func do(a *API, who, method, uri, body string) (*fasthttp.RequestCtx, bool) {
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(uri)
	req.Header.SetHost("server.example")
	req.Header.Set("Who", who)
	req.SetBodyString(body)
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, nil)
	ok := a.Handle(&ctx)
	return &ctx, ok
}

func shape(t *testing.T, ctx *fasthttp.RequestCtx, code string) {
	t.Helper()
	var e struct {
		Error struct{ Code, Message, ID string }
	}
	if err := json.Unmarshal(ctx.Response.Body(), &e); err != nil || e.Error.Code == "" || e.Error.Message == "" || e.Error.ID == "" ||
		string(ctx.Response.Header.ContentType()) != "application/json" {
		t.Fatalf("not the shape of a failure: %d %s", ctx.Response.StatusCode(), ctx.Response.Body())
	}
	if code != "" && e.Error.Code != code {
		t.Errorf("code %s, want %s", e.Error.Code, code)
	}
}

func TestAnswers(t *testing.T) {
	for _, c := range []struct {
		name, who, method, path, body string
		status                        int
		code                          string
	}{
		{"server", "viewer", "GET", "server", "", 200, ""},
		{"HEAD", "viewer", "HEAD", "server", "", 200, ""},
		{"slash at the end", "viewer", "GET", "server/", "", 200, ""},
		{"nobody", "", "GET", "server", "", 401, "login"},
		{"bad token", "bad", "GET", "server", "", 401, "bad_token"},
		{"first password", "new", "GET", "server", "", 403, "change_password"},
		{"problems", "viewer", "GET", "problems", "", 200, ""},
		{"streams", "viewer", "GET", "streams", "", 200, ""},
		{"one stream", "viewer", "GET", "streams/a", "", 200, ""},
		{"no such stream", "viewer", "GET", "streams/zz", "", 404, "no_such_stream"},
		{"no name", "viewer", "GET", "streams//ranges", "", 404, "no_such_stream"},
		{"limit 0", "viewer", "GET", "streams?limit=0", "", 400, "bad_limit"},
		{"limit rubbish", "viewer", "GET", "streams?limit=x", "", 400, "bad_limit"},
		{"limit huge", "viewer", "GET", "streams?limit=99999999999999999999", "", 400, "bad_limit"},
		{"ranges", "viewer", "GET", "streams/a/ranges", "", 200, ""},
		{"ranges, rubbish from", "viewer", "GET", "streams/a/ranges?from=x", "", 400, "bad_time"},
		{"ranges, backwards", "viewer", "GET", "streams/a/ranges?from=200&to=100", "", 400, "bad_range"},
		{"ranges, storage away", "viewer", "GET", "streams/a/ranges?from=200", "", 503, "storage"},
		{"gaps of none", "viewer", "GET", "streams/zz/gaps", "", 404, "no_such_stream"},
		{"gaps", "viewer", "GET", "streams/a/gaps", "", 200, ""},
		{"urls", "viewer", "GET", "streams/a/urls", "", 200, ""},
		{"urls for another", "viewer", "GET", "streams/a/urls?client=2001:db8::1", "", 200, ""},
		{"urls for nobody", "viewer", "GET", "streams/a/urls?client=me", "", 400, "bad_client"},
		{"urls of none", "viewer", "GET", "streams/zz/urls", "", 404, "no_such_stream"},
		{"urls, anybody", "", "GET", "streams/a/urls", "", 401, "login"},
		{"address map", "operator", "GET", "address-map", "", 200, ""},
		{"address map, viewer", "viewer", "GET", "address-map", "", 403, "role"},
		{"address map as CSV, viewer", "viewer", "GET", "address-map.csv", "", 403, "role"},
		{"address map is read", "operator", "POST", "address-map", "{}", 405, "method"},
		{"events", "viewer", "GET", "events", "", 200, ""},
		{"events, bad cursor", "viewer", "GET", "events?cursor=-1", "", 400, "bad_cursor"},
		{"events, bad limit", "viewer", "GET", "events?limit=1001", "", 400, "bad_limit"},
		{"events, bad time", "viewer", "GET", "events?from=dawn", "", 400, "bad_time"},
		{"follow, bad id", "viewer", "GET", "events/stream?last_event_id=x", "", 400, "bad_event_id"},
		{"follow, journal away", "viewer", "GET", "events/stream", "", 503, "journal"},
		{"reload by a viewer", "viewer", "POST", "reload", "", 403, "role"},
		{"reload", "operator", "POST", "reload", "", 200, ""},
		{"reload by GET", "operator", "GET", "reload", "", 405, "method"},
		{"delete the server", "admin", "DELETE", "server", "", 405, "method"},
		{"tokens by an operator", "operator", "GET", "tokens", "", 403, "role"},
		{"tokens", "admin", "GET", "tokens", "", 200, ""},
		{"new token", "admin", "POST", "tokens/api", `{"name":"x","role":"viewer","ttl":"1h"}`, 200, ""},
		{"new token, rubbish", "admin", "POST", "tokens/api", `{`, 400, "bad_body"},
		{"new token, bad ttl", "admin", "POST", "tokens/api", `{"role":"viewer","ttl":"soon"}`, 400, "bad_ttl"},
		{"new token, bad role", "admin", "POST", "tokens/api", `{"role":"god"}`, 400, "token"},
		{"locks", "viewer", "GET", "streams/a/locks", "", 200, ""},
		{"locks of none", "viewer", "GET", "streams/zz/locks", "", 404, "no_such_stream"},
		{"a lock by a viewer", "viewer", "POST", "streams/a/locks", `{"from":1,"to":2,"reason":"x"}`, 403, "role"},
		{"a lock", "operator", "POST", "streams/a/locks", `{"from":"2026-03-01T08:00:00Z","to":1772352600000,"reason":"theft","until":"2030-01-01T00:00:00Z"}`, 201, ""},
		{"a lock without a reason", "operator", "POST", "streams/a/locks", `{"from":1000,"to":2000}`, 400, "no_reason"},
		{"a lock, rubbish time", "operator", "POST", "streams/a/locks", `{"from":"dawn","to":2000,"reason":"x"}`, 400, "bad_time"},
		{"a lock, time of a wrong type", "operator", "POST", "streams/a/locks", `{"from":[1],"to":2000,"reason":"x"}`, 400, "bad_body"},
		{"a lock, unknown field", "operator", "POST", "streams/a/locks", `{"from":1000,"to":2000,"why":"x"}`, 400, "bad_body"},
		{"a lock, backwards", "operator", "POST", "streams/a/locks", `{"from":2000,"to":1000,"reason":"x"}`, 409, "lock"},
		{"unlock", "operator", "DELETE", "streams/a/locks/1", "", 204, ""},
		{"unlock none", "operator", "DELETE", "streams/a/locks/7", "", 404, "no_such_lock"},
		{"groomings", "viewer", "GET", "groomings", "", 200, ""},
		{"moves", "viewer", "GET", "moves", "", 200, ""},
		{"an event", "operator", "POST", "streams/a/event", `{"kind":"motion","data":{"zone":3}}`, 201, ""},
		{"an event of a minute ago", "operator", "POST", "streams/a/event", `{"kind":"motion","at":"-1m"}`, 201, ""},
		{"an event of tomorrow", "operator", "POST", "streams/a/event", `{"kind":"motion","at":"2100-01-01T00:00:00Z"}`, 400, "bad_time"},
		{"an event without a kind", "operator", "POST", "streams/a/event", `{}`, 400, "bad_kind"},
		{"an event of a strange kind", "operator", "POST", "streams/a/event", `{"kind":"<script>"}`, 400, "bad_kind"},
		{"an event by a viewer", "viewer", "POST", "streams/a/event", `{"kind":"motion"}`, 403, "role"},
		{"events of a stream", "viewer", "GET", "streams/a/events", "", 200, ""},
		{"spaces", "viewer", "GET", "spaces", "", 200, ""},
		{"pools", "viewer", "GET", "pools", "", 200, ""},
		{"take a lost space", "admin", "POST", "spaces/lost/restore", "", 202, ""},
		{"take a space that is there", "admin", "POST", "spaces/main/restore", "", 409, "space"},
		{"initialise a space", "admin", "POST", "spaces/main/initialize", "", 409, "confirm"},
		{"initialise a space with the wrong word", "admin", "POST", "spaces/main/initialize", `{"confirm":"no"}`, 409, "confirm"},
		{"initialise a space confirmed", "admin", "POST", "spaces/main/initialize", `{"confirm":"yes"}`, 202, ""},
		{"initialise a space with rubbish", "admin", "POST", "spaces/main/initialize", `{"sure":true}`, 400, "bad_body"},
		{"initialise a space as an operator", "operator", "POST", "spaces/main/initialize", `{"confirm":"yes"}`, 403, "role"},
		{"a new space", "admin", "POST", "spaces", `{"name":"b","path":"/srv/b","size-limit":1000}`, 201, ""},
		{"a new space with a key that is none", "admin", "POST", "spaces", `{"name":"b","pth":"/srv/b"}`, 400, "settings"},
		{"a new space without a name", "admin", "POST", "spaces", `{"path":"/srv/b"}`, 400, "bad_body"},
		{"a new space twice named", "admin", "POST", "spaces", `{"name":"b","path":"/a","path":"/b"}`, 400, "bad_body"},
		{"a new space of an object", "admin", "POST", "spaces", `{"name":"b","path":{}}`, 400, "bad_body"},
		{"a new space that is no object", "admin", "POST", "spaces", `["b"]`, 400, "bad_body"},
		{"a new space as an operator", "operator", "POST", "spaces", `{"name":"b","path":"/srv/b"}`, 403, "role"},
		{"a space changed that is none", "admin", "PATCH", "spaces/none", `{"size-limit":"1G"}`, 404, "no_such_space"},
		{"a space taken away", "admin", "DELETE", "spaces/empty", "", 204, ""},
		{"a space taken away with footage", "admin", "DELETE", "spaces/main", "", 409, "space"},
		{"a space taken away that is none", "admin", "DELETE", "spaces/none", "", 404, "no_such_space"},
		{"a new pool", "admin", "POST", "pools", `{"name":"p","spaces":["a","b"],"overwrite":false}`, 201, ""},
		{"a pool changed that is none", "admin", "PATCH", "pools/none", `{}`, 404, "no_such_pool"},
		{"a pool taken away in use", "admin", "DELETE", "pools/used", "", 409, "space"},
		{"a pool taken away that is none", "admin", "DELETE", "pools/none", "", 404, "no_such_pool"},
		{"a space that is none", "viewer", "GET", "spaces/none", "", 404, "no_such_space"},
		{"a pool that is none", "viewer", "GET", "pools/none", "", 404, "no_such_pool"},
		{"take a space that is none", "admin", "POST", "spaces/none/restore", "", 404, "no_such_space"},
		{"take a space as an operator", "operator", "POST", "spaces/lost/restore", "", 403, "role"},
		{"inspection of today", "viewer", "GET", "inspection", "", 200, ""},
		{"inspection of a day", "viewer", "GET", "inspection?day=2026-03-01", "", 200, ""},
		{"inspection of a month", "viewer", "GET", "inspection?month=2026-03&uid=a", "", 200, ""},
		{"inspection of no day", "viewer", "GET", "inspection?day=2026-02-30", "", 400, "bad_day"},
		{"inspection of both", "viewer", "GET", "inspection?day=2026-03-01&month=2026-03", "", 400, "bad_day"},
		{"inspection of no stream", "viewer", "GET", "inspection?uid=zz", "", 404, "no_such_stream"},
		{"why", "viewer", "GET", "streams/a/why?at=2026-03-01T03:12:00Z", "", 200, ""},
		{"why, never", "viewer", "GET", "streams/a/why", "", 400, "bad_time"},
		{"why, rubbish", "viewer", "GET", "streams/a/why?at=dawn", "", 400, "bad_time"},
		{"why of none", "viewer", "GET", "streams/zz/why?at=0", "", 404, "no_such_stream"},
		{"open gaps", "viewer", "GET", "backfill", "", 200, ""},
		{"open gaps, bad cursor", "viewer", "GET", "backfill?cursor=x", "", 400, "bad_cursor"},
		{"fetch", "admin", "POST", "backfill", "", 501, "not_in_this_version"},
		{"fetch as nobody would", "admin", "PUT", "backfill", "", 405, "method"},
		{"gaps, bad cursor", "viewer", "GET", "streams/a/gaps?cursor=x", "", 400, "bad_cursor"},
		{"gaps, bad limit", "viewer", "GET", "streams/a/gaps?limit=0", "", 400, "bad_limit"},
		{"gaps, storage away", "viewer", "GET", "streams/a/gaps?from=200", "", 503, "storage"},
		{"backups", "admin", "GET", "backups", "", 200, ""},
		{"backups as an operator", "operator", "GET", "backups", "", 403, "role"},
		{"a backup", "admin", "POST", "backups", "", 201, ""},
		{"a restore", "admin", "POST", "restore", `{"file":"b","confirm":"b"}`, 202, ""},
		{"a restore unconfirmed", "admin", "POST", "restore", `{"file":"b"}`, 409, "confirm"},
		{"a restore of nothing", "admin", "POST", "restore", `{}`, 409, "confirm"},
		{"a restore of none", "admin", "POST", "restore", `{"file":"x","confirm":"x"}`, 404, "no_such_backup"},
		{"no offer dismissed", "admin", "POST", "restore", `{"dismiss":true}`, 404, "nothing_offered"},
		{"an offer dismissed by an operator", "operator", "POST", "restore", `{"dismiss":true}`, 403, "role"},
		{"an offer dismissed and restored", "admin", "POST", "restore", `{"dismiss":true,"file":"b","confirm":"b"}`, 400, "bad_body"},
		{"a restore of rubbish", "admin", "POST", "restore", `{"file":"damaged","confirm":"damaged"}`, 409, "backup"},
		{"retention", "viewer", "GET", "retention", "", 200, ""},
		{"preview", "operator", "POST", "retention/preview", "", 200, ""},
		{"preview of changes", "operator", "POST", "retention/preview", `{"streams":{"a":{"dvr-duration":"5d"}},"pools":{"default":{"days":"3d"}}}`, 200, ""},
		{"preview, unknown field", "operator", "POST", "retention/preview", `{"stream":{}}`, 400, "bad_body"},
		{"preview by a viewer", "viewer", "POST", "retention/preview", "", 403, "role"},
		{"held", "viewer", "GET", "retention/held", "", 200, ""},
		{"confirm", "admin", "POST", "retention/confirm", `{"uid":"a"}`, 204, ""},
		{"confirm a space", "admin", "POST", "retention/confirm", `{"space":"main"}`, 204, ""},
		{"confirm a space where nothing waits", "admin", "POST", "retention/confirm", `{"space":"b"}`, 404, "nothing_held"},
		{"confirm both", "admin", "POST", "retention/confirm", `{"uid":"a","space":"main"}`, 400, "both"},
		{"confirm nothing", "admin", "POST", "retention/confirm", `{"uid":"b"}`, 404, "nothing_held"},
		{"confirm by an operator", "operator", "POST", "retention/confirm", `{"uid":"a"}`, 403, "role"},
		{"later", "admin", "GET", "cluster/nodes", "", 501, "not_in_this_version"},
		{"later for a stream", "admin", "POST", "streams/a/restart", "", 501, "not_in_this_version"},
		{"unknown", "admin", "GET", "nonsense", "", 404, "no_such_route"},
		{"root", "admin", "GET", "", "", 404, "no_such_route"},
		{"unknown, not UTF-8", "admin", "GET", "%ff%fe", "", 404, "no_such_route"},
	} {
		t.Run(c.name, func(t *testing.T) {
			ctx, ok := do(newAPI(&fake{}), c.who, c.method, "/api/v1/"+c.path, c.body)
			got := ctx.Response.StatusCode()
			if want := c.status; !ok || got != want && !(want == 200 && got/100 == 2) {
				t.Fatalf("%v %d %s", ok, got, ctx.Response.Body())
			}
			switch {
			case got >= 400:
				shape(t, ctx, c.code)
			case got != 204 && !json.Valid(ctx.Response.Body()) && c.method != "HEAD":
				t.Errorf("not JSON: %s", ctx.Response.Body())
			}
			if got == 401 && len(ctx.Response.Header.Peek("WWW-Authenticate")) == 0 {
				t.Error("401 without WWW-Authenticate")
			}
			if got == 405 && len(ctx.Response.Header.Peek("Allow")) == 0 {
				t.Error("405 without Allow")
			}
			if string(ctx.Response.Header.Peek("Cache-Control")) != "no-store" {
				t.Error("an answer may be cached")
			}
		})
	}
}

func TestNotOurs(t *testing.T) {
	for _, path := range []string{"/", "/api", "/api/v2/server", "/api/v1x", "/live/a/"} {
		if _, ok := do(newAPI(&fake{}), "admin", "GET", path, ""); ok {
			t.Errorf("%s was answered", path)
		}
	}
}

// TestPages walks a list by its cursor: every item once, then null.
func TestPages(t *testing.T) {
	a, cursor := newAPI(&fake{}), ""
	var seen []string
	for range 5 {
		ctx, _ := do(a, "viewer", "GET", "/api/v1/streams?limit=1&cursor="+cursor, "")
		var l struct {
			Items []Stream
			Next  *string
		}
		if err := json.Unmarshal(ctx.Response.Body(), &l); err != nil {
			t.Fatal(err)
		}
		for _, s := range l.Items {
			seen = append(seen, s.UID)
		}
		if l.Next == nil {
			break
		}
		cursor = *l.Next
	}
	if got := strings.Join(seen, ""); got != "aBc" {
		t.Errorf("%q", got)
	}
}

func TestListsAreNeverNull(t *testing.T) {
	for _, path := range []string{"problems", "streams", "events", "tokens", "streams/a/gaps", "streams/a/locks", "streams/a/events", "retention/held", "spaces", "pools", "moves", "groomings", "backups", "inspection"} {
		ctx, _ := do(newAPI(&fake{}), "admin", "GET", "/api/v1/"+path, "")
		var l map[string]json.RawMessage
		if err := json.Unmarshal(ctx.Response.Body(), &l); err != nil || !strings.HasPrefix(string(l["items"]), "[") || l["next"] == nil {
			t.Errorf("%s: %s", path, ctx.Response.Body())
		}
	}
}

func TestEventQuery(t *testing.T) {
	f := &fake{}
	ctx, _ := do(newAPI(f), "viewer", "GET", "/api/v1/events?type=stream.*,auth.*&uid=a&level=error&text=x&from=100&to=200&limit=5&cursor=9", "")
	q := f.query
	if ctx.Response.StatusCode() != 200 || strings.Join(q.Types, " ") != "stream.* auth.*" || q.UID != "a" || q.Level != "error" || q.Text != "x" ||
		q.From.Milli() != 100e3 || q.To.Milli() != 200e3 || q.Limit != 5 || q.Before != 9 {
		t.Errorf("%d %+v", ctx.Response.StatusCode(), q)
	}
	if !strings.Contains(string(ctx.Response.Body()), `"next":"7"`) {
		t.Errorf("%s", ctx.Response.Body())
	}
}

// TestPlayerFault: what is no refusal of a name or password is not the client's fault.
func TestPlayerFault(t *testing.T) {
	a := newAPI(&fake{})
	for _, c := range []struct {
		user, password string
		status         int
		code           string
	}{{"anna", "long enough 1", 204, ""}, {"anna", "short", 400, "password"}, {"sealed", "long enough 1", 503, "keys"}, {"unwritten", "long enough 1", 503, "accounts"}} {
		ctx, _ := do(a, "admin", "POST", "/api/v1/users/"+c.user+"/digest", fmt.Sprintf(`{"password":%q}`, c.password))
		if b := string(ctx.Response.Body()); ctx.Response.StatusCode() != c.status || !strings.Contains(b, c.code) {
			t.Errorf("%s: %d %s", c.user, ctx.Response.StatusCode(), b)
		}
	}
}

func TestChangesAreAudited(t *testing.T) {
	f := &fake{offer: "b"}
	a := newAPI(f)
	do(a, "operator", "POST", "/api/v1/reload", "")
	do(a, "admin", "POST", "/api/v1/tokens/api", `{"name":"x","role":"viewer"}`)
	do(a, "admin", "DELETE", "/api/v1/tokens/t1", "")
	do(a, "admin", "POST", "/api/v1/users/anna/password", `{"password":"long enough 1"}`)
	do(a, "operator", "POST", "/api/v1/streams/a/locks", `{"from":1000,"to":2000,"reason":"x"}`)
	do(a, "operator", "DELETE", "/api/v1/streams/a/locks/1", "")
	do(a, "admin", "POST", "/api/v1/retention/confirm", `{"uid":"a"}`)
	do(a, "admin", "POST", "/api/v1/restore", `{"dismiss":true}`)
	if ctx, _ := do(a, "admin", "POST", "/api/v1/restore", `{"dismiss":true}`); ctx.Response.StatusCode() != 404 {
		t.Errorf("nothing is offered any more: %d", ctx.Response.StatusCode())
	}
	if len(f.audited) != 8 {
		t.Errorf("%q", f.audited)
	}
	for _, s := range f.audited {
		if strings.Contains(s, "secret") || strings.Contains(s, "long enough") {
			t.Errorf("a secret was written down: %s", s)
		}
	}
}

// FuzzAPI: whatever is asked, an answer has a real status and failures have
// their shape.
func FuzzAPI(f *testing.F) {
	a := newAPI(&fake{})
	for _, s := range []string{"server", "streams/a/ranges?from=-1h&to=now", "streams?limit=1&cursor=a", "events?type=a,b&cursor=1", "events/stream?last_event_id=1",
		"tokens/api", "tokens/t1", "users/x/password", "streams/%2e%2e/urls", "//", "streams/a/ranges?from=1e309"} {
		for _, m := range []string{"GET", "POST", "DELETE", "PUT"} {
			f.Add(m, s, `{"name":"x","role":"viewer","ttl":"1h","password":"0123456789"}`)
		}
	}
	f.Fuzz(func(t *testing.T, method, path, body string) {
		if strings.ContainsAny(method, " \r\n\t") || method == "" {
			return
		}
		ctx, ok := do(a, "admin", method, "/api/v1/"+path, body)
		if ok && ctx.Response.StatusCode() >= 400 {
			shape(t, ctx, "")
		}
	})
}
