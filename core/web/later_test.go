package web

import (
	"encoding/json"
	"io"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"github.com/valyala/fasthttp"
)

func TestNames(t *testing.T) {
	l := Later{Root: "/r/", Names: []Name{
		{"POST", "a", ""}, {"PUT PATCH", "a/{x}", ""}, {"", "b/...", ""}, {"", "c/{x}/d/...", ""}, {"", "e-{x}-{y}.mp4", ""},
	}}
	for request, want := range map[string]string{
		"POST a":           "POST /r/a is not in this version",
		"GET a":            "",
		"PATCH a/1":        "PATCH /r/a/{x} is not in this version",
		"POST a/1":         "",
		"PUT a/1/2":        "",
		"BREW b":           "/r/b is not in this version",
		"GET b/1/2/3":      "/r/b is not in this version",
		"GET bb":           "",
		"GET bb/1":         "",
		"GET c/1/d":        "/r/c/{x}/d is not in this version",
		"GET c/1/d/2":      "/r/c/{x}/d is not in this version",
		"GET c/1":          "",
		"GET c/d":          "",
		"GET e-1-2.mp4":    "/r/e-{x}-{y}.mp4 is not in this version",
		"GET e-1.mp4":      "",
		"GET e-1/-2.mp4":   "",
		"GET ":             "",
		"GET [":            "",
		"GET b/" + "\xff/": "/r/b is not in this version",
	} {
		method, path, _ := strings.Cut(request, " ")
		got := ""
		if e := l.Refuse(method, path); e != nil {
			got = e.Message
		}
		if got != want {
			t.Errorf("%q: %q, want %q", request, got, want)
		}
	}
}

// TestForeign walks the addresses of other servers' interfaces.
func TestForeign(t *testing.T) {
	for _, c := range []struct{ method, path string }{
		{"GET", "/api/streams"},
		{"GET", "/api/streams/"},
		{"GET", "/api/streams/gate/ranges/"},
		{"POST", "/api/auth/token/access/"},
		{"PUT", "/pictures/v1/default/a.jpg"},
		{"GET", "/pictures/v1/default/a.jpg"},
		{"GET", "/pictures/v1/"},
	} {
		ctx := ask(c.method, c.path)
		if !Foreign.Handle(ctx) {
			t.Errorf("%s %s is unknown", c.method, c.path)
			continue
		}
		var f struct {
			Error struct{ Code, Message, Hint string }
		}
		if err := json.Unmarshal(ctx.Response.Body(), &f); err != nil || ctx.Response.StatusCode() != 501 || f.Error.Code != "not_in_this_version" || f.Error.Hint == "" {
			t.Errorf("%s %s: %d %s", c.method, c.path, ctx.Response.StatusCode(), ctx.Response.Body())
		}
	}
	for _, path := range []string{"/", "/favicon.ico", "/gate", "/gate/", "/gate/playlist.m3u8", "/a/gate/index.m3u8", "/index.m3u8", "/v1/nvr", "/pictures/v2/a/b"} {
		if ctx := ask("GET", path); Foreign.Handle(ctx) {
			t.Errorf("%s was answered: %s", path, ctx.Response.Body())
		}
	}
}

func ask(method, uri string) *fasthttp.RequestCtx {
	var req fasthttp.Request
	req.Header.SetMethod(method)
	req.SetRequestURI(uri)
	var ctx fasthttp.RequestCtx
	ctx.Init(&req, &net.TCPAddr{IP: net.IPv4(192, 0, 2, 7), Port: 1}, nil)
	return &ctx
}

// TestRefusalsAreNotLogged: a name that is refused is no failure of the server.
func TestRefusalsAreNotLogged(t *testing.T) {
	log := make(lines, 8)
	base := serve(t, Options{Log: slog.New(slog.NewTextHandler(log, nil))}, func(ctx *fasthttp.RequestCtx) {
		switch string(ctx.Path()) {
		case "/later":
			Fail(ctx, NotYet("later", ""))
		case "/broken":
			Fail(ctx, E(503, "storage", "the disk is away", ""))
		}
		ctx.SetConnectionClose()
	})
	for _, path := range []string{"/later", "/broken"} {
		resp, err := http.Get(base + path)
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, resp.Body)
		resp.Body.Close()
	}
	var all string
	for len(log) > 0 { // what is logged is so before the answer is sent
		all += <-log
	}
	if strings.Contains(all, "/later") || !strings.Contains(all, "/broken") {
		t.Errorf("the log: %s", all)
	}
}

type lines chan string

func (l lines) Write(p []byte) (int, error) {
	l <- string(p)
	return len(p), nil
}
