package accept

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// TestPlayTokens: a private stream plays for who has a token for it, for as long as it
// is good, from where it is for and the span that it is for; a secret that is rotated
// throws nobody out; what is revoked ends within two seconds, a download under way too.
func TestPlayTokens(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	s.Put("gate", "stream-url = sim://?bitrate=4M", "stream-access = private")
	s.Put("yard", "stream-url = sim://?bitrate=500k", "stream-access = private")
	s.Start()
	s.Active("gate", "yard")
	began := time.Now().UnixMilli()
	s.Until("footage", func() bool {
		var r struct{ Stop int64 }
		code, err := s.Call("GET", "streams/gate/ranges", &r)
		return err == nil && code == 200 && r.Stop > began+harness.Pick[int64](40_000, 15_000)
	})
	api := lastLine(s.Verb("token", "api", "--role", "operator"))
	play := func(body string) (text, id string) {
		t.Helper()
		status, answer := requested(t, "POST", s.HTTP+"/api/v1/tokens/play", api, body)
		var out struct {
			Token, ID string
			Expires   int64
			URLs      map[string]string
		}
		if status != 201 || json.Unmarshal([]byte(answer), &out) != nil || out.Expires < time.Now().UnixMilli() || !strings.Contains(out.URLs["hls"], url.QueryEscape(out.Token)) {
			t.Fatalf("%s: %d %s", body, status, answer)
		}
		return out.Token, out.ID
	}
	get := func(path, token string) (int, string) { return requested(t, "GET", s.HTTP+path, token, "") }
	expect := func(what, path, token string, status int, code string) {
		t.Helper()
		got, body := get(path, token)
		if got != status || code != "" && !strings.Contains(body, `"code":"`+code+`"`) {
			t.Errorf("%s: %d %.300s, want %d %s", what, got, body, status, code)
		}
	}
	span := func(from, to int64) string {
		return "?from=" + strconv.FormatInt(from, 10) + "&to=" + strconv.FormatInt(to, 10)
	}

	good, id := play(`{"uid":"gate","user":"anna","ttl":"10m"}`)
	expect("nothing", "/live/gate/playlist.m3u8", "", 401, "no_token")
	expect("a token", "/live/gate/playlist.m3u8", good, 200, "")
	expect("another stream", "/live/yard/playlist.m3u8", good, 403, "other_stream")
	expect("a changed one", "/live/gate/playlist.m3u8", good[:len(good)-6]+"AAAAAA", 401, "bad_token")
	expect("the API", "/api/v1/streams", good, 401, "bad_token")
	followed(t, s.HTTP+"/live/gate/playlist.m3u8?token="+good)

	here, _ := play(`{"uid":"gate","ip":"127.0.0.0/8"}`)
	expect("its address", "/live/gate/playlist.m3u8", here, 200, "")
	there, _ := play(`{"uid":"gate","ip":"192.0.2.7"}`)
	expect("another address", "/live/gate/playlist.m3u8", there, 403, "other_address")
	brief, _ := play(`{"uid":"gate","ttl":"1s"}`)

	bounded, _ := play(fmt.Sprintf(`{"uid":"gate","from":%d,"to":%d}`, began+4000, began+9000))
	expect("its span", "/dvr/gate/playlist.m3u8"+span(began+4000, began+9000), bounded, 200, "")
	expect("MP4 of its span", "/dvr/gate/record.mp4"+span(began+5000, began+7000), bounded, 200, "")
	expect("earlier", "/dvr/gate/record.mp4"+span(began+3000, began+7000), bounded, 403, "other_time")
	expect("later", "/dvr/gate/playlist.m3u8"+span(began+5000, began+9500), bounded, 403, "other_time")
	expect("a picture of later", "/dvr/gate/videoshot.mp4?time="+strconv.FormatInt(began+11000, 10), bounded, 403, "other_time")
	expect("live", "/live/gate/playlist.m3u8", bounded, 403, "other_time")
	_, list := get("/dvr/gate/media.m3u8"+span(began+1000, began+14000), good)
	segments := 0
	for _, l := range strings.Split(list, "\n") {
		name, _, _ := strings.Cut(l, "?")
		if !strings.HasSuffix(name, ".m4s") {
			continue
		}
		ms, _, _ := strings.Cut(name, "-")
		at, _ := strconv.ParseInt(ms, 10, 64)
		if at > began+9000 || at < began-1000 { // the clip's groups are of two seconds
			segments++
			expect("a segment of another time", "/dvr/gate/"+name, bounded, 403, "other_time")
		}
	}
	if segments == 0 {
		t.Errorf("no segment of another time: %s", list)
	}
	var ranges struct{ Start, Stop int64 }
	if _, body := get("/dvr/gate/ranges.json", bounded); json.Unmarshal([]byte(body), &ranges) != nil || ranges.Start < began+4000 || ranges.Stop > began+9000 {
		t.Errorf("the list of ranges tells of more: %s", body)
	}

	// Rotation throws nobody out.
	s.Verb("keys", "rotate", "--only", "token")
	time.Sleep(1100 * time.Millisecond)
	after, _ := play(`{"uid":"gate"}`)
	expect("behind a rotation, one of before", "/live/gate/playlist.m3u8", good, 200, "")
	expect("behind a rotation, one of after", "/live/gate/playlist.m3u8", after, 200, "")
	s.Until("a token of a second to expire", func() bool {
		status, body := get("/live/gate/playlist.m3u8", brief)
		return status == 401 && strings.Contains(body, "token_expired")
	})
	var listed struct {
		Items []struct{ ID, User, UID string }
	}
	if _, err := s.Call("GET", "tokens?kind=play", &listed); err != nil || !strings.Contains(fmt.Sprint(listed.Items), "{"+id+" anna gate}") {
		t.Errorf("the list of tokens: %+v %v", listed, err)
	}

	// A download that the client takes slowly is under way when its token is revoked.
	conn, err := net.Dial("tcp", strings.TrimPrefix(s.HTTP, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.(*net.TCPConn).SetReadBuffer(8 << 10)
	fmt.Fprintf(conn, "GET /dvr/gate/record.mp4%s&token=%s HTTP/1.1\r\nHost: x\r\n\r\n", span(began, began+14000), good)
	r := bufio.NewReaderSize(conn, 4<<10)
	if line, err := r.ReadString('\n'); err != nil || !strings.Contains(line, "200") {
		t.Fatalf("%q %v", line, err)
	}
	s.Verb("token", "revoke", id)
	revoked := time.Now()
	n, ended := int64(0), time.Duration(0)
	for ended == 0 && time.Since(revoked) < 20*time.Second {
		_ = conn.SetReadDeadline(time.Now().Add(5 * time.Second))
		k, err := io.CopyN(io.Discard, r, 4<<10)
		if n += k; err != nil {
			ended = time.Since(revoked)
		}
		time.Sleep(20 * time.Millisecond)
	}
	if ended == 0 {
		t.Errorf("the download went on for 20 s behind the revocation, %d bytes", n)
	}
	expect("a revoked one", "/live/gate/playlist.m3u8", good, 401, "token_revoked")
	if log := s.Log(1 << 20); strings.Contains(log, good) || strings.Contains(log, after) {
		t.Error("a token stands in the log")
	}
	harness.Row(t, "play tokens", 0, "HLS, MP4, pictures, ranges by stream, address, span, expiry; a download ended %.1f s behind the revocation, %d bytes", ended.Seconds(), n)
}

// requested sends a request with a bearer token.
func requested(t *testing.T, method, address, token, body string) (int, string) {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		req.Header.Set("Authorization", "Bearer "+token)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// followed follows a multivariant playlist to its newest segment, by its own URIs.
func followed(t *testing.T, address string) {
	t.Helper()
	for range 2 {
		list := fetched(t, address)
		var last string
		for _, l := range strings.Split(strings.TrimSpace(list), "\n") {
			if l != "" && !strings.HasPrefix(l, "#") {
				last = l
			}
		}
		base, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		next, err := base.Parse(last)
		if err != nil || !strings.Contains(next.RawQuery, "token=") || !strings.Contains(next.RawQuery, "s=") {
			t.Fatalf("%q in %s", last, list)
		}
		address = next.String()
	}
	if b := fetched(t, address); !strings.Contains(b[:min(len(b), 200)], "moof") {
		t.Errorf("%s is no segment", address)
	}
}
