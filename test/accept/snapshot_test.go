package accept

import (
	"bytes"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/icholy/digest"

	"media-server/test/accept/harness"
)

// TestCameraPicture: preview.jpg is what the camera itself makes, where it does, got with
// the account of stream-url, which stands nowhere else.
func TestCameraPicture(t *testing.T) {
	t.Parallel()
	jpeg := append([]byte{0xff, 0xd8, 0xff, 0xe0}, bytes.Repeat([]byte{7}, 3000)...)
	var given, wrong atomic.Int64
	ask := &digest.Challenge{Realm: "camera", Nonce: "abc", Algorithm: "MD5", QOP: []string{"auth"}}
	camera := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if cred, err := digest.ParseCredentials(r.Header.Get("Authorization")); err == nil {
			want, err := digest.Digest(ask, digest.Options{Method: "GET", URI: r.URL.RequestURI(), Username: "anna", Password: "p#ss", Cnonce: cred.Cnonce, Count: cred.Nc})
			if err == nil && want.Response == cred.Response {
				given.Add(1)
				_, _ = w.Write(jpeg)
				return
			}
			wrong.Add(1)
		}
		w.Header().Set("WWW-Authenticate", ask.String())
		w.WriteHeader(401)
	}))
	defer camera.Close()
	s := harness.New(t, harness.Options{})
	const url = "stream-url = rtsp://anna:p#ss@127.0.0.1:1/main" // nobody is there: it has no footage
	s.Put("gate", url, "stream-access = public", "driver-snapshot = "+camera.URL+"/snap.jpg")
	s.Put("mute", url, "stream-access = public")
	s.Put("off", url, "stream-access = public", "stream-enable = false", "driver-snapshot = "+camera.URL+"/snap.jpg")
	s.Put("wrong", "stream-url = rtsp://anna:hunter2@127.0.0.1:1/main", "stream-access = public", "driver-snapshot = "+camera.URL+"/snap.jpg")
	s.Start()
	look := func(uid string) (int, string) {
		t.Helper()
		resp, err := http.Get(s.HTTP + "/live/" + uid + "/preview.jpg")
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Equal(b, jpeg) {
			if taken, err := http.ParseTime(resp.Header.Get("Last-Modified")); err != nil || time.Since(taken) > 5*time.Second || resp.Header.Get("Content-Type") != "image/jpeg" {
				t.Errorf("%v", resp.Header)
			}
			return resp.StatusCode, "its own"
		}
		return resp.StatusCode, string(b)
	}
	s.Until("the camera's picture", func() bool { _, what := look("gate"); return what == "its own" })
	before, begun := given.Load(), time.Now()
	n := harness.Pick(200, 50)
	for range n {
		if code, what := look("gate"); code != 200 || what != "its own" {
			t.Fatalf("%d %s", code, what)
		}
	}
	if asked, most := given.Load()-before, int64(time.Since(begun)/time.Second)+2; asked > most {
		t.Errorf("the camera was asked %d times in %v", asked, time.Since(begun))
	}
	for _, uid := range []string{"mute", "off", "wrong"} {
		if code, what := look(uid); code != 404 || !strings.Contains(what, "no_footage") {
			t.Errorf("%s: %d %s", uid, code, what)
		}
	}
	if wrong.Load() != 1 {
		t.Errorf("%d tries with a wrong password", wrong.Load())
	}
	if !strings.Contains(s.Log(1<<20), "own picture cannot be had") {
		t.Error("nobody is told that the camera gives no picture")
	}
	for _, secret := range []string{"p#ss", "hunter2"} {
		_, body := s.Get(s.HTTP + "/live/wrong/preview.jpg")
		if strings.Contains(s.Log(1<<20), secret) || strings.Contains(body, secret) {
			t.Errorf("%s is told", secret)
		}
	}
	s.Put("bad", url, "driver-snapshot = http://anna:hunter2@127.0.0.1/snap.jpg")
	s.Until("the mistake to be told", func() bool {
		for _, p := range s.Problems() {
			if strings.Contains(p.What, "it has an account") && !strings.Contains(p.String(), "hunter2") {
				return true
			}
		}
		return false
	})
	harness.Row(t, "a camera's own picture", 0, "%d looked at it in %.1f s, the camera was asked %d times", n, time.Since(begun).Seconds(), given.Load()-before)
}
