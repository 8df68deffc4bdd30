package accept

import (
	"fmt"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// TestDropIn: a stream file dropped in records from its camera's first seconds,
// and an edited title disturbs nothing.
func TestDropIn(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	var cams []harness.Camera
	var uids []string
	for i := range 3 {
		uid := fmt.Sprintf("old-%d", i)
		uids = append(uids, uid)
		cams = append(cams, harness.Camera{UID: uid, Sent: s.Sim(uid, "", "dvr-chunk = 3s")})
	}
	s.Start()
	footage(s, uids...)
	before := map[string]map[string]uint64{}
	for _, uid := range uids {
		before[uid] = disturbances(s, uid)
	}
	var late []time.Duration
	for i := range 3 {
		uid := fmt.Sprintf("new-%d", i)
		sent := s.Sim(uid, "", "dvr-chunk = 3s")
		dropped := time.Now()
		footage(s, uid)
		cams = append(cams, harness.Camera{UID: uid, Sent: sent})
		uids = append(uids, uid)
		units, err := ledger.ReadSent(sent)
		if err != nil {
			t.Fatal(err)
		}
		v := units[ledger.ID{Camera: uid, Track: 'v'}]
		k := slices.IndexFunc(v, func(u ledger.Unit) bool { return u.Key })
		if k < 0 {
			t.Fatalf("%s has sent no key frame", uid)
		}
		d := time.UnixMilli(s.Footage(uid).Ranges[0].From).Sub(time.Unix(0, v[k].Time))
		late = append(late, d)
		if d > time.Second {
			t.Errorf("%s records from %v after its first key frame", uid, d)
		}
		t.Logf("%s: first key frame %v after the file", uid, time.Unix(0, v[k].Time).Sub(dropped).Round(time.Millisecond))
	}
	// Footage is there a little before the event that tells of it.
	for _, uid := range uids {
		s.Until("the event that "+uid+" is active", func() bool {
			return slices.ContainsFunc(s.Events("stream.active"), func(e harness.Event) bool { return e.UID == uid })
		})
	}
	events := len(s.Events())
	s.Sim("old-0", "", "dvr-chunk = 3s", "stream-name = Another title")
	s.Until("the new title", func() bool {
		return s.Stream("old-0").Settings["stream-name"] == "Another title"
	})
	now := time.Now().UnixMilli()
	s.Past(now+1000, uids...)
	for uid, b := range before {
		if a := disturbances(s, uid); !reflect.DeepEqual(a, b) {
			t.Errorf("%s: before %v, after %v", uid, b, a)
		}
	}
	for _, e := range s.Events()[events:] {
		if e.Level != "info" || strings.HasPrefix(e.Type, "stream.") {
			t.Errorf("the new title made the event %+v", e)
		}
	}
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail, cams[i].Rules.Gaps = to, -1, map[string][]ledger.Gap{}
	}
	judge(t, s, "files dropped in, a title edited", 0, cams, "mp4")
	harness.Row(t, "a stream file dropped in", 0, "records from %v after its first key frame (worst of %d)", slices.Max(late).Round(time.Millisecond), len(late))
}

// disturbances are the counters that an edit of something else must not move.
func disturbances(s *harness.Server, uid string) map[string]uint64 {
	c := s.Stream(uid).Counters
	out := map[string]uint64{"restarts": uint64(s.Metric("mediaserver_plugin_restarts_total"))}
	for _, k := range []string{"runs", "reconnects", "lost", "units_dropped", "duplicates"} {
		out[k] = c[k]
	}
	return out
}

// badStream is a stream file that cannot work, and what must be said about it.
type badStream struct {
	uid, text string
	says      []string // all of them, in one problem
}

// TestBadInput: each mistake is named with its place and its remedy, and
// nothing else is disturbed.
func TestBadInput(t *testing.T) {
	t.Parallel()
	plugins := t.TempDir()
	s := harness.New(t, harness.Options{Plugins: []string{plugins}})
	good := harness.Camera{UID: "good", Sent: s.Sim("good", "", "dvr-chunk = 3s")}
	lying := newLiars(t)
	s.Start()
	footage(s, "good")
	before := disturbances(s, "good")
	bad := []badStream{
		{"b-key", "[b-key]\nstream-url = sim://\ndvr-chnk = 5s\n", []string{"b-key.ini:3:1", "unknown key", `did you mean "dvr-chunk"`}},
		{"b-twice", "[b-twice]\nstream-url = sim://\nstream-url = sim://\n", []string{"b-twice.ini:3:1", "stream-url"}},
		{"b-value", "[b-value]\nstream-url = sim://\ndvr-duration = ten days\n", []string{"b-value.ini:3:", "ten days"}},
		{"b-section", "[other]\nstream-url = sim://\n", []string{"b-section.ini:1:", "other"}},
		{"b-nourl", "[b-nourl]\nstream-name = x\n", []string{"b-nourl", "stream-url"}},
		{"b-later", "[b-later]\nstream-url = sim://\nbackfill = off\n", []string{"b-later.ini:3:", "not in this version"}},
		{"b-other", "[b-other]\nstream-url = sim://\nstream-proto = mse\n", []string{"b-other.ini:3:", "aipix = on"}},
		{"b-scheme", "[b-scheme]\nstream-url = gopher://host/1\n", []string{"b-scheme", "gopher"}},
		{"b-driverkey", "[b-driverkey]\nstream-url = sim://\ndriver-codek = h264\n", []string{"b-driverkey", "codek", "unknown"}},
		{"b-simvalue", "[b-simvalue]\nstream-url = sim://?codec=vp9\n", []string{"b-simvalue", "vp9"}},
		{"b-pool", "[b-pool]\nstream-url = sim://\ndvr-pool = nowhere\n", []string{"b-pool", "nowhere"}},
		{"b-unreachable", "[b-unreachable]\nstream-url = rtsp://" + lying.closed + "/1\nstream-access = public\n", []string{"b-unreachable", "connection"}},
		{"b-password", "[b-password]\nstream-url = rtsp://u:wr#ng@" + lying.rtsp["auth"] + "/1\n", []string{"b-password", "password"}},
		{"b-notfound", "[b-notfound]\nstream-url = rtsp://" + lying.rtsp["404"] + "/1\n", []string{"b-notfound", "no stream at this path"}},
		{"b-codec", "[b-codec]\nstream-url = rtsp://" + lying.rtsp["codec"] + "/1\n", []string{"b-codec", "VP8"}},
		{"b-rubbish", "[b-rubbish]\nstream-url = rtsp://" + lying.rtsp["rubbish"] + "/1\n", []string{"b-rubbish"}},
		{"b-sdp", "[b-sdp]\nstream-url = rtsp://" + lying.rtsp["sdp"] + "/1\n", []string{"b-sdp"}},
	}
	for _, b := range bad {
		s.PutText(b.uid, b.text)
	}
	badPlugins(t, plugins)
	for _, b := range bad {
		var said []string
		s.Until(fmt.Sprintf("%s to be explained by %q", b.uid, b.says), func() bool {
			said = said[:0]
			for _, p := range append(s.Problems(), s.Stream(b.uid).Problems...) {
				if strings.Contains(p.String(), b.uid) || p.UID == b.uid {
					said = append(said, p.String())
				}
			}
			return slices.ContainsFunc(said, func(l string) bool {
				return !slices.ContainsFunc(b.says, func(w string) bool { return !strings.Contains(l, w) })
			})
		})
		t.Logf("%s: %s", b.uid, said)
		if strings.Contains(fmt.Sprint(said), "wr#ng") {
			t.Errorf("%s: the password is shown", b.uid)
		}
	}
	for _, w := range []struct{ plugin, says string }{
		{"broken", "broken"}, {"noexec", "noexec"}, {"mute", "mute"}, {"old", "protocol"},
	} {
		if w.plugin == "mute" && !harness.Full() {
			continue // it takes a minute to be sure
		}
		var said []string
		s.Until("plugin "+w.plugin+" to be explained", func() bool {
			said = said[:0]
			for _, p := range s.Problems() {
				if strings.Contains(p.String(), "plugin "+w.plugin) || strings.Contains(p.Where, "/"+w.plugin+"/plugin.ini") {
					said = append(said, p.String())
				}
			}
			return strings.Contains(strings.Join(said, "\n"), w.says)
		})
		t.Logf("plugin %s: %s", w.plugin, said)
	}
	malformed(t, s)
	if a := disturbances(s, "good"); a["runs"] != before["runs"] || a["reconnects"] != before["reconnects"] || a["units_dropped"] != 0 {
		t.Errorf("good: before %v, after %v", before, a)
	}
	for _, b := range bad {
		s.Remove(b.uid)
	}
	good.Rules.To, good.Rules.Tail, good.Rules.Gaps = s.Close("good"), -1, map[string][]ledger.Gap{}
	line := s.Judge("good", s.Account(good))
	if log, _ := os.ReadFile(filepath.Join(s.Dir, "server.log")); strings.Contains(string(log), "wr#ng") || strings.Contains(string(log), "wr%23ng") {
		t.Error("the log shows a password")
	}
	harness.Row(t, "bad input", 0, "%d stream files, 4 plugins, %d URLs, each explained; beside them %s", len(bad), len(badURLs), line)
}

// badPlugins puts plugins into dir that cannot work.
func badPlugins(t *testing.T, dir string) {
	t.Helper()
	for name, files := range map[string]map[string]string{
		"broken": {"plugin.ini": "[plugin]\nname = broken\nversion = 1\nkind = driver\nprotocol = 1\nexec = ./run\nschemes = broken\n", "run": "#!/bin/sh\necho it will not do >&2\nexit 3\n"},
		"noexec": {"plugin.ini": "[plugin]\nname = noexec\nversion = 1\nkind = driver\nprotocol = 1\nexec = ./missing\nschemes = noexec\n"},
		"mute":   {"plugin.ini": "[plugin]\nname = mute\nversion = 1\nkind = driver\nprotocol = 1\nexec = ./run\nschemes = mute\n", "run": "#!/bin/sh\necho hello\nexec sleep 600\n"},
		"old":    {"plugin.ini": "[plugin]\nname = old\nversion = 1\nkind = driver\nprotocol = 99\nexec = ./run\nschemes = old\n", "run": "#!/bin/sh\nexit 0\n"},
	} {
		// Made elsewhere and moved in whole, as an installer does.
		tmp := filepath.Join(t.TempDir(), name)
		if err := os.Mkdir(tmp, 0o755); err != nil {
			t.Fatal(err)
		}
		for f, text := range files {
			if err := os.WriteFile(filepath.Join(tmp, f), []byte(text), 0o755); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Rename(tmp, filepath.Join(dir, name)); err != nil {
			t.Fatal(err)
		}
	}
}

// badURLs are malformed requests and the status and code each must get.
var badURLs = []struct {
	path   string
	status int
	code   string
}{
	{"/dvr/good/record.mp4?from=yesterday&to=now", 400, "bad_time"},
	{"/dvr/good/record.mp4?from=2026-13-45T99:00:00Z&duration=5", 400, "bad_time"},
	{"/dvr/good/record.mp4?to=now", 400, "no_from"},
	{"/dvr/good/record.mp4?from=-1h&duration=long", 400, "bad_duration"},
	{"/dvr/good/record.mp4?from=-1h&duration=-5", 400, "bad_duration"},
	{"/dvr/good/record.mp4?from=1700000000000&to=1600000000000", 400, "bad_range"},
	{"/dvr/good/record.mp4?from=1000000000&duration=10", 404, "no_footage"},
	{"/dvr/good/playlist.m3u8?from=1000000000&duration=10", 404, "no_footage"},
	{"/dvr/good/record.mp4?from=%zz", 400, "bad_query"},
	{"/dvr/nobody/playlist.m3u8?from=-1h", 404, "no_such_stream"},
	{"/live/nobody/playlist.m3u8", 404, "no_such_stream"},
	{"/live/good/0-99999999.m4s", 404, "no_such_segment"},
	{"/live/good/init-0000.mp4", 404, "no_such_segment"},
	{"/live/good/nothing.txt", 404, "no_such_file"},
	{"/live/good/..%2f..%2fetc%2fpasswd", 404, ""},
	{"/dvr/good/../../../etc/passwd", 404, ""},
	{"/live/b-unreachable/playlist.m3u8", 404, "no_footage"},
	{"/dvr/good/videoshot.mp4", 400, "no_time"},
	{"/api/v1/streams", 401, "login"},
	{"/api/v1/nothing", 404, "no_such_route"},
}

func malformed(t *testing.T, s *harness.Server) {
	t.Helper()
	for _, u := range badURLs {
		status, body := s.Get(s.HTTP + u.path)
		if status != u.status || !strings.Contains(body, u.code) || !strings.Contains(body, `"message"`) {
			t.Errorf("%s: %d %s; want %d %s", u.path, status, strings.TrimSpace(body), u.status, u.code)
		}
	}
}
