package browser

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

// taker is a page of another site that lets hls.js or shaka play a range and keeps what
// the player was given: the bytes that go to the decoder (hls.js, BUFFER_APPENDING), or
// those of each segment in the order in which they are asked for (shaka, response filter).
const taker = `<!doctype html><title>taker</title><video muted></video>
<script src="/shaka.js"></script>
<script type="module">
import Hls from "/hls.mjs";
const q = new URLSearchParams(location.search), v = document.querySelector("video"), kept = [], asked = new Set();
window.fault = ""; window.done = false;
window.taken = async () => {
	const b = new Uint8Array(await new Blob(kept).arrayBuffer());
	let s = "";
	for (let i = 0; i < b.length; i += 0x8000) s += String.fromCharCode(...b.subarray(i, i + 0x8000));
	return btoa(s);
};
const whole = () => { window.done = v.buffered.length > 0 && v.buffered.end(v.buffered.length - 1) > v.duration - .3; };
if (q.get("with") === "hls") {
	const h = new Hls({enableWorker: false, maxBufferLength: 600, maxMaxBufferLength: 600});
	h.on(Hls.Events.BUFFER_APPENDING, (_, d) => kept.push(d.data.slice()));
	h.on(Hls.Events.ERROR, (_, d) => { if (d.fatal) window.fault = d.details; });
	h.loadSource(q.get("url"));
	h.attachMedia(v);
} else {
	shaka.polyfill.installAll();
	const p = new shaka.Player();
	await p.attach(v);
	p.configure("streaming.bufferingGoal", 600);
	p.getNetworkingEngine().registerResponseFilter((type, r) => {
		// It asks for the first segment twice: to look into it, and to play it.
		if (type === shaka.net.NetworkingEngine.RequestType.SEGMENT && !asked.has(r.originalUri)) kept.push(r.data.slice(0));
		asked.add(r.originalUri);
	});
	p.addEventListener("error", (e) => { window.fault = "shaka " + e.detail.code; });
	p.load(q.get("url")).catch((e) => { window.fault = "shaka " + e.code + " " + e.message; });
}
setInterval(whole, 200);
</script>`

// TestCountedInBrowsers: what hls.js and shaka are given of a range is each frame of it,
// none twice: the same as record.mp4 has.
func TestCountedInBrowsers(t *testing.T) {
	if _, err := exec.LookPath("ffprobe"); err != nil {
		t.Fatal("ffprobe is not there: install the Debian package ffmpeg")
	}
	s := harness.New(t, harness.Options{HTTP: "allow-origin = *"})
	s.Sim("gate", "bitrate=500k")
	s.Start()
	s.Active("gate")
	s.Past(time.Now().UnixMilli()+harness.Pick[int64](60_000, 12_000), "gate")
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, taker)
	})
	for path, file := range map[string]string{"/shaka.js": "testdata/shaka/shaka-player.compiled.js", "/hls.mjs": "../../cpanel/static/vendor/hls.light.min.mjs"} {
		mux.HandleFunc(path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/javascript")
			http.ServeFile(w, r, file)
		})
	}
	site := httptest.NewServer(mux)
	defer site.Close()
	r := s.Footage("gate").Ranges[0]
	span := fmt.Sprintf("?from=%d&to=%d", r.From, r.To-3000)
	want := packets(t, s.HTTP+"/dvr/gate/record.mp4"+span)
	b := cdp.Start(t)
	for _, with := range []string{"hls", "shaka"} {
		p := b.Page(t)
		p.Go(site.URL + "/?with=" + with + "&url=" + strings.NewReplacer(":", "%3A", "/", "%2F", "?", "%3F", "&", "%26", "=", "%3D").Replace(s.HTTP+"/dvr/gate/playlist.m3u8"+span))
		p.Wait("all of the range in "+with, "window.done || window.fault")
		var fault, text string
		p.Eval("window.fault", &fault)
		p.Eval("(window.taken().then((t) => { window.text = t; }), true)", nil)
		p.Wait("its bytes", "window.text")
		p.Eval("window.text", &text)
		bytes, err := base64.StdEncoding.DecodeString(text)
		if err != nil || fault != "" {
			t.Errorf("%s: %s %v", with, fault, err)
			continue
		}
		file := filepath.Join(t.TempDir(), with+".mp4")
		if err := os.WriteFile(file, bytes, 0o600); err != nil {
			t.Fatal(err)
		}
		got := packets(t, file)
		for kind, n := range want {
			// A range ends with whole segments in HLS, and with the frame in MP4.
			if len(got[kind]) < len(n) || strings.Join(got[kind][:len(n)], " ") != strings.Join(n, " ") {
				t.Errorf("%s: %d %s frames, record.mp4 has %d; the sizes of the first: %v and %v", with, len(got[kind]), kind, len(n), head(got[kind]), head(n))
			}
		}
		harness.Row(t, "frames in "+with+" (Chromium)", 0, "%d pictures and %d of sound, each of record.mp4's in order", len(got["video"]), len(got["audio"]))
	}
}

func head(x []string) []string { return x[:min(8, len(x))] }

// packets lists the sizes of the packets of a file, by kind of stream.
func packets(t *testing.T, address string) map[string][]string {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), time.Minute)
	defer stop()
	out, err := exec.CommandContext(ctx, "ffprobe", "-v", "error", "-show_entries", "packet=codec_type,size", "-of", "csv=p=0", address).Output()
	if err != nil {
		t.Fatalf("%s: %v", address, err)
	}
	m := map[string][]string{}
	for _, l := range strings.Fields(string(out)) {
		kind, size, _ := strings.Cut(strings.TrimSuffix(l, ","), ",")
		m[kind] = append(m[kind], size)
	}
	return m
}
