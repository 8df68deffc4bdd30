package accept

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

// TestGrooming: old footage keeps its key frames, each once and at its time,
// though the core is killed on the way; locked footage stays byte for byte, what
// is listed and missing stays as it was; record.mp4 and HLS play over the
// borders, and everything verifies.
func TestGrooming(t *testing.T) {
	t.Parallel()
	seed, rng := harness.Seed(t)
	s := harness.New(t, harness.Options{Restart: "1s", Ini: "[pool.default]\nspaces = main\nsign = true\n;groom\n[space.main]\npath = SPACE"})
	space := filepath.Join(s.Data, "media")
	edit(t, s, "SPACE", space)
	film := harness.Camera{UID: "film", Sent: s.Sim("film", "", "dvr-chunk = 2s")}
	g711 := harness.Camera{UID: "g711", Sent: s.Sim("g711", "codec=h265&audio=pcma&metadata=on", "dvr-chunk = 2s")}
	s.Sim("rare", "gop=30s", "dvr-chunk = 2s")
	uids := []string{"film", "g711", "rare"}
	s.Start()
	footage(s, uids...)
	start := s.Footage("film").Ranges[0].From
	s.Past(start+harness.Pick[int64](90_000, 36_000), uids...)
	from, to := start+7_000, start+10_500
	if code, err := s.Send("POST", "streams/film/locks", fmt.Sprintf(`{"from":%d,"to":%d,"reason":"theft"}`, from, to), nil); err != nil || code != 201 {
		t.Fatalf("the lock was answered %d %v", code, err)
	}
	if code, err := s.Send("POST", "streams/film/event", fmt.Sprintf(`{"kind":"door","at":%d}`, start+15_000), nil); err != nil || code != 201 {
		t.Fatalf("the event was answered %d %v", code, err)
	}
	told := s.Verb("retention", "preview", "--set", "pool.default.groom-after=1s")
	if !strings.Contains(told, "would keep their key frames only now, which frees about") {
		t.Errorf("the preview says\n%s", told)
	}
	shot := fmt.Sprintf("%s/dvr/film/videoshot.jpg?time=%d&width=320", s.HTTP, start+3_000)
	picture, taken := image(t, shot)
	s.Stop()
	before := map[string][]byte{}
	for _, f := range harness.Files(space) {
		if strings.HasPrefix(f, "open/") {
			continue
		}
		b, err := os.ReadFile(filepath.Join(space, f))
		if err != nil {
			t.Fatal(err)
		}
		sum := sha256.Sum256(b)
		before[f] = sum[:]
	}

	// Now it is to be groomed; the core is killed on the way.
	edit(t, s, ";groom", "groom-after = 5s")
	s.Start()
	was := map[string]harness.Footage{}
	for _, uid := range uids {
		was[uid] = s.Footage(uid)
	}
	kills := harness.Pick(8, 2)
	for range kills {
		s.Until("files to be groomed", func() bool {
			var gs struct{ Items []struct{ State string } }
			code, err := s.Call("GET", "groomings", &gs)
			return err == nil && code == 200 && len(gs.Items) == 1 && gs.Items[0].State == "grooming"
		})
		time.Sleep(time.Duration(rng.IntN(400)) * time.Millisecond)
		s.Kill()
		s.Start()
	}
	// The newest few stay whole for an hour; so do those that hold no key frame.
	s.Until("old footage to be groomed", func() bool {
		left := 0
		for f := range before {
			if _, err := os.Stat(filepath.Join(space, f)); err == nil && !strings.HasPrefix(f, "rare/") {
				left++
			}
		}
		return left <= 3+2
	})
	if now, at := image(t, shot); at != taken || !bytes.Equal(now, picture) {
		t.Errorf("the picture of %s, of %d bytes, became one of %s, of %d", taken, len(picture), at, len(now))
	}
	line := ""
	for _, uid := range []string{"film", "g711"} {
		now, old := s.Footage(uid), was[uid]
		end := old.Ranges[0].To
		if now.Ranges[0].From != old.Ranges[0].From || len(now.Gaps) < len(old.Gaps) || !covers(now, old.Ranges[0].From, end) {
			t.Errorf("%s: ranges %v, were %v; gaps %v, were %v", uid, spans(now.Ranges), spans(old.Ranges), now.Gaps, old.Gaps)
		}
	}
	for _, c := range []harness.Camera{film, g711} {
		line += "; " + keysOf(t, s, c, was[c.UID].Ranges[0].From, from, to)
	}
	for f, sum := range before {
		b, err := os.ReadFile(filepath.Join(space, f))
		if now := sha256.Sum256(b); err == nil && !slices.Equal(now[:], sum) {
			t.Errorf("%s changed in its place", f)
		}
	}
	for _, uid := range uids {
		decodes(t, s, uid, was[uid].Ranges[0].From, 0)
	}
	border := fmt.Sprintf("/dvr/film/playlist.m3u8?from=%d&to=%d", from-5_000, to+5_000)
	line += overBorder(t, s, border)
	line += inBrowser(t, s, border, float64(to-from)/1000+9)
	decodes(t, s, "film", from, to+8_000)            // out of the lock, with its sound, into what is groomed
	s.Until("an event and the metric", func() bool { // new footage grows old all the time
		return len(s.Events("archive.groomed")) > 0 && s.Metric("mediaserver_groomed_files_total", `pool="default"`) > 0
	})
	if out, _ := verb(t, "status", "-c", s.Conf); !strings.Contains(out, "pool default: groomed after 5s") {
		t.Errorf("status says\n%s", out)
	}
	s.Stop()
	out, code := verb(t, "verify", "-c", s.Conf)
	if code != 0 || !strings.Contains(out, "of them groomed") || !strings.Contains(out, " 0 findings") {
		t.Errorf("verify: exit %d\n%s", code, out)
	}
	summary := lastLine(out)
	groomed := slices.DeleteFunc(harness.Files(space), func(f string) bool { return before[f] != nil || !strings.HasPrefix(f, "film/") })
	if err := os.Remove(filepath.Join(space, groomed[1])); err != nil {
		t.Fatal(err)
	}
	if out, code := verb(t, "verify", "-c", s.Conf); code != 1 || !strings.Contains(out, groomed[1]+" ") {
		t.Errorf("%s was taken away: exit %d\n%s", groomed[1], code, out)
	}
	harness.Row(t, "old footage keeps its key frames, core killed meanwhile", seed, "%d kills, %d files before%s; %s", kills, len(before), line, summary)
}

// overBorder lets players show HLS from groomed footage through what is locked,
// and whole, back into groomed footage.
func overBorder(t *testing.T, s *harness.Server, u string) (line string) {
	t.Helper()
	for _, p := range players {
		if p.name != "mpv" && p.name != "VLC" { // decodes has asked ffmpeg; the pipeline of GStreamer wants sound from the beginning
			continue
		}
		if _, err := exec.LookPath(p.tool); err != nil {
			t.Logf("%s is not there: install the Debian packages %s", p.name, p.pkg)
			continue
		}
		least := 75 // the locked part alone, at 25 a second
		if p.late {
			least = 50
		}
		shown, said, err := p.show(t, s.HTTP+u, 0)
		if bad := p.complaints(said); err != nil || shown < least || len(bad) > 0 {
			t.Errorf("%s over the borders of groomed footage: %d pictures, %v\n%s", p.name, shown, err, strings.Join(bad, "\n"))
		}
		line += fmt.Sprintf("; %s shows %d pictures over the borders", p.name, shown)
	}
	return line
}

// playPage plays a playlist with the player that our own pages have.
const playPage = `<!doctype html><title>play</title><body><video muted autoplay></video><script type="module">
import Hls from "/cpanel/static/vendor/hls.light.min.mjs";
const hls = new Hls();
hls.on(Hls.Events.ERROR, (_, d) => { if (d.fatal || d.details == "bufferAppendError") globalThis.failed = d.type + " " + d.details });
hls.loadSource("%s"); hls.attachMedia(document.querySelector("video"));
</script></body>`

// inBrowser lets Chromium do what overBorder does: it has to come to the end.
func inBrowser(t *testing.T, s *harness.Server, u string, seconds float64) string {
	t.Helper()
	if _, err := exec.LookPath("chromium"); err != nil {
		t.Log("without a browser: install the Debian package chromium")
		return ""
	}
	seen := browser(t, s, "/play", fmt.Sprintf(playPage, u))
	s.Until("Chromium to come to the end", func() bool {
		at, failed := seen.at()
		return at >= seconds || failed != ""
	})
	at, failed := seen.at()
	if failed != "" || seen.total() < 75 {
		t.Errorf("Chromium over the borders of groomed footage: %d pictures, up to %.1f s, %s", seen.total(), at, failed)
	}
	return fmt.Sprintf("; Chromium shows %d", seen.total())
}

// edit changes the settings file.
func edit(t *testing.T, s *harness.Server, old, now string) {
	t.Helper()
	b, err := os.ReadFile(s.Conf)
	if err == nil {
		err = os.WriteFile(s.Conf, []byte(strings.Replace(string(b), old, now, 1)), 0o644)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// covers tells whether a stream has everything between two times.
func covers(f harness.Footage, from, to int64) bool {
	at := from
	for _, r := range f.Ranges {
		if r.From <= at && r.To > at {
			at = r.To
		}
	}
	return at >= to
}

// keysOf accounts for every key frame that a camera sent from an instant on:
// each is there once and at its time, and before the lock, which is whole, there
// is nothing else.
func keysOf(t *testing.T, s *harness.Server, c harness.Camera, begin, from, to int64) string {
	t.Helper()
	sent, err := ledger.ReadSent(c.Sent)
	if err != nil {
		t.Fatal(err)
	}
	m, err := s.Read(context.Background(), c.UID, "mp4")
	if err != nil {
		t.Fatal(err)
	}
	id := ledger.ID{Camera: c.UID, Track: 'v'}
	found := map[uint64][]ledger.Found{}
	others := 0 // units besides key frames where only those should be
	whole := 0
	isKey := map[uint64]bool{}
	for _, u := range sent[id] {
		isKey[u.Number] = u.Key
	}
	for _, f := range m.Found {
		at := f.Token / 1e6
		old := at > begin && at < from-3000
		if f.ID != id {
			if old {
				others++
			}
			continue
		}
		found[f.Number] = append(found[f.Number], f)
		switch {
		case old && !isKey[f.Number]:
			others++
		case at >= from && at <= to:
			whole++
		}
	}
	keys := 0
	for _, u := range sent[id] {
		at := u.Time / 1e6
		if !u.Key || at < begin+100 || at > to+3000 {
			continue
		}
		keys++
		fs := found[u.Number]
		if len(fs) != 1 {
			t.Errorf("%s: key frame %d is there %d times", c.UID, u.Number, len(fs))
			continue
		}
		if off := time.Duration(fs[0].Shown - u.Time); off.Abs() > 100*time.Millisecond {
			t.Errorf("%s: key frame %d is %s off", c.UID, u.Number, off)
		}
	}
	for n, fs := range found {
		if len(fs) > 1 {
			t.Errorf("%s: unit %d is there %d times", c.UID, n, len(fs))
		}
	}
	if others > 0 || keys < 8 || c.UID == "film" && whole < 80 {
		t.Errorf("%s: %d key frames, %d other units before the lock, %d pictures in it", c.UID, keys, others, whole)
	}
	return fmt.Sprintf("%s: %d key frames once and at their times, %d pictures in the lock", c.UID, keys, whole)
}

// decodes plays a stream (to = 0: all of it) with ffmpeg, which must not
// complain, and every picture must come after the one before. From HLS by
// ffprobe: ffmpeg takes the rate of the first pictures, one a second, for that of
// all, and warns of what it makes of the others' times.
func decodes(t *testing.T, s *harness.Server, uid string, from, to int64) {
	t.Helper()
	if _, err := exec.LookPath("ffmpeg"); err != nil {
		t.Log("ffmpeg is not there: install the Debian package ffmpeg")
		return
	}
	if to == 0 {
		f := s.Footage(uid)
		to = f.Ranges[len(f.Ranges)-1].To
	}
	span := fmt.Sprintf("?from=%d&to=%d", from, to)
	ctx, stop := context.WithTimeout(context.Background(), 3*time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, "ffmpeg", "-nostdin", "-v", "error", "-xerror", "-i", s.HTTP+"/dvr/"+uid+"/record.mp4"+span, "-map", "0:v", "-fps_mode", "passthrough", "-enc_time_base", "-1", "-f", "null", "-").CombinedOutput()
	if err != nil || len(out) > 0 {
		t.Errorf("ffmpeg on record.mp4 of %s: %v\n%s", uid, err, tail(string(out)))
	}
	cmd := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-select_streams", "v", "-show_entries", "frame=pts", "-of", "csv=p=0", s.HTTP+"/dvr/"+uid+"/playlist.m3u8"+span)
	var said strings.Builder
	cmd.Stderr = &said
	out, err = cmd.Output()
	shown, last := 0, int64(-1)
	for line := range strings.Lines(string(out)) {
		pts := int64(-1)
		if _, e := fmt.Sscanf(line, "%d", &pts); e != nil {
			continue
		}
		if pts <= last {
			t.Errorf("%s by HLS: picture %d is shown at %d, the one before at %d", uid, shown, pts, last)
		}
		shown, last = shown+1, pts
	}
	if err != nil || said.Len() > 0 || shown < 80 {
		t.Errorf("ffprobe on playlist.m3u8 of %s: %d pictures, %v\n%s", uid, shown, err, tail(said.String()))
	}
}
