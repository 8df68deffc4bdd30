package browser

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/browser/cdp"
)

// footage waits until a stream has some seconds of it.
func footage(p *cdp.Page, uid string, seconds int) {
	p.T.Helper()
	p.Wait(fmt.Sprintf("%d s of %s", seconds, uid), fmt.Sprintf(
		`await fetch("/api/v1/streams/%s/ranges").then(r => r.json()).then(r => r.stop - r.start > %d)`, uid, seconds*1000))
}

// timeline presses on the timeline at a moment, given as milliseconds.
func timeline(p *cdp.Page, ms float64) {
	p.T.Helper()
	var v struct{ From, To float64 }
	p.Eval("(t => ({From: t.ariaValueMin * 1000, To: t.ariaValueMax * 1000}))(document.querySelector('#timeline'))", &v)
	p.Click("#timeline", (ms-v.From)/(v.To-v.From))
}

// past: a press on the timeline plays that moment, and Live comes back.
func past(p *cdp.Page, _ *harness.Server) {
	footage(p, "demo", 16)
	var r struct{ Start, Stop float64 }
	p.Eval(`await fetch("/api/v1/streams/demo/ranges").then(r => r.json())`, &r)
	p.Wait("the timeline", "document.querySelector('#timeline').ariaValueMax > 0")
	timeline(p, r.Start+4000)
	p.Wait("the replay", "document.querySelector('#badge').textContent == 'Replay'")
	plays(p)
	p.Wait("the moment in the address", fmt.Sprintf("Math.abs(location.hash.split('@')[1] - %.0f) < 3500", r.Start+4000))
	p.Wait("its time over the picture", "/^\\d\\d:\\d\\d:\\d\\d$/.test(document.querySelector('#playing').textContent)")
	p.Shot("replay")
	p.Key("ArrowLeft")
	plays(p)
	p.Eval("globalThis.old = true; location.reload()", nil)
	p.Wait("the page again", "!globalThis.old && "+home+" && document.querySelector('#badge').textContent == 'Replay'")
	plays(p)
	p.Click("#live")
	p.Wait("live", "document.querySelector('#badge').textContent == 'Live'")
	plays(p)
}

// hole: what was lost is drawn with its cause, and playing goes on behind it.
func hole(p *cdp.Page, _ *harness.Server) {
	p.Eval("location.hash = 'torn'", nil)
	plays(p)
	var r struct {
		Gaps []struct {
			From, To float64
			Why      string
		}
	}
	p.Wait("the gap", `await fetch("/api/v1/streams/torn/ranges").then(r => r.json()).then(r => r.gaps.length > 0 && Date.now() - r.gaps[0].to > 12000)`)
	p.Eval(`await fetch("/api/v1/streams/torn/ranges").then(r => r.json())`, &r)
	g := r.Gaps[0]
	if g.Why != "camera_lost" {
		p.T.Errorf("the cause is %s", g.Why)
	}
	p.Wait("the gap on the timeline", "/gap/.test(document.querySelector('#summary').textContent)")
	p.Eval(fmt.Sprintf("location.hash = 'torn@%.0f'", g.From-1500), nil)
	p.Wait("the replay, before the hole", fmt.Sprintf("document.querySelector('#badge').textContent == 'Replay' && document.querySelector('#timeline').ariaValueNow * 1000 < %.0f", g.From))
	plays(p)
	p.Wait("a time behind the hole", fmt.Sprintf("document.querySelector('#badge').textContent == 'Replay' && document.querySelector('#timeline').ariaValueNow * 1000 > %.0f", g.To+500))
	plays(p)
	p.Eval("location.hash = 'demo'", nil)
	plays(p)
}

// switchedOff: what was not to be recorded is no gap on the timeline.
func switchedOff(p *cdp.Page, s *harness.Server) {
	torn := []string{"stream-name = Torn", "stream-url = sim://?cue=4s:drop=2s", "stream-access = private"}
	p.Eval("location.hash = 'torn'", nil)
	p.Wait("the gap before", "/^1 gap here/.test(document.querySelector('#summary').textContent)")
	s.Put("torn", append(torn, "dvr-enable = false")...)
	s.Until("torn to be recorded no more", func() bool { return !s.Stream("torn").Recording })
	p.Wait("some seconds", "await new Promise(done => setTimeout(() => done(true), 3000))")
	s.Put("torn", torn...)
	p.Wait("the pause", `await fetch("/api/v1/streams/torn/ranges").then(r => r.json()).then(r => r.gaps.some(g => g.why === "disabled") && r.ranges.at(-1).from >= r.gaps.at(-1).to)`)
	p.Eval("globalThis.old = true; location.reload()", nil)
	p.Wait("the page again", "!globalThis.old && "+home)
	plays(p)
	p.Wait("the gaps", "/ here, /.test(document.querySelector('#summary').textContent)")
	if got := p.Text("document.querySelector('#summary').textContent"); !strings.HasPrefix(got, "1 gap here") {
		p.T.Errorf("the summary says %q", got)
	}
	p.Eval("location.hash = 'demo'", nil)
	plays(p)
}

// killed: a page that was open when the core died shows so, recovers, and its
// player plays on without being loaded again.
func killed(p *cdp.Page, s *harness.Server) {
	plays(p)
	p.Eval("globalThis.stays = document.querySelector('video'); globalThis.lastEvent = document.querySelector('#events li time').dateTime", nil)
	p.Quiet()
	s.Kill()
	p.Wait("that the server is away", "!document.querySelector('#away').hidden")
	s.Start()
	p.Wait("that it is back", "document.querySelector('#away').hidden")
	p.Eval("globalThis.back = Date.now()", nil)
	plays(p)
	p.Wait("a picture of later", "document.querySelector('#playing').textContent && document.querySelector('#timeline').ariaValueNow * 1000 > back + 2000")
	p.Wait("the event of this start", "[...document.querySelectorAll('#events li')].some(l => l.innerText.includes('server started') && l.querySelector('time').dateTime > lastEvent)")
	p.Wait("the same page, live", "globalThis.stays === document.querySelector('video') && document.querySelector('#badge').textContent == 'Live'")
	p.Quiet("ERR_CONNECTION_REFUSED", "ERR_EMPTY_RESPONSE", "ERR_CONNECTION_RESET", "ERR_INCOMPLETE_CHUNKED", "ERR_CONTENT_LENGTH_MISMATCH", "503")
}

// quick: somebody who does the next thing before the answer to the last one is there,
// types a year digit by digit, or comes back to a page that nobody has looked at.
func quick(p *cdp.Page, _ *harness.Server) {
	var r struct{ Start float64 }
	p.Eval(`await fetch("/api/v1/streams/demo/ranges").then(r => r.json())`, &r)
	const mistyped = "(d => {d.value = '0026-11-29'; d.dispatchEvent(new Event('change'))})(document.querySelector('#day'))"
	p.Eval(mistyped, nil)
	p.Wait("a second", "await new Promise(done => setTimeout(() => done(true), 1000))")
	p.Eval("location.hash = '50%'", nil) // mistyped
	p.Wait("a second", "await new Promise(done => setTimeout(() => done(true), 1000))")
	p.Eval("location.hash = 'demo'", nil)
	p.Quiet()

	p.Slow("*/ranges?from=*", time.Second)
	p.Eval(fmt.Sprintf("location.hash = 'demo@%.0f'", r.Start-5*86400e3), nil) // has to be asked for
	p.Wait("the first wish", "document.querySelector('#badge').textContent == 'Replay'")
	p.Eval(fmt.Sprintf("location.hash = 'demo@%.0f'", r.Start+8000), nil)
	p.Wait("both answers", "await new Promise(done => setTimeout(() => done(true), 3000))")
	p.Slow("", 0)
	var at float64
	p.Eval("Number(location.hash.split('@')[1])", &at)
	if at < r.Start+7000 {
		p.T.Errorf("what plays begins %.0f ms behind the start of all footage, not 8000", at-r.Start)
	}
	plays(p)
	p.Click("#live")
	p.Wait("live", "document.querySelector('#badge').textContent == 'Live'")

	var from []float64
	p.Eval(`await (async () => {
		const {Footage} = await import("/cpanel/static/footage.js"), f = new Footage("demo"), seen = Date.now(), asked = [], real = fetch;
		globalThis.fetch = (u, i) => { asked.push(Number(/from=(\d+)/.exec(u)?.[1] ?? 0) - seen); return real(u, i); };
		await f.reach(seen - 3600e3, seen);
		await f.refresh(seen + 600e3);
		globalThis.fetch = real;
		return asked;
	})()`, &from)
	if last := slices.Max(from); last > 0 {
		p.T.Errorf("after ten minutes in which nobody looked, the first %.0f s of them are not asked for", last/1000)
	}
}

// expired: a session that ends leads to the login and back to the same stream, also
// for somebody who is quicker than the server.
func expired(p *cdp.Page, s *harness.Server) {
	p.Slow("*/login.js*", time.Second)
	p.Call("Network.clearBrowserCookies", map[string]any{}, nil)
	enter(p, own)
	p.Slow("", 0)
	p.Wait("the stream again", home+" && document.querySelector('#title').textContent == 'Demo'")
	plays(p)
	p.Quiet("401")
	p.Slow("*/vendor/*", 2*time.Second) // most of the page
	p.Eval("globalThis.old = true; location.reload()", nil)
	p.Wait("the page again", "!globalThis.old && document.querySelector('#logout')")
	p.Click("#logout")
	p.Wait("the login", "document.querySelector('#login')")
	p.Slow("", 0)
	p.Quiet("401")
}
