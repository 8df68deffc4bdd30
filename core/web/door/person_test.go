package door

import (
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/valyala/fasthttp"

	"media-server/core/access"
	"media-server/core/web"
	"media-server/core/web/api"
)

// asks answers with the name of who asks.
type asks struct{ d *Door }

func (a asks) Handle(ctx *fasthttp.RequestCtx) bool {
	who, e := a.d.Identify(ctx)
	if e == nil && who.Role == api.Administrator {
		ctx.WriteString(who.Name)
	}
	return true
}

// TestControlSocketNames: over the control socket it is the user of the machine
// who asks, not the socket.
func TestControlSocketNames(t *testing.T) {
	dir, err := os.MkdirTemp("", "") // the path of a socket is short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "c.sock")
	s := web.New(web.Options{Control: path})
	s.Use(asks{newDoor(access.Private)})
	if err := s.Listen(); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	end := make(chan error, 1)
	go func() { end <- s.Run(ctx, time.Second) }()
	cl := http.Client{Transport: &http.Transport{DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", path)
	}, DisableKeepAlives: true}}
	resp, err := cl.Get("http://control/")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	got, _ := io.ReadAll(resp.Body)
	if me := userName(uint32(os.Getuid())); !strings.HasSuffix(string(got), me+", control socket") {
		t.Errorf("it is %q who asks, not %q", got, me)
	}
	cancel()
	if err := <-end; err != nil {
		t.Error(err)
	}
}

func TestPerson(t *testing.T) {
	names := map[uint32]string{0: "root", 900: "media", 1000: "anna", 1001: strings.Repeat("n", 60)}
	name := func(uid uint32) string {
		if s := names[uid]; s != "" {
			return s
		}
		return userNumber(uid)
	}
	for _, c := range []struct {
		peer web.ControlUser
		want string
	}{
		{web.ControlUser{UID: 1000, Login: 1000}, "anna, control socket"},
		{web.ControlUser{UID: 0, Login: 1000}, "anna as root, control socket"},
		{web.ControlUser{UID: 900, Login: 1000}, "anna as media, control socket"},
		{web.ControlUser{UID: 0, Login: 0}, "root, control socket"},
		{web.ControlUser{UID: 0, Login: 4000}, "user 4000 as root, control socket"},
		{web.ControlUser{UID: 0, Login: 1001}, "user 1001 as user 0, control socket"},
	} {
		if got := personBy(c.peer, name); got != c.want || len(got) > mostPerson {
			t.Errorf("%+v: %q, want %q", c.peer, got, c.want)
		}
	}
	if got := userName(0); got != "root" {
		t.Errorf("user 0 is %q", got)
	}
	if got := userName(1<<32 - 7); got != "user 4294967289" {
		t.Errorf("a user without a name is %q", got)
	}
}

// TestNamesAreKept: a user is looked up once, and again later: names change, and
// one that could not be found may be there soon.
func TestNamesAreKept(t *testing.T) {
	asked, at, is := 0, time.Unix(1e9, 0), "anna"
	n := &names{now: func() time.Time { return at }, ask: func(uid uint32) string {
		if asked++; uid == 7 {
			return userNumber(uid)
		}
		return is
	}}
	for _, c := range []struct {
		uid   uint32
		after time.Duration
		want  string
		asked int
	}{
		{1000, 0, "anna", 1},
		{1000, time.Minute, "anna", 1},
		{7, 0, "user 7", 2},
		{7, time.Second, "user 7", 2},
		{7, noNameFor, "user 7", 3},
		{1000, 0, "anna", 3},
		{1000, nameFor, "bea", 4},
	} {
		if at = at.Add(c.after); c.want == "bea" {
			is = "bea"
		}
		if got := n.name(c.uid); got != c.want || asked != c.asked {
			t.Errorf("user %d: %q, asked %d times, want %q and %d", c.uid, got, asked, c.want, c.asked)
		}
	}
	for uid := range uint32(3 * mostNames) {
		n.name(uid)
	}
	if len(n.m) > mostNames {
		t.Errorf("%d names are kept", len(n.m))
	}
	person(web.ControlUser{UID: 0, Login: 0})
	if userNames.m[0].name != "root" {
		t.Errorf("what a request asked for is not kept: %+v", userNames.m)
	}
}
