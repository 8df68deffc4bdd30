package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"media-server/core/archive"
)

// TestServerFiles: the running server's pages are one list, a file that is gone
// is told from one that cannot be read, and a server that was stopped ends it.
func TestServerFiles(t *testing.T) {
	dir, err := os.MkdirTemp("", "m") // short: a socket lies in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{"gate/a.mp4", "gate/b.mp4", "yard/c.mp4"}
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		switch {
		case r.URL.Path == "/api/v1/spaces/a%20b/files" || r.URL.Path == "/api/v1/spaces/a b/files":
			for i, n := range names {
				if n > q.Get("cursor") {
					next := "null"
					if i+1 < len(names) {
						next = `"` + n + `"`
					}
					fmt.Fprintf(w, `{"items":[{"name":%q,"size":%d}],"next":%s}`, n, i+5, next)
					return
				}
			}
		case q.Get("name") == "gone":
			w.WriteHeader(404)
			io.WriteString(w, `{"error":{"message":"no such file"}}`)
		case q.Get("name") == "bad":
			w.WriteHeader(503)
			io.WriteString(w, `{"error":{"message":"the bucket does not answer","hint":"try again"}}`)
		default:
			io.WriteString(w, "0123456789"[min(10, len(q.Get("offset"))):][:4])
		}
	})}
	go srv.Serve(l)
	f := serverFiles{newClient(socket), "/api/v1/spaces/a%20b"}
	ctx := context.Background()
	var got []string
	if err := f.List(ctx, "", "", func(es []archive.Entry) error {
		for _, e := range es {
			got = append(got, fmt.Sprint(e.Name, e.Size))
		}
		return nil
	}); err != nil || strings.Join(got, " ") != "gate/a.mp45 gate/b.mp46 yard/c.mp47" {
		t.Errorf("listed %q %v", got, err)
	}
	stop := errors.New("enough")
	if err := f.List(ctx, "", "", func([]archive.Entry) error { return stop }); !errors.Is(err, stop) {
		t.Error(err)
	}
	p := make([]byte, 6)
	if n, err := f.ReadAt(ctx, "x", 0, p); n != 4 || err != io.EOF || string(p[:n]) != "1234" {
		t.Errorf("at the end: %d %v %q", n, err, p)
	}
	if _, err := f.ReadAt(ctx, "gone", 0, p); !errors.Is(err, os.ErrNotExist) || errors.Is(err, archive.ErrAway) {
		t.Errorf("a file that is gone: %v", err)
	}
	if _, err := f.ReadAt(ctx, "bad", 0, p); err == nil || errors.Is(err, os.ErrNotExist) || !strings.Contains(err.Error(), "does not answer (try again)") {
		t.Errorf("a bucket that does not answer: %v", err)
	}
	srv.Close()
	if _, err := f.ReadAt(ctx, "x", 0, p); !errors.Is(err, archive.ErrAway) {
		t.Errorf("a server that was stopped: %v", err)
	}
}

// TestFarSpacesClose: closing does nothing where nothing was opened.
func TestFarSpacesClose(t *testing.T) {
	broken := errors.New("made to fail")
	for _, c := range []struct {
		f    *farSpaces
		want error
	}{{nil, nil}, {&farSpaces{}, nil}, {&farSpaces{end: func() error { return broken }}, broken}} {
		if err := c.f.close(); err != c.want {
			t.Errorf("%+v: %v", c.f, err)
		}
	}
}

// TestVerifyStreamsAtOnce: all streams that are named are one job, so that the
// ledgers of a space are read for all of them at once.
func TestVerifyStreamsAtOnce(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "media-server.ini")
	if err := os.WriteFile(path, []byte("[server]\ndata-dir = var\nrun-dir = /run/x\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(dir, "streams.d"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, x := range []struct {
		what []string
		want string
	}{{nil, "[]"}, {[]string{"yard", "gate", "yard"}, "[gate yard]"}} {
		c := verifyCmd{What: x.what}
		_, jobs, _, _, err := c.plan(t.Context(), &globals{Conf: path})
		if err != nil || len(jobs) != 1 || fmt.Sprint(jobs[0].only) != x.want || len(jobs[0].places) != 1 {
			t.Errorf("%v: %+v %v", x.what, jobs, err)
		}
	}
}
