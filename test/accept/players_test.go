package accept

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// player shows a URL with software nobody here wrote, and counts the pictures
// that it has decoded.
type player struct {
	name, tool, pkg string
	args            func(dir, url string, live bool) []string
	pictures        func(dir, said string) int
	harmless        string // what it says though nothing is wrong
	late            bool   // it leaves pictures out when the machine is busy
	maps            bool   // it takes a new EXT-X-MAP with other parameters; ffmpeg's HLS reader does not
	dpb             int    // pictures that it may swallow at a discontinuity: ffmpeg's decoder is not flushed there
	endless         bool   // it does not end by itself while something is live
	step            int    // it tells of one picture in so many
}

var players = []player{
	{
		name: "ffmpeg", tool: "ffmpeg", pkg: "ffmpeg", step: 1, dpb: 16,
		args: func(dir, u string, live bool) []string {
			a := []string{"-v", "error", "-nostdin", "-progress", filepath.Join(dir, "progress"), "-i", u}
			if live {
				a = append(a, "-t", "5")
			}
			return append(a, "-map", "0:v", "-map", "0:a", "-fps_mode", "passthrough", "-f", "null", "-")
		},
		pictures: func(dir, _ string) int { return lastNumber(filepath.Join(dir, "progress"), `frame=(\d+)`) },
	},
	{
		name: "GStreamer", tool: "gst-launch-1.0", pkg: "gstreamer1.0-tools gstreamer1.0-libav gstreamer1.0-plugins-bad", step: 1, maps: true, endless: true,
		args: func(_, u string, live bool) []string {
			a := []string{"-v", "souphttpsrc", "location=" + u, "!"}
			if strings.Contains(u, "m3u8") {
				a = append(a, "hlsdemux", "!")
			}
			a = append(a, "qtdemux", "name=d", "d.video_0", "!", "queue", "!", "h264parse", "!", "avdec_h264", "!", "identity", "name=seen", "silent=false", "!", "fakesink", "sync=false",
				"d.audio_0", "!", "queue", "!", "aacparse", "!", "avdec_aac", "!", "fakesink", "sync=false")
			return a
		},
		pictures: func(_, said string) int { return strings.Count(said, "seen: last-message = chain") },
	},
	{
		name: "mpv", tool: "mpv", pkg: "mpv", step: 1, dpb: 16,
		args: func(_, u string, live bool) []string {
			a := []string{"--no-config", "--vo=null", "--ao=null", "--untimed", "--audio=no", "--msg-level=all=error,ffmpeg=v", "--vf=lavfi=[showinfo]", u}
			if live {
				a = append(a, "--length=5")
			}
			return a
		},
		pictures: func(_, said string) int { return strings.Count(said, " pts_time:") },
		harmless: `showinfo`,
	},
	{
		name: "VLC", tool: "cvlc", pkg: "vlc", step: 25, late: true,
		args: func(dir, u string, live bool) []string {
			a := []string{"--no-color", "-q", "--vout=dummy", "--aout=dummy", "--no-video-title", "--video-filter=scene", "--scene-format=png", "--scene-ratio=25",
				"--scene-path=" + dir, "--play-and-exit"}
			if live {
				a = append(a, "--run-time=7")
			}
			return append(a, u, "vlc://quit")
		},
		pictures: func(dir, _ string) int { f, _ := filepath.Glob(filepath.Join(dir, "scene*.png")); return len(f) * 25 },
		harmless: `dummy|dbus|playlist|VDPAU|vdpau|vaapi|Xlib|cache|interface|postproc|pulse|deinterlace|display`,
	},
}

func lastNumber(file, form string) (n int) {
	b, _ := os.ReadFile(file)
	if m := regexp.MustCompile(form).FindAllSubmatch(b, -1); len(m) > 0 {
		_, _ = fmt.Sscan(string(m[len(m)-1][1]), &n)
	}
	return n
}

// show runs a player on a URL until it has shown all. Where something is live,
// enough is how many pictures are enough; a player that goes on is ended then.
func (p player) show(t *testing.T, u string, enough int) (pictures int, said string, err error) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), 2*time.Minute)
	defer stop()
	dir, path, cmd := p.start(t, ctx, u, enough > 0)
	seen := func() int {
		b, _ := os.ReadFile(path)
		said = string(b)
		return p.pictures(dir, said)
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for {
		select {
		case err = <-done:
			return seen(), said, err
		case <-time.After(100 * time.Millisecond):
		}
		if p.endless && enough > 0 && seen() >= enough {
			stop()
			<-done
			return seen(), said, nil
		}
	}
}

// start runs a player on a URL in a folder of its own; what it says goes to a file.
func (p player) start(t *testing.T, ctx context.Context, u string, live bool) (dir, path string, cmd *exec.Cmd) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	_ = os.Chmod(filepath.Dir(dir), 0o755)
	path = filepath.Join(dir, "said")
	out, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	defer out.Close()
	cmd = command(ctx, dir, p.tool, p.args(dir, u, live)...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return dir, path, cmd
}

// command makes a player's process, which is nobody's when we are root: VLC
// and Chromium do not run as root.
func command(ctx context.Context, dir, tool string, args ...string) *exec.Cmd {
	if os.Geteuid() == 0 {
		args = append([]string{"--reuid=65534", "--regid=65534", "--clear-groups", tool}, args...)
		tool = "setpriv"
	}
	cmd := exec.CommandContext(ctx, tool, args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "HOME="+dir, "XDG_RUNTIME_DIR="+dir, "XDG_CACHE_HOME="+dir, "GST_REGISTRY="+filepath.Join(gstDir, "registry"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = 5 * time.Second
	return cmd
}

// complaints are the lines of errors among what a player said.
func (p player) complaints(said string) (out []string) {
	bad := regexp.MustCompile(`(?i)\berror|invalid|corrupt|fail|missing picture|concealing|non-existing`)
	fine := regexp.MustCompile(`a^`)
	if p.harmless != "" {
		fine = regexp.MustCompile(p.harmless)
	}
	for l := range strings.SplitSeq(said, "\n") {
		if bad.MatchString(l) && !fine.MatchString(l) {
			out = append(out, l)
		}
	}
	return out[:min(len(out), 10)]
}

// TestPlayers: footage with a lost camera and a killed core plays in every
// player through every door, and so does record.mp4 with a new picture size.
func TestPlayers(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s"})
	films := []harness.Camera{
		{UID: "film", Sent: s.Sim("film", "cue=9s:drop=2s", "dvr-chunk = 4s")},
		{UID: "resized", Sent: s.Sim("resized", "cue=5s:params", "dvr-chunk = 4s")},
	}
	s.Sim("door", "", "dvr-chunk = 4s")
	s.Start()
	footage(s, "film", "resized", "door")
	start := time.Now().UnixMilli()
	s.Past(start+13000, "film", "resized")
	s.Kill()
	s.Start()
	s.Past(time.Now().UnixMilli()+1500, "film", "resized")
	to := s.Close("film", "resized")
	pictures := map[string]int{"door": 50}
	urls := []string{"/live/door/playlist.m3u8"}
	for _, c := range films {
		c.Rules.To, c.Rules.Tail, c.Rules.GapSlack = to, -1, 250*time.Millisecond
		s.Judge(c.UID, s.Account(c))
		m, err := s.Read(context.Background(), c.UID, "mp4")
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range m.Found {
			if f.ID.Track == 'v' {
				pictures[c.UID]++
			}
		}
		f := s.Footage(c.UID)
		for _, file := range []string{"record.mp4", "playlist.m3u8"} {
			urls = append(urls, fmt.Sprintf("/dvr/%s/%s?from=%d&to=%d", c.UID, file, f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To+1))
		}
	}
	shown := map[string]int{}
	for _, u := range urls {
		if strings.Contains(u, "/record.mp4") {
			for _, is := range shownPictures(t, s.HTTP+u) {
				if is {
					shown[u]++
				}
			}
		}
	}
	var figures []string
	for _, p := range players {
		if _, err := exec.LookPath(p.tool); err != nil {
			t.Logf("%s is not there: install the Debian packages %s", p.name, p.pkg)
			continue
		}
		for _, u := range urls {
			if strings.Contains(u, "/resized/playlist") && !p.maps {
				continue
			}
			uid := strings.Split(u, "/")[2]
			want := pictures[uid]
			if n, is := shown[u]; is {
				if n < want-2 || n > want {
					t.Errorf("%s shows %d pictures of %d", u, n, want)
				}
				want = n
			}
			if p.late {
				want /= 2
			}
			if strings.Contains(u, "/playlist") {
				want -= p.dpb
			}
			name, _, _ := strings.Cut(u, "?")
			enough := 0
			if uid == "door" {
				enough = 125 // five seconds, for which the others are told to play
			}
			n, said, err := p.show(t, s.HTTP+u, enough)
			if c := p.complaints(said); err != nil || len(c) > 0 || n < want-p.step {
				t.Errorf("%s on %s: %d pictures of %d, %v\n%s\n%s", p.name, name, n, pictures[uid], err, strings.Join(c, "\n"), tail(said))
			}
			figures = append(figures, fmt.Sprintf("%s %s %d of %d", p.name, name, n, pictures[uid]))
		}
	}
	harness.Row(t, "players, pictures decoded", 0, "%s", strings.Join(figures, ", "))
}

// shownPictures tells of each picture of an MP4 whether its edit list shows it. Where that
// ends between pictures that depend on each other, one is there for others alone: ffmpeg
// decodes it, GStreamer leaves it out.
func shownPictures(t *testing.T, u string) (shown []bool) {
	t.Helper()
	ctx, stop := context.WithTimeout(context.Background(), time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "packet=flags", "-of", "csv=p=0", u).Output()
	if err != nil {
		t.Fatalf("%s: %v", u, err)
	}
	for _, flags := range strings.Fields(string(out)) {
		shown = append(shown, !strings.Contains(flags, "D"))
	}
	return shown
}

func tail(s string) string { return s[max(0, len(s)-1500):] }

// TestPlayersThroughKills: players opened before a core kill play on.
func TestPlayersThroughKills(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s"})
	s.Sim("door", "", "dvr-chunk = 4s")
	s.Start()
	footage(s, "door")
	s.Until("a live playlist", func() bool { code, _ := s.Get(s.HTTP + "/live/door/playlist.m3u8"); return code == 200 })
	var shows []func() int
	var names []string
	if _, err := exec.LookPath("chromium"); err == nil {
		shows, names = append(shows, browser(t, s, "/live/door/", "").total), append(names, "Chromium")
	} else {
		t.Log("without a browser: install the Debian package chromium")
	}
	if p := players[1]; true {
		if _, err := exec.LookPath(p.tool); err == nil {
			shows, names = append(shows, follow(t, p, s.HTTP+"/live/door/playlist.m3u8")), append(names, p.name)
		}
	}
	for i, seen := range shows {
		s.Until(names[i]+" to play", func() bool { return seen() > 25 })
	}
	kills := harness.Pick(10, 2)
	for range kills {
		s.Kill()
		s.Start()
		at := make([]int, len(shows))
		for i, seen := range shows {
			at[i] = seen()
		}
		for i, seen := range shows {
			s.Until(names[i]+" to play on", func() bool { return seen() > at[i]+75 })
		}
	}
	var figures []string
	for i, seen := range shows {
		figures = append(figures, fmt.Sprintf("%s %d", names[i], seen()))
	}
	harness.Row(t, "players opened before core kills play on", 0, "%d kills, pictures shown: %s", kills, strings.Join(figures, ", "))
}

// follow keeps a player running; the function returned counts pictures.
func follow(t *testing.T, p player, u string) func() int {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	dir, path, cmd := p.start(t, ctx, u, true)
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		if b, _ := os.ReadFile(path); t.Failed() {
			t.Logf("%s said: %s", p.name, tail(string(b)))
		}
	})
	return func() int { b, _ := os.ReadFile(path); return p.pictures(dir, string(b)) }
}

// spy tells the test how many pictures the page's video has shown.
const spy = `<script>setInterval(() => { const v = document.querySelector("video"); const q = v && v.getVideoPlaybackQuality();
fetch("/__seen?n=" + (q ? q.totalVideoFrames : 0) + "&t=" + (v ? v.currentTime : 0) + "&e=" + encodeURIComponent(v && v.error ? v.error.message : globalThis.failed || "")) }, 250)</script></body>`

// browser opens a page in Chromium, through a proxy that adds a spy to it. What
// it counts goes on over reloads of the media. own, where given, is the page
// instead of the server's.
func browser(t *testing.T, s *harness.Server, page, own string) *counter {
	t.Helper()
	target, _ := url.Parse(s.HTTP)
	proxy := httputil.NewSingleHostReverseProxy(target)
	seen := &counter{}
	proxy.ModifyResponse = seen.spyOn
	mux := http.NewServeMux()
	mux.Handle("/", seen.handler(proxy))
	if own != "" {
		mux.HandleFunc(page, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "text/html")
			fmt.Fprint(w, strings.Replace(own, "</body>", spy, 1))
		})
	}
	srv := httptest.NewServer(mux)
	dir := t.TempDir()
	_ = os.Chmod(dir, 0o777)
	_ = os.Chmod(filepath.Dir(dir), 0o755)
	ctx, stop := context.WithCancel(context.Background())
	cmd := command(ctx, dir, "chromium", "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--mute-audio", "--no-first-run",
		"--autoplay-policy=no-user-gesture-required", "--user-data-dir="+filepath.Join(dir, "profile"), "--remote-debugging-port=0", srv.URL+page)
	var said bytes.Buffer
	cmd.Stderr = &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stop()
		_ = cmd.Wait()
		srv.Close()
		if t.Failed() {
			t.Logf("Chromium: %v\n%s", seen, tail(said.String()))
		}
	})
	return seen
}
