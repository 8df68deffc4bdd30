package browser

import (
	"fmt"
	"image/color"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

// TestPages walks through the pages with one server, as starting servers and
// browsers is what takes time.
func TestPages(t *testing.T) {
	s := harness.New(t, harness.Options{Ini: "[auth]\nlockout = 1m\n"})
	s.Put("demo", "stream-name = Demo", "stream-url = sim://", "stream-access = public")
	s.Put("torn", "stream-name = Torn", "stream-url = sim://?cue=4s:drop=2s", "stream-access = private")
	s.Put("quay", "stream-name = Quay", "stream-url = sim://?codec=h265&audio=pcma")
	s.Put("phone", "stream-name = Telephone", "stream-url = sim://?codec=none&audio=pcma")
	s.Put("odd", "stream-name = Odd", "stream-url = foo://somewhere")
	s.Put("broken", "stream-url = sim://", "dvr-duratoin = 1d")
	s.Put("off", "stream-name = "+strings.Repeat("A very long name ", 9), "stream-enable = false", "stream-url = sim://")
	for i := range 43 {
		s.Put(fmt.Sprintf("idle%02d", i), "stream-enable = false", "stream-url = sim://")
	}
	s.Start()
	b := cdp.Start(t)
	t.Run("first login", func(t *testing.T) { firstLogin(t, s, b) })
	if t.Failed() {
		return
	}
	p := b.Page(t)
	login(p, s, "#demo")
	for _, step := range []struct {
		name string
		run  func(*cdp.Page, *harness.Server)
	}{
		{"live", live}, {"list", listed}, {"problems", problems}, {"why there is no picture", noPicture}, {"sound of a telephone", telephone},
		{"names for readers", names}, {"phone", phone}, {"zones", zones}, {"the past", past}, {"quick hands", quick}, {"across a hole", hole}, {"switched off", switchedOff},
		{"killed server", killed}, {"lost session", expired},
	} {
		t.Run(step.name, func(t *testing.T) { p.T = t; step.run(p, s); p.Quiet() })
		p.T = t
		if t.Failed() {
			return
		}
	}
	t.Run("frame of another site", func(t *testing.T) { framed(t, s, b) })
}

// firstLogin is a newcomer's: first password, a change that is forced, the
// picture.
func firstLogin(t *testing.T, s *harness.Server, b *cdp.Browser) {
	p := b.Page(t)
	p.Go(s.HTTP + "/")
	p.Wait("the hint where the password lies", "document.querySelector('.hint')?.textContent.includes('first-password')")
	p.Shot("login")
	enter(p, "wrong password")
	p.Wait("words about the wrong password", "document.querySelector('.error').textContent.includes('wrong')")
	p.Quiet("401")
	first := firstPassword(t, s)
	enter(p, first)
	p.Wait("the change of the password", "document.querySelector('#password')")
	p.Shot("password")
	p.Type("[name=old]", "not it")
	p.Type("[name=new]", own)
	p.Type("[name=again]", own+"3")
	p.Key("Enter")
	p.Wait("words about the two that differ", "document.querySelector('.error').textContent.includes('differ')")
	p.Type("[name=again]", own)
	p.Key("Enter")
	p.Wait("words about the old password", "!document.querySelector('.error').hidden && !document.querySelector('.error').textContent.includes('differ')")
	p.Quiet("400")
	p.Type("[name=old]", first)
	p.Key("Enter")
	p.Wait("the first page", home)
	plays(p)
	p.Quiet()
}

// live: the picture of the stream in the address, close to the edge.
func live(p *cdp.Page, _ *harness.Server) {
	plays(p)
	p.Wait("the name", "document.querySelector('#title').textContent == 'Demo'")
	p.Wait("that it is live", "document.querySelector('#badge').textContent == 'Live'")
	p.Wait("the state", "document.querySelector('#chip').textContent.trim() == 'live'")
	p.Wait("the size of the picture", "/H.264 \\d+ × \\d+/.test(document.querySelector('#facts').textContent)")
	p.Wait("a picture on the card", "document.querySelector('#streams [href=\"#demo\"] canvas.has')")
	p.Shot("desktop")
	p.Key(" ")
	p.Wait("a pause", "document.querySelector('video').paused && document.querySelector('#pause').ariaLabel == 'Play'")
	p.Wait("that it says so", "document.querySelector('#badge').textContent == 'Paused'")
	p.Key(" ")
	plays(p)
}

// listed: fifty streams stay usable.
func listed(p *cdp.Page, s *harness.Server) {
	var n int
	p.Eval("document.querySelectorAll('#streams li').length", &n)
	if n != 49 { // the broken file is a problem, not a stream
		p.T.Errorf("%d streams are listed", n)
	}
	p.Type("#find", "torn")
	p.Wait("the one that was looked for", "[...document.querySelectorAll('#streams li')].filter(l => !l.hidden).length == 1")
	p.Type("#find", "nothing has this name")
	p.Wait("that none was found", "!document.querySelector('#none').hidden")
	p.Eval("(f => {f.value = ''; f.dispatchEvent(new Event('input'))})(document.querySelector('#find'))", nil)
	// A stream file dropped in appears by itself.
	s.Put("added", "stream-enable = false", "stream-url = sim://")
	p.Wait("the new stream", "document.querySelector('#streams [href=\"#added\"]')")
	s.Remove("added")
	p.Wait("that it is gone", "!document.querySelector('#streams [href=\"#added\"]')")
}

// problems stand with place and remedy, and lead to their stream.
func problems(p *cdp.Page, s *harness.Server) {
	p.Click("#problems-button")
	p.Wait("the broken file with its line", "/broken\\.ini:\\d+:\\d+/.test(document.querySelector('#problems-list').innerText)")
	p.Wait("the unknown scheme", "document.querySelector('#problems-list').innerText.includes('foo://')")
	p.Shot("problems")
	p.Click("#problems-list a[href='#odd']")
	p.Wait("why there is no picture", "document.querySelector('#veil').textContent.includes('foo://')")
	p.Eval("history.back()", nil)
	p.Wait("the stream before", "document.querySelector('#title').textContent == 'Demo'")
	plays(p)
	if err := os.Remove(s.Streams + "/broken.ini"); err != nil {
		p.T.Fatal(err)
	}
	var twice []string
	p.Eval(`[...document.querySelectorAll('#problems-list p')].map(e => e.innerText).filter(t => /[?!.]\.$/.test(t))`, &twice)
	for _, s := range twice {
		p.T.Errorf("a sentence ends twice: %s", s)
	}
	p.Wait("that a problem is gone", "!document.querySelector('#problems-list').innerText.includes('broken.ini')")
}

// noPicture: what browsers cannot play is named, with what can.
func noPicture(p *cdp.Page, _ *harness.Server) {
	for uid, words := range map[string][]string{
		"quay": {"cannot decode H.265", "VLC"}, "off": {"Switched off"}, "nowhere": {"no stream nowhere"},
	} {
		p.Eval(fmt.Sprintf("location.hash = %q", uid), nil)
		for _, w := range words {
			p.Wait(uid+": "+w, fmt.Sprintf("!document.querySelector('#veil').hidden && document.querySelector('#veil').textContent.includes(%q)", w))
		}
		p.Wait("no claim of a live picture", "document.querySelector('#badge').textContent == 'No picture'")
	}
	p.Eval("location.hash = 'demo'", nil)
	plays(p)
}

// telephone: G.711 alone, which no browser knows, is heard.
func telephone(p *cdp.Page, _ *harness.Server) {
	p.Eval("location.hash = 'phone'", nil)
	p.Wait("what there is", "!document.querySelector('#veil').hidden && document.querySelector('#veil').textContent.includes('Sound only')")
	p.Wait("sound that is decoded", "(v => v.currentTime > 1 && v.webkitAudioDecodedByteCount > 0)(document.querySelector('video'))")
	p.Eval("location.hash = 'demo'", nil)
	plays(p)
}

// names: everything that can be operated has a name.
func names(p *cdp.Page, _ *harness.Server) {
	var tree struct {
		Nodes []struct {
			Ignored    bool
			Role, Name struct{ Value any }
		}
	}
	p.Call("Accessibility.getFullAXTree", map[string]any{}, &tree)
	seen := 0
	for _, n := range tree.Nodes {
		switch n.Role.Value {
		case "button", "link", "slider", "textbox", "searchbox", "checkbox", "navigation", "region", "meter", "Date", "heading":
			seen++
			if n.Name.Value == nil || strings.TrimSpace(fmt.Sprint(n.Name.Value)) == "" {
				p.T.Errorf("a %v has no name", n.Role.Value)
			}
		}
	}
	if seen < 60 {
		p.T.Errorf("only %d elements were looked at", seen)
	}
}

// phone: nothing is wider than the screen, buttons are as large as a finger.
func phone(p *cdp.Page, _ *harness.Server) {
	p.Size(390, 844, true)
	defer p.Size(1440, 900, false)
	p.Wait("the phone's layout", "innerWidth == 390")
	for _, scene := range []string{"", "document.querySelector('#problems').showPopover()"} {
		if scene != "" {
			p.Eval(scene, nil)
		}
		var wide []string
		p.Eval(`document.documentElement.scrollWidth <= 390 ? [] : [...document.querySelectorAll('body *')].filter(e => e.getBoundingClientRect().right > 390 && !e.closest('#streams')).map(e => e.outerHTML.slice(0, 90))`, &wide)
		for _, w := range wide {
			p.T.Errorf("wider than the screen: %s", w)
		}
		p.Shot("phone")
	}
	p.Eval("document.querySelector('#problems').hidePopover()", nil)
	var small []string
	p.Eval(`[...document.querySelectorAll('.controls button')].filter(b => b.offsetHeight < 44 || b.offsetWidth < 40).map(b => b.outerHTML.slice(0, 60))`, &small)
	for _, b := range small {
		p.T.Errorf("too small for a finger: %s", b)
	}
}

// zones: days of 23 and 25 hours, clocks that change at midnight.
func zones(p *cdp.Page, _ *harness.Server) {
	for _, c := range []struct{ zone, date, start, next string }{
		{"Europe/Berlin", "2026-03-29", "2026-03-28T23:00:00Z", "2026-03-29T22:00:00Z"},
		{"Europe/Berlin", "2026-10-25", "2026-10-24T22:00:00Z", "2026-10-25T23:00:00Z"},
		{"Asia/Beirut", "2026-03-29", "2026-03-28T22:00:00Z", "2026-03-29T21:00:00Z"},
		{"America/Havana", "2026-11-01", "2026-11-01T04:00:00Z", "2026-11-02T05:00:00Z"},
		{"Australia/Lord_Howe", "2026-04-05", "2026-04-04T13:00:00Z", "2026-04-05T13:30:00Z"},
		{"Pacific/Kiritimati", "2026-01-01", "2025-12-31T10:00:00Z", "2026-01-01T10:00:00Z"},
		{"no such zone", "2026-01-01", "2026-01-01T00:00:00Z", "2026-01-02T00:00:00Z"},
	} {
		got := p.Text(fmt.Sprintf(`await (async () => { const { Zone } = await import("/cpanel/static/zone.js"); const z = new Zone(%q), a = z.startOf(%q);
			return [a, z.tomorrow(a), z.midnight(z.tomorrow(a) - 1)].map(t => new Date(t).toISOString().replace(".000", "")).join() })()`, c.zone, c.date))
		if want := c.start + "," + c.next + "," + c.start; got != want {
			p.T.Errorf("%s %s: %s, want %s", c.zone, c.date, got, want)
		}
	}
}

// framed: a public stream plays in a frame of another site and without a
// login; a private one says how to get in.
func framed(t *testing.T, s *harness.Server, b *cdp.Browser) {
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html")
		fmt.Fprintf(w, `<!doctype html><title>other</title><link rel="icon" href="data:,"><iframe src="%s/live%s" width=640 height=360></iframe>`, s.HTTP, r.URL.Path)
	}))
	defer other.Close()
	p := b.Page(t)
	p.Go(strings.Replace(other.URL, "127.0.0.1", "localhost", 1) + "/demo/")
	s.Until("the picture in the frame", func() bool {
		seen, img := map[color.Color]bool{}, p.Picture()
		for x := 20; x < 640; x += 10 {
			seen[img.At(x, 180)] = true
		}
		return len(seen) > 20
	})
	p.Quiet()
	p.Go(s.HTTP + "/live/demo/")
	plays(p)
	p.Quiet()
	p.Go(s.HTTP + "/live/torn/")
	p.Wait("words about the login", "document.querySelector('#veil').textContent.includes('not public') && document.querySelector('#veil a').textContent == 'Log in'")
	if p.Text("document.title") != "torn" {
		t.Error("the page tells a stranger the title of a private stream")
	}
	p.Quiet("401")
}
