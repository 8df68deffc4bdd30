package accept

import (
	_ "embed"
	"errors"
	"fmt"
	"math"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
	"media-server/test/camera"
)

//go:embed whep.js
var whepPlayer string

// received is what the page says of one player.
type received struct {
	Video, Audio []arrival // encoded frames in the order of their arrival
	Shown        []shown   // pictures that came onto the page
	First        float64   // ms from the beginning until a picture was shown; 0 = none yet
	Note         string
	Stats        map[string]struct {
		MimeType    string
		PacketsLost int
		Playout     float64 // time of the wall clock, by sender reports, of what is played now: ms
	}
}

type arrival struct {
	N    int     // number of the stamp
	Late float64 // ms from the stamp's time until the encoded frame was there
}

type shown struct{ Late float64 } // as arrival

// whepPage opens a page of another site that plays over WebRTC.
func whepPage(t *testing.T, b *cdp.Browser) *cdp.Page {
	t.Helper()
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, "<!doctype html><title>player</title><video muted autoplay playsinline></video><script>%s</script>", whepPlayer)
	}))
	t.Cleanup(site.Close)
	p := b.Page(t)
	p.Go(site.URL)
	p.Wait("the page", "globalThis.whep")
	return p
}

// confD adds a file of settings beside the server's.
func confD(t *testing.T, s *harness.Server, text string) {
	t.Helper()
	dir := filepath.Join(filepath.Dir(s.Conf), "conf.d")
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(filepath.Join(dir, "more.ini"), []byte(text), 0o644)); err != nil {
		t.Fatal(err)
	}
}

// TestWHEP: Chromium plays cameras by WebRTC, as a page of another site. Each encoded
// frame is read by its stamp as it arrives, and pictures as they are shown by the
// RTP time they have in common: none is missing, and how late they are is known.
func TestWHEP(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{})
	confD(t, s, "[http]\nallow-origin = *\n")
	s.Sim("gate", "b-frames=off&audio=opus&bitrate=2M")
	s.Sim("yard", "b-frames=off&audio=pcma&bitrate=500k")
	s.Sim("hall", "b-frames=off&audio=aac")
	gstreamer(t, s, []camera.Camera{{Name: "mast", Video: "h264-plain", Audio: "opus"}})
	s.Start()
	s.Active("gate", "yard", "hall", "mast")
	s.Past(time.Now().UnixMilli()+3000, "gate", "yard", "hall", "mast")
	p := whepPage(t, cdp.Start(t))
	for _, c := range []struct{ uid, audio, note string }{{"gate", "audio/opus", ""}, {"yard", "audio/PCMA", ""}, {"hall", "", "AAC is not sent"}, {"mast", "audio/opus", ""}} {
		var got received
		play(t, p, s.HTTP+"/live/"+c.uid+"/whep", &got)
		judgeWHEP(t, c.uid, &got)
		if got.Stats["audio"].MimeType != c.audio && c.audio != "" || (got.Note == "") != (c.note == "") || !strings.Contains(got.Note, c.note) {
			t.Errorf("%s: sound %q, note %q", c.uid, got.Stats["audio"].MimeType, got.Note)
		}
		if n := len(got.Audio); c.audio != "" && n < len(got.Video) {
			t.Errorf("%s: %d packets of sound beside %d pictures", c.uid, n, len(got.Video))
		}
		ended := p.Text("await p.stop()")
		if ended != "204" {
			t.Errorf("%s: DELETE answers %s", c.uid, ended)
		}
	}
	s.Until("nobody to watch", func() bool {
		return s.Stream("gate").Viewers+s.Stream("yard").Viewers+s.Stream("hall").Viewers+s.Stream("mast").Viewers == 0
	})
}

// play plays until there are enough frames.
func play(t *testing.T, p *cdp.Page, url string, got *received) {
	t.Helper()
	p.Eval(fmt.Sprintf("globalThis.p = whep(%q); 0", url), nil)
	p.Wait("a picture of "+url, "p.first > 0 || p.failed")
	if why := p.Text("p.failed"); why != "" {
		t.Fatal(why)
	}
	want := harness.Pick(1500, 150)
	for end := time.Now().Add(harness.Patience); time.Now().Before(end); time.Sleep(200 * time.Millisecond) {
		var n int
		if p.Eval("p.video.length", &n); n >= want {
			break
		}
	}
	p.Eval("await p.report()", got)
	if len(got.Video) < want {
		t.Errorf("%s: %d pictures within %v", url, len(got.Video), harness.Patience)
	}
}

// settled is when a player is no longer catching up: what was captured before it began
// is no measure of how late it is.
const settled = 50

func judgeWHEP(t *testing.T, uid string, got *received) {
	t.Helper()
	missing, doubled := 0, 0
	for i, a := range got.Video[1:] {
		switch d := a.N - got.Video[i].N; {
		case d > 1:
			missing += d - 1
		case d < 1:
			doubled++
		}
	}
	if missing+doubled > 0 || got.Video[0].N < 0 {
		t.Errorf("%s: of %d pictures %d are missing, %d come twice or out of order", uid, len(got.Video), missing, doubled)
	}
	var arrived, seen []float64
	for _, a := range got.Video[min(len(got.Video), settled):] {
		arrived = append(arrived, a.Late)
	}
	for _, a := range got.Shown[min(len(got.Shown), settled):] {
		seen = append(seen, a.Late)
	}
	v := got.Stats["video"]
	apart := "no sound"
	if a := got.Stats["audio"]; a.Playout > 0 && v.Playout > 0 {
		apart = fmt.Sprintf("sound %+.0f ms from the picture", a.Playout-v.Playout)
		if d := math.Abs(a.Playout - v.Playout); harness.Full() && d > 200 {
			t.Errorf("%s: sound and picture are %.0f ms apart", uid, d)
		}
	}
	if harness.Full() && !(quantile(arrived, .95) < 500 && quantile(seen, .95) < 500) {
		t.Errorf("%s: later than 500 ms", uid)
	}
	harness.Row(t, "WebRTC into Chromium on this machine, "+uid, 0, "%d pictures (%d lost packets) and %d packets of sound, no picture missing behind the first; camera to player p50 %.0f, p95 %.0f ms; camera to page p50 %.0f, p95 %.0f ms; %s; first picture %.0f ms after the beginning",
		len(got.Video), v.PacketsLost, len(got.Audio), quantile(arrived, .5), quantile(arrived, .95), quantile(seen, .5), quantile(seen, .95), apart, got.First)
}

// quantile of v; NaN of nothing.
func quantile(v []float64, q float64) float64 {
	if len(v) == 0 {
		return math.NaN()
	}
	v = slices.Sorted(slices.Values(v))
	return v[int(q*float64(len(v)-1))]
}
