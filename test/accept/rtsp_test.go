package accept

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/camera"
	"media-server/test/ledger"
)

// rtspRange is a closed range in the path of a URL.
func rtspRange(uid string, from, to int64) string {
	return fmt.Sprintf("/dvr/%s?from=%d&to=%d", uid, from, to)
}

// TestRTSPArchive: every frame of a recording, with a lost camera in it, comes back
// through RTSP once, over TCP as fast as it goes and over UDP sixteen times as fast
// as it was, and the sender reports say when it was taken.
func TestRTSPArchive(t *testing.T) {
	t.Parallel()
	ini, address := rtspServer(t, "")
	s := harness.New(t, harness.Options{Ini: ini})
	cams := []harness.Camera{
		{UID: "film", Sent: s.Sim("film", "cue=6s:drop=2s", "dvr-chunk = 4s")},
		{UID: "h265", Sent: s.Sim("h265", "codec=h265&audio=pcma&metadata=on", "dvr-chunk = 4s")},
		{UID: "jpeg", Sent: s.Sim("jpeg", "codec=mjpeg&audio=opus", "dvr-chunk = 4s")},
	}
	s.Sim("away", "cue=4s:drop=10s", "dvr-chunk = 4s")
	s.Start()
	footage(s, "film", "h265", "jpeg")
	s.Past(time.Now().UnixMilli()+15000, "film", "h265", "jpeg")
	to := s.Close("film", "h265", "jpeg")
	var figures []string
	var seeks []time.Duration
	var report time.Duration
	for _, c := range cams {
		lines, off := rtspAccount(s, address, c, to, "TCP", "UDP")
		figures, report = append(figures, lines...), max(report, off)
		f := s.Footage(c.UID)
		cl := rtspDial(t, address, fmt.Sprintf("/dvr/%s?from=%d", c.UID, f.Ranges[0].From))
		cl.setup(false)
		for i := range 10 {
			began := time.Now()
			cl.play(func() bool { return cl.begun.Load() != 0 }, fmt.Sprintf("Range: npt=%d-", i))
			seeks = append(seeks, time.Unix(0, cl.begun.Load()).Sub(began))
		}
		cl.close()
	}
	if report > time.Millisecond {
		t.Errorf("two sender reports differ by %v", report)
	}
	hole, took := rtspHole(s, address, "away")
	worst := time.Duration(0)
	for _, d := range seeks {
		worst = max(worst, d)
	}
	if harness.Full() && worst > 200*time.Millisecond {
		t.Errorf("a seek took %v", worst)
	}
	harness.Row(t, "RTSP from the archive", 0, "%s; sender reports of a track differ by %v at most; %d seeks, the slowest %.1f ms; twice as fast over a hole of %v in %.1f s",
		strings.Join(figures, "; "), report, len(seeks), float64(worst.Microseconds())/1000, hole, took.Seconds())
}

// rtspHole plays the pictures alone over the first hole of a stream, twice as fast as
// they were: nobody waits the hole out.
func rtspHole(s *harness.Server, address, uid string) (hole, took time.Duration) {
	s.T.Helper()
	const beside = 1500 // ms of footage on either side
	var f harness.Footage
	s.Until(uid+" to be back", func() bool {
		f = s.Footage(uid)
		return len(f.Ranges) > 1 && f.Ranges[1].To > f.Ranges[1].From+2*beside
	})
	from, to := f.Ranges[0].To, f.Ranges[1].From
	c := rtspDial(s.T, address, rtspRange(uid, from-beside, to+beside))
	defer c.close()
	c.alone = true
	c.setup(false)
	began := time.Now()
	c.play(nil, "Scale: 2")
	hole, took = time.Duration(to-from)*time.Millisecond, time.Since(began)
	units, at, _ := c.tracks[0].units(s.T)
	if n := len(at); n == 0 || time.Duration(to-from)*time.Millisecond > 0 && len(units) < 50 {
		s.T.Errorf("%d pictures on both sides of a hole", n)
	}
	if took > hole/2 {
		s.T.Errorf("%v for %d ms of footage with a hole of %v in it", took, 2*beside, hole)
	}
	return hole, took
}

// rtspAccount reads all footage of a stream through RTSP, as fast as it goes over TCP
// and sixteen times as fast as it was over UDP, and accounts for every frame sent. off
// is how much two sender reports of a track differ at most.
func rtspAccount(s *harness.Server, address string, c harness.Camera, to int64, ways ...string) (figures []string, off time.Duration) {
	s.T.Helper()
	f := s.Footage(c.UID)
	path := rtspRange(c.UID, f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To+1000)
	gaps, err := ledger.Source{URL: s.HTTP + "/dvr/" + c.UID + "/ranges.json"}.Gaps(context.Background())
	if err != nil {
		s.T.Fatal(err)
	}
	sent, err := ledger.ReadSent(c.Sent)
	if err != nil {
		s.T.Fatal(err)
	}
	for _, way := range ways {
		cl := rtspDial(s.T, address, path)
		cl.setup(way == "UDP")
		cl.play(nil, map[string]string{"TCP": "Rate-Control: no", "UDP": "Speed: 16"}[way])
		r := ledger.Compare(sent, cl.media(), ledger.Rules{To: to, Tail: -1, Head: c.Rules.Head, Gaps: map[string][]ledger.Gap{"": gaps}, GapSlack: 250 * time.Millisecond})
		figures = append(figures, fmt.Sprintf("%s over %s: %s", c.UID, way, s.Judge(c.UID+" over "+way, r)))
		for _, tr := range cl.tracks {
			off = max(off, tr.report)
		}
		cl.close()
	}
	return figures, off
}

// TestRTSPCameras: what real cameras send comes back through RTSP as well.
func TestRTSPCameras(t *testing.T) {
	t.Parallel()
	ini, address := rtspServer(t, "")
	s := harness.New(t, harness.Options{Ini: ini})
	var cameras []camera.Camera
	for _, c := range camera.Ten() {
		if c.Transport != "udp" && c.GOP < 30 {
			cameras = append(cameras, c)
		}
	}
	cams := gstreamer(t, s, cameras, "dvr-chunk = 5s")
	var uids []string
	for _, c := range cams {
		uids = append(uids, c.UID)
	}
	s.Start()
	footage(s, uids...)
	time.Sleep(harness.Pick(time.Minute, 10*time.Second))
	to := s.Close(uids...)
	var figures []string
	for _, c := range cams {
		lines, _ := rtspAccount(s, address, c, to, "TCP")
		figures = append(figures, lines...)
	}
	harness.Row(t, "RTSP from the archive, GStreamer cameras", 0, "%s", strings.Join(figures, "; "))
}

// TestRTSPLive: every frame that a camera sends while somebody watches comes through,
// over TCP and UDP, at the time that it was taken.
func TestRTSPLive(t *testing.T) {
	t.Parallel()
	ini, address := rtspServer(t, "")
	s := harness.New(t, harness.Options{Ini: ini})
	sent := map[string]string{
		"film": s.Sim("film", ""), "h265": s.Sim("h265", "codec=h265&audio=pcma&metadata=on"), "jpeg": s.Sim("jpeg", "codec=mjpeg&audio=opus"),
	}
	s.Start()
	footage(s, "film", "h265", "jpeg")
	long := harness.Pick(time.Minute, 6*time.Second)
	var mu sync.Mutex
	var figures []string
	var wg sync.WaitGroup
	for uid, file := range sent {
		for _, way := range []string{"TCP", "UDP"} {
			c := rtspDial(t, address, "/live/"+uid)
			c.setup(way == "UDP")
			wg.Go(func() {
				began := time.Now()
				c.play(func() bool { return time.Since(began) > long })
				defer c.close()
				units, err := ledger.ReadSent(file)
				if err != nil {
					t.Error(err)
					return
				}
				m := c.media()
				slices.Sort(c.late)
				if len(c.late) == 0 {
					t.Errorf("%s over %s: nothing came", uid, way)
					return
				}
				// What came in front of PLAY is the group of pictures that was under way.
				from, to := began.UnixNano(), began.Add(long-time.Second).UnixNano()
				r := ledger.Compare(units, m, ledger.Rules{From: from, To: to, Head: -1, Tail: -1})
				mu.Lock()
				defer mu.Unlock()
				figures = append(figures, fmt.Sprintf("%s over %s: %s, half of it within %v", uid, way, s.Judge(uid+" live over "+way, r), c.late[len(c.late)/2].Round(100*time.Microsecond)))
			})
		}
	}
	wg.Wait()
	slices.Sort(figures)
	harness.Row(t, "RTSP live", 0, "%s", strings.Join(figures, "; "))
}

// TestRTSPPlayers: live and archive in the players that people have, over TCP, UDP
// and TLS, and as ONVIF replay.
func TestRTSPPlayers(t *testing.T) {
	t.Parallel()
	secure := harness.FreePort(t)
	ini, address := rtspServer(t, "auth = digest\n[rtsps]\nenable = true\nlisten = "+secure)
	s := harness.New(t, harness.Options{Ini: ini})
	s.Put("door", "stream-url = sim://", "stream-access = protected", "stream-whitelist = 127.0.0.1/32", "dvr-chunk = 4s")
	s.Put("safe", "stream-url = sim://", "stream-access = private", "dvr-chunk = 4s")
	s.Start()
	footage(s, "door")
	s.Active("safe")
	from := s.Footage("door").Ranges[0].From
	s.Past(from+9000, "door")
	base := "rtsp://" + address
	const password = "it is long enough"
	rtspAccountOf(s, "anna", password)
	var mu sync.Mutex
	var figures []string
	see := func(t *testing.T, c rtspShow) {
		if _, err := exec.LookPath(c.tool); err != nil {
			t.Fatalf("%s is not there: make setup installs it", c.tool)
		}
		n, said := c.show(t)
		// gst-launch mixes up pads that appear at the same moment, says so, and waits for ever.
		for try := 0; try < 4 && strings.Contains(said, "Delayed linking failed"); try++ {
			t.Log(c.name, "is shown again: gst-launch has not linked it")
			n, said = c.show(t)
		}
		bad := c.complaints(said)
		if c.want == 0 && !strings.Contains(said, "401") {
			t.Errorf("%s: it was not refused\n%s", c.name, tail(said))
		}
		if c.want == 0 && n > 0 || c.want > 0 && (n < c.want || len(bad) > 0) {
			t.Errorf("%s: %d pictures of %d\n%s\n%s", c.name, n, c.want, strings.Join(bad, "\n"), tail(said))
		}
		mu.Lock()
		figures = append(figures, fmt.Sprintf("%s %d", c.name, n))
		mu.Unlock()
	}
	shows := rtspShows(base, secure, password, from)
	t.Run("shows", func(t *testing.T) {
		for _, c := range shows {
			t.Run(c.name, func(t *testing.T) { t.Parallel(); see(t, c) })
		}
	})
	if !strings.Contains(s.Log(1<<20), "digest login failed") {
		t.Error("a wrong password is not in the log")
	}
	s.Verb("passwd", "--digest", "--remove", "anna")
	for _, c := range shows {
		if c.name == "ffmpeg RTSPS and Digest" {
			c.name, c.want = "ffmpeg with an account that was removed", 0
			t.Run(c.name, func(t *testing.T) { see(t, c) })
		}
	}
	slices.Sort(figures)
	if strings.Contains(s.Log(1<<20), password) {
		t.Error("the password is in the log")
	}
	harness.Row(t, "RTSP in players, pictures decoded", 0, "%s", strings.Join(figures, ", "))
}

// rtspAccountOf makes a Digest account, or gives it another password.
func rtspAccountOf(s *harness.Server, user, password string) {
	s.T.Helper()
	cmd := exec.Command(filepath.Join(harness.Bin, "media-server"), "passwd", "--digest", user, "-c", s.Conf)
	cmd.Stdin = strings.NewReader(password + "\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		s.T.Fatalf("media-server passwd --digest: %v: %s", err, out)
	}
}

// rtspShow is a player on a URL.
type rtspShow struct {
	name, tool string
	args       []string
	marks      string // what it says once a picture
	want       int    // pictures; 0 = it must be refused
	endless    bool   // it is ended when it has shown all
}

func rtspShows(base, secure, password string, from int64) (shows []rtspShow) {
	live, closed := base+"/live/door", fmt.Sprintf("%s/dvr/door?from=%d&to=%d", base, from, from+5000)
	ffmpeg := func(u string, more ...string) []string {
		return append(append([]string{"-v", "error", "-nostdin"}, more...), "-i", u, "-t", "4", "-map", "0:v", "-vf", "showinfo", "-loglevel", "info", "-fps_mode", "passthrough", "-f", "null", "-")
	}
	gst := func(u, depay string, more ...string) []string {
		a := append([]string{"-v", "rtspsrc", "location=" + u, "name=s"}, more...)
		a = append(a, strings.Fields("s. ! application/x-rtp,media=video ! "+depay+" ! h264parse ! avdec_h264 ! identity name=seen silent=false ! fakesink sync=false")...)
		return append(a, strings.Fields("s. ! application/x-rtp,media=audio ! rtpmp4gdepay ! fakesink sync=false")...)
	}
	mpv := func(u string, more ...string) []string {
		return append([]string{"--no-config", "--vo=null", "--ao=null", "--untimed", "--msg-level=all=error,ffmpeg=v", "--vf=lavfi=[showinfo]", "--length=4", u}, more...)
	}
	const shown, chain = " pts_time:", "seen: last-message = chain"
	tls := "rtsps://anna:" + strings.ReplaceAll(password, " ", "%20") + "@" + secure + "/live/safe"
	wrong := strings.Replace(base, "://", "://anna:wrong@", 1) + "/live/safe"
	return []rtspShow{
		{"ffmpeg live TCP", "ffmpeg", ffmpeg(live, "-rtsp_transport", "tcp"), shown, 75, false},
		{"ffmpeg live UDP", "ffmpeg", ffmpeg(live, "-rtsp_transport", "udp"), shown, 75, false},
		{"GStreamer live TCP", "gst-launch-1.0", gst(live, "rtph264depay", "protocols=tcp"), chain, 100, true},
		{"GStreamer live UDP", "gst-launch-1.0", gst(live, "rtph264depay", "protocols=udp"), chain, 100, true},
		{"mpv live", "mpv", mpv(live), shown, 75, false},
		{"ffmpeg archive", "ffmpeg", ffmpeg(closed, "-rtsp_transport", "tcp"), shown, 75, false},
		{"GStreamer archive", "gst-launch-1.0", gst(closed, "rtph264depay", "protocols=tcp"), chain, 110, true},
		{"mpv archive", "mpv", mpv(closed), shown, 75, false},
		{"GStreamer ONVIF replay", "gst-launch-1.0", gst(closed, "rtponvifparse ! rtph264depay", "protocols=tcp", "onvif-mode=true", "onvif-rate-control=false"), chain, 125, true},
		{"ffmpeg RTSPS and Digest", "ffmpeg", ffmpeg(tls, "-rtsp_transport", "tcp"), shown, 75, false},
		{"GStreamer Digest", "gst-launch-1.0", gst(base+"/live/safe", "rtph264depay", "protocols=tcp", "user-id=anna", "user-pw="+password), chain, 50, true},
		{"ffmpeg with a wrong password", "ffmpeg", ffmpeg(wrong, "-rtsp_transport", "tcp"), shown, 0, false},
		{"ffmpeg without one", "ffmpeg", ffmpeg(base+"/live/safe", "-rtsp_transport", "tcp"), shown, 0, false},
	}
}

// show runs a player until it ends, or has shown all.
func (c rtspShow) show(t *testing.T) (pictures int, said string) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	p := player{tool: c.tool, args: func(string, string, bool) []string { return c.args }}
	_, path, cmd := p.start(t, ctx, "", false)
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		over := false
		select {
		case <-done:
			over = true
		case <-time.After(100 * time.Millisecond):
		}
		said = text(t, path)
		pictures = strings.Count(said, c.marks)
		if c.endless && !over && pictures >= c.want {
			stop()
			<-done
			over = true
		}
		if over {
			return pictures, said
		}
	}
}

// complaints are what it has to say against what it was given. GStreamer tells of
// all it sees, errors in capitals.
func (c rtspShow) complaints(said string) (bad []string) {
	if c.tool != "gst-launch-1.0" {
		return players[0].complaints(said)
	}
	for l := range strings.Lines(said) {
		if strings.HasPrefix(l, "ERROR") {
			bad = append(bad, l)
		}
	}
	return bad
}

// TestRTSPWho: with Digest nobody plays without an account or a token, a public stream
// neither; a token is for its stream and its span; what is revoked or removed ends what
// plays within two seconds; and a stream on demand begins with who asks for it.
func TestRTSPWho(t *testing.T) {
	t.Parallel()
	ini, address := rtspServer(t, "auth = digest")
	s := harness.New(t, harness.Options{Ini: ini})
	s.Put("open", "stream-url = sim://", "stream-access = public", "dvr-chunk = 4s")
	s.Put("safe", "stream-url = sim://", "stream-access = private", "dvr-chunk = 4s")
	s.Put("hidden", "stream-url = sim://", "stream-access = public", "stream-proto = hls, mp4")
	s.Put("one", "stream-url = sim://", "stream-access = public", "dvr-chunk = 4s", "stream-limit = 1")
	s.Put("asleep", "stream-url = sim://", "stream-access = public", "stream-enable = on-demand")
	s.Start()
	s.Active("open", "safe", "one")
	began := time.Now().UnixMilli()
	s.Past(began+8000, "safe")
	ask := func(what, path string, want int) {
		t.Helper()
		c := rtspDial(t, address, path)
		defer c.close()
		status, head, body := c.do("DESCRIBE", c.url)
		if status != want {
			t.Errorf("%s: %s%s, want %d", what, head, body, want)
		}
		if want == 401 && (!strings.Contains(head, "algorithm=SHA-256") || !strings.Contains(head, "algorithm=MD5")) {
			t.Errorf("%s: challenges of %s", what, head)
		}
	}
	token := func(body string) (text, id string) {
		t.Helper()
		var out struct{ Token, ID string }
		if _, err := s.Send("POST", "tokens/play", body, &out); err != nil {
			t.Fatal(err)
		}
		return out.Token, out.ID
	}
	var urls map[string]string
	if _, err := s.Call("GET", "streams/safe/urls", &urls); err != nil || !strings.HasSuffix(urls["rtsp"], address[strings.LastIndexByte(address, ':'):]+"/live/safe") {
		t.Errorf("%v %v", urls, err)
	}
	play, id := token(`{"uid":"safe","ttl":"10m"}`)
	bounded, _ := token(fmt.Sprintf(`{"uid":"safe","from":%d,"to":%d}`, began+2000, began+6000))
	api := s.Verb("token", "api", "--role", "viewer")
	ask("public, nobody", "/live/open", 401)
	ask("private, nobody", "/live/safe", 401)
	ask("private, a token that is none", "/live/safe?token=nonsense", 401)
	ask("private, a play token", "/live/safe?token="+play, 200)
	ask("another stream's token", "/live/open?token="+play, 403)
	ask("an API token", "/live/open?token="+api, 200)
	ask("a span's token, live", "/live/safe?token="+bounded, 403)
	ask("a span's token, its span", rtspRange("safe", began+3000, began+5000)+"&token="+bounded, 200)
	ask("a span's token, more than it", rtspRange("safe", began+3000, began+7000)+"&token="+bounded, 403)
	ask("no such stream", "/live/nobody?token="+api, 404)
	ask("a stream without rtsp", "/live/hidden?token="+api, 404)
	ask("no footage", rtspRange("safe", began-7200_000, began-3600_000)+"&token="+api, 404)
	ask("times reversed", rtspRange("safe", began+5000, began+3000)+"&token="+api, 400)
	ask("the future", rtspRange("safe", began+86400_000, began+90000_000)+"&token="+api, 457)
	ask("absurd", "/dvr/safe?from=99999999999999999999&token="+api, 400)
	ask("on demand", "/live/asleep?token="+api, 200)

	// A token of a span opens no more at PLAY, whatever was described.
	asks := func(what, path string, want int, headers ...string) {
		t.Helper()
		c := rtspDial(t, address, path)
		defer c.close()
		c.setup(false)
		if status, head, body := c.do("PLAY", c.url, headers...); status != want {
			t.Errorf("%s: %s%s, want %d", what, head, body, want)
		}
	}
	whole := "/dvr/safe?token=" + bounded
	asks("a span's token, played from 1970", whole, 403, "Range: clock=19700101T000000Z-")
	asks("a span's token, played from 1970 and a bit", whole, 403, "Range: clock=19700101T000000.0005Z-")
	asks("a span's token, played from 1970 in seconds of NTP", whole, 403, "Range: npt=2208988800.0005-")
	asks("a span's token, played from the beginning", whole, 403)
	asks("a span's token, played live", whole, 403, "Range: npt=now-")
	asks("a span's token, backwards out of it", whole, 403, "Scale: -1", "Range: clock="+rtspClock(began+5000)+"-")
	asks("a span's token, played within", whole, 200, "Range: clock="+rtspClock(began+3000)+"-"+rtspClock(began+5000))

	// A seek keeps the place of who plays: nobody else gets it.
	only := rtspDial(t, address, "/live/one?token="+api)
	defer only.close()
	only.setup(false)
	for range 3 {
		only.play(func() bool { return only.begun.Load() != 0 }, "Range: clock="+rtspClock(began+1000)+"-")
		ask("a stream of one viewer, who seeks", "/live/one?token="+api, 453)
	}

	const first, second = "it is long enough 1", "it is long enough 2"
	rtspAccountOf(s, "anna", first)
	ended := func(what, path, password string, end func()) time.Duration {
		t.Helper()
		c := rtspDial(t, address, path)
		defer c.close()
		if password != "" {
			c.account("anna", password)
		}
		c.setup(false)
		c.sign = nil // it was proved
		c.play(func() bool { return c.begun.Load() != 0 })
		end()
		at := time.Now()
		_ = c.nc.SetReadDeadline(at.Add(20 * time.Second))
		for c.interleaved() {
		}
		took := time.Since(at)
		if took > 10*time.Second {
			t.Errorf("%s plays on", what)
		}
		return took
	}
	ended("an account with another password", "/live/safe", first, func() { rtspAccountOf(s, "anna", second) })
	c := rtspDial(t, address, "/live/safe")
	defer c.close()
	c.account("anna", second)
	c.setup(false)
	sign := c.sign
	c.sign = nil
	rtspAccountOf(s, "anna", first)
	if status, head, _ := c.do("PLAY", c.url); status != 401 || !strings.Contains(head, "Digest") {
		t.Errorf("a password that is another by now plays: %s", head)
	}
	if c.sign = sign; c.sign != nil {
		if status, head, _ := c.do("PLAY", c.url); status != 401 {
			t.Errorf("the old password plays: %s", head)
		}
	}
	ended("an account that was removed", "/live/safe", first, func() { s.Verb("passwd", "--digest", "--remove", "anna") })
	ended("a stream that does not offer it any more", "/live/open?token="+api, "", func() {
		s.Put("open", "stream-url = sim://", "stream-access = public", "dvr-chunk = 4s", "stream-proto = hls, mp4")
	})
	revoked := ended("a revoked token", "/live/safe?token="+play, "", func() {
		if _, err := s.Call("DELETE", "tokens/"+id, nil); err != nil {
			t.Error(err)
		}
	})
	if harness.Full() && revoked > 2*time.Second {
		t.Errorf("a revoked token played on for %v", revoked)
	}
	if log := s.Log(1 << 20); strings.Contains(log, play) || strings.Contains(log, api) {
		t.Error("a token is in the log")
	}
	harness.Row(t, "who may play over RTSP", 0, "26 questions; what is revoked, removed or changed ends; a revoked token ends what plays after %.1f s", revoked.Seconds())
}

// TestRTSPCrowd: many readers over RTSP, more that watch one camera over HLS, and such as
// stop, dribble or talk rubbish, cost the recording no frame, and those who read as they
// should lose none either.
func TestRTSPCrowd(t *testing.T) {
	t.Parallel()
	ini, address := rtspServer(t, "[limits]\nconnections-per-address = 2000")
	s := harness.New(t, harness.Options{Ini: ini})
	cameras, readers := harness.Pick(20, 4), harness.Pick(100, 20)
	watching := make([]*hlsViewer, harness.Pick(500, 50))
	var cams []harness.Camera
	var uids []string
	for i := range cameras {
		uid := fmt.Sprintf("cam-%d", i)
		cams, uids = append(cams, harness.Camera{UID: uid, Sent: s.Sim(uid, "", "dvr-chunk = 10s")}), append(uids, uid)
	}
	s.Start()
	footage(s, uids...)
	stop := make(chan struct{})
	var wg sync.WaitGroup
	var broken, strange atomic.Int64
	all := make([]*rtspClient, readers)
	for i := range all {
		c := rtspDial(t, address, "/live/"+uids[i%len(uids)])
		c.setup(false)
		all[i] = c
		wg.Go(func() {
			c.play(func() bool {
				select {
				case <-stop:
					return true
				default:
					return false
				}
			})
		})
	}
	s.Until("a live playlist", func() bool {
		code, _ := s.Get(s.HTTP + "/live/" + uids[0] + "/playlist.m3u8")
		return code == 200
	})
	for i := range watching {
		v := newHLSViewer(s.HTTP + "/live/" + uids[0] + "/playlist.m3u8")
		watching[i] = v
		wg.Go(func() {
			time.Sleep(2 * time.Second * time.Duration(i) / time.Duration(len(watching))) // people come one by one
			v.watch(stop)
		})
	}
	for i := range readers { // beside them
		path := "/live/" + uids[i%len(uids)]
		switch i % 4 {
		case 0: // reads nothing after PLAY
			c := rtspDial(t, address, path)
			defer c.close()
			c.setup(false)
			c.must("PLAY", c.url)
		case 1: // a byte a second
			c := rtspDial(t, address, path)
			defer c.close()
			c.setup(false)
			c.must("PLAY", c.url)
			wg.Go(func() { dribble(c.nc, stop) })
		case 2: // rubbish
			wg.Go(func() { babble(address, stop, &strange) })
		case 3: // comes and goes
			wg.Go(func() {
				for running(stop) {
					nc, err := net.Dial("tcp", address)
					if err == nil {
						_, _ = fmt.Fprintf(nc, "DESCRIBE rtsp://%s%s RTSP/1.0\r\nCSeq: 1\r\n\r\n", address, path)
						nc.Close()
					}
					time.Sleep(50 * time.Millisecond)
				}
			})
		}
	}
	time.Sleep(harness.Pick(time.Minute, 14*time.Second))
	close(stop)
	wg.Wait()
	shown := 0
	for i, c := range all {
		m := c.media()
		v := byte('v')
		last := uint64(0)
		for _, f := range m.Found {
			if f.ID.Track != v {
				continue
			}
			shown++
			if last != 0 && f.Number > last+8 { // B pictures come in another order
				broken.Add(1)
				t.Errorf("reader %d: picture %d follows %d", i, f.Number, last)
			}
			last = max(last, f.Number)
		}
		c.close()
	}
	watched := 0
	for i, v := range watching {
		watched += len(v.numbers)
		if n := v.breaks(); n > 0 || v.err != nil || len(v.numbers) < harness.Pick(1000, 200) {
			t.Errorf("HLS viewer %d: %d pictures, %d missing or twice, %v", i, len(v.numbers), n, v.err)
		}
	}
	to := s.Close(uids...)
	for i := range cams {
		cams[i].Rules.To, cams[i].Rules.Tail = to, -1
	}
	judge(t, s, fmt.Sprintf("recording beside %d HLS viewers of one camera, %d RTSP readers, and as many that misbehave", len(watching), readers), 0, cams, "mp4")
	harness.Row(t, "RTSP readers beside those who misbehave", 0, "%d readers of %d live cameras: %d pictures, %d breaks; %d HLS viewers of one of them: %d pictures; %d connections of rubbish", readers, cameras, shown, broken.Load(), len(watching), watched, strange.Load())
}

func running(stop <-chan struct{}) bool {
	select {
	case <-stop:
		return false
	default:
		return true
	}
}

// dribble reads a byte a second.
func dribble(nc net.Conn, stop <-chan struct{}) {
	for running(stop) {
		_ = nc.SetReadDeadline(time.Now().Add(time.Second))
		if _, err := nc.Read(make([]byte, 1)); err != nil && !strings.Contains(err.Error(), "timeout") {
			return
		}
		time.Sleep(time.Second)
	}
}

// babble talks to a server in ways that are no RTSP.
func babble(address string, stop <-chan struct{}, count *atomic.Int64) {
	for i := 0; running(stop); i++ {
		nc, err := net.Dial("tcp", address)
		if err != nil {
			continue
		}
		_ = nc.SetDeadline(time.Now().Add(2 * time.Second))
		switch i % 3 {
		case 0:
			_, _ = nc.Write(bytes.Repeat([]byte{0xff, 0, 'R', '$'}, 5000))
		case 1:
			_, _ = io.WriteString(nc, "GET / HTTP/1.1\r\nHost: x\r\n\r\n")
		case 2:
			_, _ = io.WriteString(nc, "$\x00\xff\xffhalf")
		}
		_, _ = io.Copy(io.Discard, nc)
		nc.Close()
		count.Add(1)
		time.Sleep(20 * time.Millisecond)
	}
}
