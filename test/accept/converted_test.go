package accept

import (
	"context"
	"fmt"
	"maps"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// decoding gives a player with GStreamer's pipeline changed: another demuxer,
// whatever the coding of the sound is; mpv plays the sound too.
func decoding(p player, demuxer string) player {
	was, seen := p.args, p.pictures
	if p.name == "GStreamer" { // without a second of sound its pictures do not count
		p.pictures = func(dir, said string) int {
			if fi, err := os.Stat(filepath.Join(dir, "heard")); err != nil || fi.Size() < 16000 {
				return 0
			}
			return seen(dir, said)
		}
	}
	p.args = func(dir, u string, live bool) []string {
		a := slices.Clone(was(dir, u, live))
		switch p.name {
		case "GStreamer":
			a = a[:slices.Index(a, "qtdemux")]
			picture := "d.video_0"
			sound := "d.audio_0"
			if demuxer == "tsdemux" {
				picture, sound = "d.", "d."
			}
			return append(a, demuxer, "name=d", picture, "!", "queue", "!", "h264parse", "!", "avdec_h264", "!", "identity", "name=seen", "silent=false", "!", "fakesink", "sync=false",
				sound, "!", "queue", "!", "decodebin", "!", "audioconvert", "!", "audio/x-raw,format=S16LE", "!", "filesink", "location="+filepath.Join(dir, "heard"))
		case "mpv":
			return slices.DeleteFunc(a, func(s string) bool { return s == "--audio=no" })
		}
		return a
	}
	return p
}

// converted shows a range of a stream and its live end in all players.
func converted(t *testing.T, s *harness.Server, name, uid, query string, demuxer string) {
	t.Helper()
	m, err := s.Read(context.Background(), uid, "mp4")
	if err != nil {
		t.Fatal(err)
	}
	pictures := 0
	for _, f := range m.Found {
		if f.ID.Track == 'v' {
			pictures++
		}
	}
	f := s.Footage(uid)
	var figures []string
	for _, p := range players {
		if _, err := exec.LookPath(p.tool); err != nil {
			t.Logf("%s is not there: install the Debian packages %s", p.name, p.pkg)
			continue
		}
		p = decoding(p, demuxer)
		for _, u := range []string{
			fmt.Sprintf("/dvr/%s/playlist.m3u8?from=%d&to=%d%s", uid, f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To, query),
			fmt.Sprintf("/live/%s/playlist.m3u8?%s", uid, strings.TrimPrefix(query, "&")),
		} {
			want, enough := pictures, 0
			if strings.HasPrefix(u, "/live") {
				want, enough = 50, 125
			}
			if p.late {
				want /= 2
			}
			n, said, err := p.show(t, s.HTTP+u, enough)
			if c := p.complaints(said); err != nil || len(c) > 0 || n < want-p.dpb-p.step {
				t.Errorf("%s on %s: %d pictures of %d, %v\n%s\n%s", p.name, u, n, want, err, strings.Join(c, "\n"), tail(said))
			}
			figures = append(figures, fmt.Sprintf("%s %s %d", p.name, u[:5], n))
		}
	}
	harness.Row(t, name+", pictures decoded", 0, "of %d: %s", pictures, strings.Join(figures, ", "))
}

// TestPlayersG711: pictures with G.711, which leaves as FLAC, play in every player.
func TestPlayersG711(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	s.Sim("gate", "audio=pcma", "dvr-chunk = 4s")
	s.Start()
	footage(s, "gate")
	s.Past(time.Now().UnixMilli()+8000, "gate")
	converted(t, s, "G.711 as FLAC", "gate", "", "qtdemux")
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Log("without a browser: install the Debian package chromium")
		return
	}
	seen := browser(t, s, "/live/gate/", "").total
	s.Until("Chromium to play", func() bool { return seen() > 75 })
}

// TestPlayersTS: what is asked for as MPEG-TS plays over a lost camera, holds
// every frame that was sent, and each at the time that it has in fragmented MP4.
func TestPlayersTS(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s"})
	cams := []harness.Camera{
		{UID: "gate", Sent: s.Sim("gate", "cue=9s:drop=2s", "dvr-chunk = 4s")},
		{UID: "yard", Sent: s.Sim("yard", "codec=h265&audio=opus&cue=9s:drop=2s", "dvr-chunk = 4s")},
		{UID: "hall", Sent: s.Sim("hall", "codec=none", "dvr-chunk = 4s")},
	}
	s.Sim("phone", "codec=none&audio=pcma")
	s.Start()
	footage(s, "gate", "yard", "hall", "phone")
	s.Past(time.Now().UnixMilli()+14000, "gate", "yard", "hall")
	converted(t, s, "MPEG-TS", "gate", "&container=ts", "tsdemux")
	if code, body := s.Get(s.HTTP + "/live/phone/playlist.m3u8?container=ts"); code != 415 || !strings.Contains(body, "pcma") {
		t.Errorf("sound that MPEG-TS has no name for: %d %s", code, body)
	}
	to := s.Close("gate", "yard", "hall")
	for _, c := range cams {
		c.Rules.To, c.Rules.Tail, c.Rules.GapSlack = to, -1, 250*time.Millisecond
		sent, err := ledger.ReadSent(c.Sent)
		if err != nil {
			t.Fatal(err)
		}
		maps.DeleteFunc(sent, func(id ledger.ID, _ []ledger.Unit) bool { return id.Camera != c.UID })
		f := s.Footage(c.UID)
		u := fmt.Sprintf("%s/dvr/%s/playlist.m3u8?from=%d&to=%d", s.HTTP, c.UID, f.Ranges[0].From, f.Ranges[len(f.Ranges)-1].To+1000)
		c.Rules.Gaps = map[string][]ledger.Gap{}
		if c.Rules.Gaps[""], err = (ledger.Source{URL: s.HTTP + "/dvr/" + c.UID + "/ranges.json"}).Gaps(context.Background()); err != nil {
			t.Fatal(err)
		}
		m, err := ledger.ReadFile(context.Background(), remuxed(t, u+"&container=ts"), 0)
		if err != nil {
			t.Fatal(err)
		}
		harness.Row(t, "MPEG-TS, every frame", 0, "%s: %s", c.UID, s.Judge(c.UID+" as MPEG-TS", ledger.Compare(sent, m, c.Rules)))
		one := fmt.Sprintf("%s/%s/archive-%d-%d.ts", s.HTTP, c.UID, f.Ranges[0].From/1000, (f.Ranges[len(f.Ranges)-1].To-f.Ranges[0].From)/1000+2)
		if m, err = ledger.ReadFile(context.Background(), remuxed(t, one), 0); err != nil {
			t.Fatal(err)
		}
		harness.Row(t, "one MPEG-TS, every frame", 0, "%s: %s", c.UID, s.Judge(c.UID+" as one MPEG-TS", ledger.Compare(sent, m, c.Rules)))
		sameSteps(t, c.UID, packetTimes(t, u), packetTimes(t, u+"&container=ts"))
	}
}

// sameSteps compares the times between the units of each track: MP4 counts them
// from the beginning of a run, MPEG-TS goes on.
func sameSteps(t *testing.T, uid string, mp4, ts map[string][]float64) {
	t.Helper()
	for kind, a := range mp4 {
		b := ts[kind]
		if len(a) != len(b) {
			t.Errorf("%s: %d units of %s as MP4, %d as MPEG-TS", uid, len(a), kind, len(b))
			continue
		}
		runs := 0
		for i := 1; i < len(a); i++ {
			m, s := a[i]-a[i-1], b[i]-b[i-1]
			if m < -1 && s > 1.5 {
				runs++
			} else if math.Abs(m-s) > 0.00003 { // two times of 1/90000 s, cut to microseconds
				t.Errorf("%s: %s goes from %f to %f as MP4, from %f to %f as MPEG-TS", uid, kind, a[i-1], a[i], b[i-1], b[i])
				break
			}
		}
		if runs > 1 {
			t.Errorf("%s: %d steps back of %s", uid, runs, kind)
		}
	}
	if len(mp4) == 0 {
		t.Errorf("%s: nothing was found", uid)
	}
}

// remuxed is what ffmpeg copies from a playlist into a file.
func remuxed(t *testing.T, u string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "copy.mkv")
	out, err := exec.Command("ffmpeg", "-v", "error", "-nostdin", "-i", u, "-map", "0", "-c", "copy", path).CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Fatalf("ffmpeg: %v %s", err, out)
	}
	return path
}

// packetTimes lists the times of the packets of a playlist by kind, in seconds.
func packetTimes(t *testing.T, u string) map[string][]float64 {
	t.Helper()
	b, err := exec.Command("ffprobe", "-v", "error", "-show_entries", "packet=codec_type,pts_time", "-of", "csv=p=0", u).Output()
	if err != nil {
		t.Fatalf("ffprobe: %v", err)
	}
	out := map[string][]float64{}
	for l := range strings.Lines(string(b)) {
		f := strings.Split(strings.TrimSpace(l), ",")
		if len(f) < 2 {
			continue
		}
		if at, err := strconv.ParseFloat(f[1], 64); err == nil {
			out[f[0]] = append(out[f[0]], at)
		}
	}
	return out
}
