package node

import (
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"media-server/core/fault"
)

const soundOffer = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=ice-ufrag:abcd\r\na=ice-pwd:0123456789012345678901\r\n" +
	"a=fingerprint:sha-256 AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99\r\na=setup:actpass\r\n" +
	"m=audio 9 UDP/TLS/RTP/SAVPF 8\r\nc=IN IP4 0.0.0.0\r\na=mid:0\r\na=recvonly\r\n"

// whep asks over HTTP; the answer's code is that of the error.
func (r *rig) whep(method, path, token, body string) (status int, code, location string) {
	r.t.Helper()
	req, _ := http.NewRequest(method, r.base+path, strings.NewReader(body))
	req.Header.Set("Content-Type", "application/sdp")
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer resp.Body.Close()
	defer http.DefaultClient.CloseIdleConnections()
	b, _ := io.ReadAll(resp.Body)
	var f struct{ Error struct{ Code string } }
	_ = json.Unmarshal(b, &f)
	return resp.StatusCode, f.Error.Code, resp.Header.Get("Location")
}

// TestWebRTC: who may play, how many, and until when. Sessions here are never taken
// up; core/webrtc plays them.
func TestWebRTC(t *testing.T) {
	const camera = "stream-url = sim://?codec=none&audio=pcma\n"
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	r := newRig(t, "", "streams.d/open.ini", "[open]\nstream-access = public\nstream-limit = 1\n"+camera, "streams.d/shut.ini", "[shut]\nstream-access = private\n"+camera,
		"streams.d/hls.ini", "[hls]\nstream-access = public\nstream-proto = hls\n"+camera, "streams.d/off.ini", "[off]\nstream-enable = false\nstream-access = public\n"+camera)
	r.start()
	r.until("open", "recording", recording)
	r.until("shut", "recording", recording)
	lives := func(at string) bool { s, _, _ := r.whep("PATCH", at, "", ""); return s == 204 }
	gone := func(what, at string) {
		t.Helper()
		for end := time.Now().Add(2 * time.Second); lives(at); time.Sleep(20 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("%s: the session goes on", what)
			}
		}
	}
	status, code, at := r.whep("POST", "/live/open/whep", "", soundOffer)
	for end := time.Now().Add(20 * time.Second); status == 404 && time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		status, code, at = r.whep("POST", "/live/open/whep", "", soundOffer) // until the first part is there
	}
	if status != 201 || !lives(at) {
		t.Fatal(status, code, at)
	}
	for _, c := range []struct {
		path, token string
		status      int
		code        string
	}{
		{"/live/open/whep", "", 429, "too_many_viewers"}, {"/live/shut/whep", "", 401, "no_token"}, {"/live/shut/whep", "wrong", 401, "bad_token"},
		{"/live/hls/whep", "", 404, "proto_off"}, {"/live/none/whep", "", 404, "no_such_stream"}, {"/live/off/whep", "", 404, "no_footage"},
	} {
		if s, code, _ := r.whep("POST", c.path, c.token, soundOffer); s != c.status || code != c.code {
			t.Errorf("%s: %d %s, want %d %s", c.path, s, code, c.status, c.code)
		}
	}
	if s, _, _ := r.whep("DELETE", at, "", ""); s != 204 {
		t.Error(s)
	}
	gone("after DELETE", at)
	status, code, at = r.whep("POST", "/live/open/whep", "", soundOffer)
	if status != 201 {
		t.Fatal("the place is not free again:", status, code)
	}
	r.write("streams.d/open.ini", "[open]\nstream-access = private\nstream-limit = 1\n"+camera)
	r.reloadNow()
	gone("the stream is no longer public", at)

	resp, err := r.http.Post("http://control/api/v1/tokens/api", "application/json", strings.NewReader(`{"role":"viewer","name":"x"}`))
	if err != nil {
		t.Fatal(err)
	}
	var tok struct{ ID, Token string }
	_ = json.NewDecoder(resp.Body).Decode(&tok)
	resp.Body.Close()
	status, code, at = r.whep("POST", "/live/shut/whep", tok.Token, soundOffer)
	if status != 201 || !lives(at) {
		t.Fatal(status, code)
	}
	req, _ := http.NewRequest("DELETE", "http://control/api/v1/tokens/"+tok.ID, nil)
	if resp, err := r.http.Do(req); err != nil || resp.StatusCode != 204 {
		t.Fatal(err, resp)
	}
	gone("the token was revoked", at)
	r.stop()

	// A port that is another's is told, and everything else is served.
	r.write("media-server.ini", strings.Replace(r.server(), "[webrtc]\nlisten = 127.0.0.1:0", "[webrtc]\nlisten = "+taken.Addr().String(), 1))
	r.start()
	r.until("shut", "recording", recording)
	var problems struct {
		Items []struct{ Where, What, Hint string }
	}
	r.get("/api/v1/problems", &problems)
	found := false
	for _, p := range problems.Items {
		found = found || p.Where == "[webrtc]" && strings.Contains(p.What, "in use") && p.Hint != ""
	}
	if !found {
		t.Errorf("nothing is told of the port: %+v", problems)
	}
}

// TestWebRTCHint: another program is blamed for what another program does alone.
func TestWebRTCHint(t *testing.T) {
	for _, c := range []struct {
		err  error
		want string
	}{
		{&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", unix.EADDRINUSE)}, "another program may use the port; change listen in [webrtc] of media-server.ini"},
		{&net.OpError{Op: "listen", Err: os.NewSyscallError("bind", unix.EACCES)}, "change listen in [webrtc] of media-server.ini"},
		{fault.New("", "no such interface", "one of its network interfaces (eth0)"), "one of its network interfaces (eth0)"},
	} {
		if got := webrtcHint(c.err); got != c.want {
			t.Errorf("%v: %q", c.err, got)
		}
	}
}
