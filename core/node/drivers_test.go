package node

import (
	"context"
	"errors"
	"strings"
	"testing"

	"media-server/core/fault"
	"media-server/core/pluginhost"
)

// toyHost is a plugin host with driver sim, which may be off or silent.
type toyHost struct {
	off, silent bool
	asked       int
}

func (h *toyHost) Plugins() []pluginhost.Status {
	s := pluginhost.Status{Name: "sim", Kind: "driver", Schemes: []string{"sim"}, State: pluginhost.StateServing, PID: 7}
	if h.off {
		s.State = pluginhost.StateWaiting
	}
	return []pluginhost.Status{s}
}

func (h *toyHost) PluginFor(scheme string) (string, bool) { return "sim", scheme == "sim" }

func (h *toyHost) Schema(context.Context, string) (own, items []pluginhost.Key, err error) {
	h.asked++
	if h.silent {
		return nil, nil, errors.New("no answer")
	}
	return nil, []pluginhost.Key{{Name: "fps"}, {Name: "bitrate"}}, nil
}

func (h *toyHost) Validate(_ context.Context, _, url string, settings map[string]string) (ps fault.Problems, err error) {
	h.asked++
	if strings.Contains(url, "nowhere") {
		ps.Add(fault.Problem{Key: "url", What: "leads nowhere", Hint: "write sim://"})
	}
	if settings["fps"] == "0" {
		ps.Add(fault.Problem{Key: "fps", What: "is not a rate", Hint: "write 25"})
	}
	if settings["fpss"] != "" {
		ps.Add(fault.Problem{Key: "fpss", What: "unknown key", Hint: "known: fps, bitrate"})
	}
	return ps, nil
}

func TestDriverKeys(t *testing.T) {
	h := &toyHost{}
	d := newDriverChecks(h)
	p := newPlace(t, "streams.d/_defaults.ini", "[defaults]\ndriver-color = red\n", "streams.d/a.ini", "[a]\nstream-url = sim://\ndriver-fps = 5\n",
		"streams.d/b.ini", "[b]\nstream-url = other://h\n")
	p.drivers = func(st *StreamSettings) fault.Problems { return d.of(t.Context(), st) }
	s := p.good()

	// At the start nothing is known of drivers; once they are, the file is told.
	_, now := d.refresh(t.Context(), s)
	want := `streams.d/_defaults.ini:2:1: stream a: unknown key "driver-color" for driver sim; keys of driver sim: driver-fps, driver-bitrate
streams.d/b.ini:2:1: warning: no driver takes other://; install its plugin in [server] plugins-dir`
	if got := p.text(now); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	p.write("streams.d/_defaults.ini", "[defaults]\n")
	s, _ = p.next(s)

	// A change that the driver refuses leaves the last good settings.
	for text, want := range map[string]string{
		"driver-fpss = 9":               `streams.d/a.ini:3:1: unknown key "driver-fpss" for driver sim; did you mean "driver-fps"?`,
		"driver-fps = 0":                `streams.d/a.ini:3:1: driver-fps: is not a rate; write 25`,
		"stream-url = sim://nowhere":    `streams.d/a.ini:3:1: stream-url: leads nowhere; write sim://`,
		"stream-name = x\ndriver-zz = ": `streams.d/a.ini:4:1: unknown key "driver-zz" for driver sim; keys of driver sim: driver-fps, driver-bitrate`,
	} {
		url := "stream-url = sim://\n"
		if strings.Contains(text, "stream-url") {
			url = "\n"
		}
		p.write("streams.d/a.ini", "[a]\n"+url+text+"\n")
		next, got := p.next(s)
		if got != want || !next.Streams["a"].Stale || next.Streams["a"].Config.DriverKeys["fps"] != "5" || len(next.Refused["a"]) != 1 {
			t.Errorf("%s: got\n%s\nwant\n%s", text, got, want)
		}
		before := h.asked
		if _, again := p.next(next); again != got || h.asked != before {
			t.Errorf("%s: again %s, asked %d times more", text, again, h.asked-before)
		}
	}

	// A driver that does not run or answer refuses nothing.
	p.write("streams.d/a.ini", "[a]\nstream-url = sim://\ndriver-new = 1\n")
	for _, h := range []*toyHost{{off: true}, {silent: true}} {
		d = newDriverChecks(h)
		if next, got := p.next(s); got != "" || next.Streams["a"].Stale {
			t.Errorf("%+v: %s", h, got)
		}
		if p.next(s); h.asked > 1 {
			t.Errorf("a silent driver was asked %d times", h.asked)
		}
	}
}
