package snapshot

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/icholy/digest"

	"media-server/plugins/sdk"
)

var jpeg = append([]byte{0xff, 0xd8, 0xff, 0xe0}, bytes.Repeat([]byte{1}, 1000)...)

// camera serves a picture as cameras do.
func camera(t *testing.T) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	give := func(w http.ResponseWriter) { _, _ = w.Write(jpeg) }
	mux.HandleFunc("/open.jpg", func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "" {
			t.Error("the account was shown though nobody asked")
		}
		give(w)
	})
	mux.HandleFunc("/basic.jpg", func(w http.ResponseWriter, r *http.Request) {
		if u, p, ok := r.BasicAuth(); !ok || u != "anna" || p != "p#ss:1" {
			w.Header().Set("WWW-Authenticate", `Basic realm="camera"`)
			w.WriteHeader(401)
			return
		}
		give(w)
	})
	for _, algorithm := range []string{"MD5", "SHA-256"} {
		mux.HandleFunc("/"+algorithm+".jpg", func(w http.ResponseWriter, r *http.Request) {
			ask := &digest.Challenge{Realm: "camera", Nonce: "abc", Algorithm: algorithm, QOP: []string{"auth"}}
			cred, err := digest.ParseCredentials(r.Header.Get("Authorization"))
			if err == nil {
				want, werr := digest.Digest(ask, digest.Options{Method: "GET", URI: r.URL.RequestURI(), Username: "anna", Password: "p#ss:1", Cnonce: cred.Cnonce, Count: cred.Nc})
				if werr == nil && want.Response == cred.Response {
					give(w)
					return
				}
			}
			w.Header().Set("WWW-Authenticate", ask.String())
			w.WriteHeader(401)
		})
	}
	for path, ask := range map[string]string{"/bearer.jpg": `Bearer realm="x"`, "/sess.jpg": `Digest realm="c", nonce="n", algorithm=MD5-sess, qop="auth"`, "/silent.jpg": ""} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.Header.Get("Authorization"), "Basic") {
				t.Errorf("%s: the password was shown though nobody asked for it so", path)
			}
			if ask != "" {
				w.Header().Set("WWW-Authenticate", ask)
			}
			w.WriteHeader(401)
		})
	}
	mux.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "<html>") })
	mux.HandleFunc("/moved.jpg", func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/open.jpg", http.StatusFound) })
	mux.HandleFunc("/away.jpg", func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "http://192.0.2.1/open.jpg", http.StatusFound)
	})
	mux.HandleFunc("/large.jpg", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = w.Write(append(bytes.Clone(jpeg), make([]byte, sdk.MaxSnapshot)...))
	})
	mux.HandleFunc("/stuck.jpg", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	s := httptest.NewServer(mux)
	t.Cleanup(s.Close)
	return s
}

func TestGet(t *testing.T) {
	s := camera(t)
	anna, other := url.UserPassword("anna", "p#ss:1"), url.UserPassword("anna", "hunter2")
	for _, c := range []struct {
		path string
		user *url.Userinfo
		want string // of the error; "" = the picture
	}{
		{"/open.jpg", nil, ""}, {"/open.jpg", anna, ""}, {"/moved.jpg", nil, ""},
		{"/basic.jpg", anna, ""}, {"/MD5.jpg", anna, ""}, {"/SHA-256.jpg", anna, ""},
		{"/basic.jpg", other, "refuses"}, {"/MD5.jpg", other, "refuses"}, {"/MD5.jpg", nil, "refuses"},
		{"/bearer.jpg", anna, "not known"}, {"/sess.jpg", anna, ""}, {"/silent.jpg", anna, "not known"},
		{"/none.jpg", nil, "404"}, {"/page", nil, "not a JPEG"}, {"/away.jpg", nil, "302"}, {"/large.jpg", nil, "more than"}, {"/stuck.jpg", nil, "deadline"},
	} {
		ctx, stop := context.WithTimeout(t.Context(), 2*time.Second)
		if c.path == "/stuck.jpg" {
			ctx, stop = context.WithTimeout(t.Context(), 50*time.Millisecond)
		}
		b, err := Get(ctx, Source{URL: s.URL + c.path, User: c.user})
		stop()
		if c.path == "/sess.jpg" && err != nil {
			continue // refused one way or another
		}
		if c.want == "" && (err != nil || !bytes.Equal(b, jpeg)) || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("%s: %d bytes, %v, want %q", c.path, len(b), err, c.want)
		}
		if err != nil && strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s tells the password: %v", c.path, err)
		}
	}
	for address, want := range map[string]bool{"http://10.0.0.7/snap.jpg": true, "https://h/": true, "http://u:p@h/": false, "rtsp://h/x": false, "snap.jpg": false, "http://": false, "http://a b/": false} {
		if err := Check(address); (err == nil) != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}
