package browser

import (
	"fmt"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

// hlsPage makes a page of the server's own with a player that answers to window.hls.
func hlsPage(t *testing.T, s *harness.Server, b *cdp.Browser, uid, config string) *cdp.Page {
	t.Helper()
	listedLive(s, uid)
	p := b.Page(t)
	p.Go(s.HTTP + "/live/" + uid + "/?latency=normal")
	p.Eval(fmt.Sprintf(`(async () => {
		const { default: Hls } = await import("/cpanel/static/vendor/hls.light.min.mjs");
		document.body.replaceChildren();
		const v = document.body.appendChild(document.createElement("video"));
		v.muted = true;
		const h = window.hls = new Hls({enableWorker: false, %s});
		window.fatal = [];
		h.on(Hls.Events.ERROR, (_, d) => { if (d.fatal) window.fatal.push(d.details); });
		h.on(Hls.Events.MANIFEST_PARSED, () => v.play());
		h.loadSource("/live/%s/playlist.m3u8");
		h.attachMedia(v);
		return true;
	})()`, config, uid), nil)
	p.Wait("a picture that moves", "document.querySelector('video').currentTime > 1 && !document.querySelector('video').paused")
	return p
}

// listedLive waits until a stream has a live playlist: players give up at a 404.
func listedLive(s *harness.Server, uid string) {
	s.T.Helper()
	s.Until("a live playlist of "+uid, func() bool {
		code, _ := s.Get(s.HTTP + "/live/" + uid + "/media.m3u8")
		return code == 200
	})
}

// TestLowLatency: hls.js plays a live list by its parts, a few seconds behind the camera.
func TestLowLatency(t *testing.T) {
	s := harness.New(t, harness.Options{})
	s.Put("gate", "stream-url = sim://?bitrate=500k", "stream-access = public")
	s.Put("slow", "stream-url = sim://?bitrate=500k", "stream-access = public")
	s.Start()
	s.Active("gate", "slow")
	b := cdp.Start(t)
	latency := func(uid, config string) (behind float64, parts bool) {
		p := hlsPage(t, s, b, uid, config)
		p.Wait("ten seconds of it", "document.querySelector('video').currentTime - (window.began ??= document.querySelector('video').currentTime) > 10")
		p.Eval("(Date.now() - window.hls.playingDate.getTime()) / 1000", &behind)
		p.Eval("!!window.hls.latestLevelDetails.partList?.length", &parts)
		var fatal []string
		p.Eval("window.fatal", &fatal)
		if len(fatal) > 0 {
			t.Errorf("%s: %v", uid, fatal)
		}
		return behind, parts
	}
	low, parts := latency("gate", "")
	if !parts {
		t.Error("hls.js found no parts")
	}
	if low > 8 {
		t.Errorf("%.1f s behind the camera", low)
	}
	ordinary, _ := latency("slow", "lowLatencyMode: false")
	harness.Row(t, "low-latency HLS", 0, "hls.js shows a picture %.1f s after it was taken, without its low latency %.1f s", low, ordinary)
}

// TestSubStream: a camera's smaller stream is a second rendition; hls.js changes to it and
// back, the picture goes on at its time.
func TestSubStream(t *testing.T) {
	s := harness.New(t, harness.Options{})
	s.Put("gate", "stream-url = sim://?bitrate=2M", "stream-sub = small", "stream-access = public")
	s.Put("small", "stream-url = sim://?bitrate=200k", "stream-access = private")
	s.Start()
	s.Active("gate", "small")
	listedLive(s, "gate/sub")
	b := cdp.Start(t)
	p := hlsPage(t, s, b, "gate", "startLevel: 0")
	var levels int
	p.Eval("window.hls.levels.length", &levels)
	if levels != 2 {
		t.Fatalf("%d renditions", levels)
	}
	worst := 0.0
	for range harness.Pick(6, 2) {
		for _, level := range []int{1, 0} {
			p.Eval(fmt.Sprintf("(window.hls.nextLevel = %d, window.at = document.querySelector('video').currentTime, true)", level), nil)
			p.Wait(fmt.Sprintf("rendition %d", level), fmt.Sprintf("window.hls.currentLevel === %d && document.querySelector('video').currentTime > window.at + 3", level))
			var behind float64
			p.Eval("(Date.now() - window.hls.playingDate.getTime()) / 1000", &behind)
			worst = max(worst, behind)
			time.Sleep(500 * time.Millisecond)
		}
	}
	var fatal []string
	p.Eval("window.fatal", &fatal)
	if len(fatal) > 0 || worst > 15 {
		t.Errorf("%v, up to %.1f s behind", fatal, worst)
	}
	p.Quiet()
	harness.Row(t, "sub-stream as second rendition", 0, "hls.js changed between both and played on, at most %.1f s behind", worst)
}

// TestSixteenPlayers: sixteen live players in one page over plain HTTP all move, though
// the browser has six connections for them.
func TestSixteenPlayers(t *testing.T) {
	s := harness.New(t, harness.Options{})
	for i := range 4 {
		s.Put(fmt.Sprint("cam", i), "stream-url = sim://?bitrate=300k", "stream-access = public")
	}
	s.Start()
	s.Active("cam0", "cam1", "cam2", "cam3")
	for i := range 4 {
		listedLive(s, fmt.Sprint("cam", i))
	}
	b := cdp.Start(t)
	p := b.Page(t)
	p.Go(s.HTTP + "/live/cam0/")
	p.Size(1600, 1000, false)
	p.Eval(`(async () => {
		const { default: Hls } = await import("/cpanel/static/vendor/hls.light.min.mjs");
		document.body.replaceChildren();
		document.body.style.cssText = "display:grid;grid-template-columns:repeat(4,1fr);gap:4px";
		window.fatal = [];
		for (let i = 0; i < 16; i++) {
			const v = document.body.appendChild(document.createElement("video"));
			v.muted = true; v.style.width = "100%";
			const h = new Hls({enableWorker: false});
			h.on(Hls.Events.ERROR, (_, d) => { if (d.fatal) window.fatal.push(i + d.details); });
			h.on(Hls.Events.MANIFEST_PARSED, () => v.play());
			h.loadSource("/live/cam" + i % 4 + "/playlist.m3u8" + (i < 8 ? "?latency=normal" : ""));
			h.attachMedia(v);
		}
		return true;
	})()`, nil)
	all := "[...document.querySelectorAll('video')]"
	p.Wait("sixteen pictures", all+".every(v => v.currentTime > 0.5)")
	var least, most float64
	seconds := float64(harness.Pick(60, 15))
	p.Eval("(window.was = "+all+".map(v => v.currentTime), true)", nil)
	time.Sleep(time.Duration(seconds) * time.Second)
	p.Eval("Math.min(..."+all+".map((v, i) => v.currentTime - window.was[i]))", &least)
	p.Eval("Math.max(..."+all+".map((v, i) => v.currentTime - window.was[i]))", &most)
	var fatal []string
	p.Eval("window.fatal", &fatal)
	if least < seconds/2 || len(fatal) > 0 {
		t.Errorf("in %.0f s the slowest moved by %.1f s; %v", seconds, least, fatal)
	}
	p.Shot("sixteen")
	harness.Row(t, "16 players in one page", 0, "over plain HTTP: in %.0f s they moved by %.1f to %.1f s", seconds, least, most)
}
