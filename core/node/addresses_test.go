package node

import (
	"encoding/json"
	"strings"
	"testing"
)

// TestAddressMap: a map that is written while the server runs counts at once, in the
// URLs of whom it is for; a bad one changes nothing.
func TestAddressMap(t *testing.T) {
	r := newRig(t, "[auth]\napi-open-to = 127.0.0.1\n", "streams.d/rec.ini", "[rec]\n"+simStream+"stream-proto = hls\n")
	r.start()
	r.until("rec", "recording", recording)
	urls := func(query string) (u map[string]string) {
		t.Helper()
		resp, b := r.picture("GET", "/api/v1/streams/rec/urls"+query)
		if err := json.Unmarshal(b, &u); err != nil || resp.StatusCode != 200 {
			t.Fatalf("%d %s", resp.StatusCode, b)
		}
		return u
	}
	u := urls("?client=203.0.113.7")
	if u["hls"] != r.base+"/live/rec/playlist.m3u8" || u["mp4"] != "" || u["rtsp"] != "" || u["whep"] != "" {
		t.Errorf("%v", u)
	}
	for _, name := range []string{"hls", "ranges", "page"} {
		r.list(strings.TrimPrefix(u[name], r.base))
	}
	before := r.server()
	r.write("media-server.ini", before+"[address-map.1]\ninner = 127.0.0.1\nouter = video.example.org:80\nclients = 203.0.113.0/24\n")
	if ps := r.reloadNow(); len(ps) > 0 {
		t.Error(ps)
	}
	if got := urls("?client=203.0.113.7")["hls"]; got != "http://video.example.org/live/rec/playlist.m3u8" {
		t.Error(got)
	}
	if got := urls("")["hls"]; got != u["hls"] {
		t.Errorf("inside: %s", got)
	}
	resp, err := r.http.Post("http://control/api/v1/tokens/play", "application/json", strings.NewReader(`{"uid":"rec","ip":"203.0.113.7"}`))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	var made struct {
		Token string
		URLs  map[string]string
	}
	if err := json.NewDecoder(resp.Body).Decode(&made); err != nil || made.Token == "" || made.URLs["hls"] != "http://video.example.org/live/rec/playlist.m3u8?token="+made.Token {
		t.Errorf("a play token: %v %+v", err, made)
	}
	r.write("media-server.ini", r.server()+"[address-map.2]\ninner = 127.0.0.1\nouter = other.example.org\nclients = 203.0.113.7\n")
	if ps := r.reloadNow(); len(ps) != 1 || !strings.Contains(ps[0].What, "is mapped in [address-map.1] too") {
		t.Error(ps)
	}
	if _, b := r.picture("GET", "/api/v1/address-map.csv"); string(b) != "name,inner,outer,clients\n1,127.0.0.1,video.example.org:80,203.0.113.0/24\n" {
		t.Errorf("%s", b)
	}
	r.write("media-server.ini", before)
	r.reloadNow()
	if got := urls("?client=203.0.113.7")["hls"]; got != u["hls"] {
		t.Errorf("without the map: %s", got)
	}
}
