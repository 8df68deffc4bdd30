package camera

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"

	"media-server/core/media"
	"media-server/plugins/internal/stamp"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

type got struct {
	unit media.AccessUnit
	tok  stamp.Token
	at   time.Time
}

// catcher is an Output that keeps everything.
type catcher struct {
	units []got
	net   Network
	plain int // units without token
}

func (c *catcher) Write(u media.AccessUnit) error {
	tok, _, ok := stamp.Find(u.Payload)
	if !ok {
		c.plain++
	}
	c.units = append(c.units, got{u, tok, time.Now()})
	return nil
}

func (c *catcher) Count(n Network) {
	c.net.Packets += n.Packets
	c.net.Lost += n.Lost
	c.net.Reordered += n.Reordered
	c.net.Bytes += n.Bytes
}

func (c *catcher) track(letter byte) (out []got) {
	for _, g := range c.units {
		if g.tok.Track == letter {
			out = append(out, g)
		}
	}
	return out
}

func all(media.Kind) bool { return true }

func settings(t *testing.T, url string) Settings {
	t.Helper()
	s, problems := Parse(url, "Gate_7", nil)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	return s
}

// bubble runs f with an engine in simulated time.
func bubble(t *testing.T, f func(t *testing.T, e *Engine)) {
	synctest.Test(t, func(t *testing.T) {
		e := New()
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); _ = e.Run(ctx) }()
		defer func() { cancel(); <-done }()
		f(t, e)
	})
}

func connect(t *testing.T, e *Engine, s Settings, patience time.Duration) (*Line, *catcher) {
	t.Helper()
	l, err := e.Connect("uid", s, all, patience)
	if err != nil {
		t.Fatal(err)
	}
	c := &catcher{}
	l.Start(c)
	return l, c
}

// check holds what must be true of every track of a well-behaved camera.
func check(t *testing.T, c *catcher, letter byte, want int, scale time.Duration) {
	t.Helper()
	g := c.track(letter)
	if d := len(g) - want; d < -5 || d > 5 {
		t.Errorf("%c: %d units, want %d", letter, len(g), want)
	}
	for i, u := range g {
		if late := u.at.Sub(u.tok.Time.Time()); late < 0 || late > 500*time.Millisecond {
			t.Fatalf("%c %d: delivered %v after capture", letter, u.tok.Number, late)
		}
		if u.unit.DTS > u.unit.PTS {
			t.Fatalf("%c %d: DTS %d > PTS %d", letter, u.tok.Number, u.unit.DTS, u.unit.PTS)
		}
		if i == 0 {
			continue
		}
		if u.tok.Number != g[i-1].tok.Number+1 || u.unit.DTS <= g[i-1].unit.DTS {
			t.Fatalf("%c: %d after %d, DTS %d after %d", letter, u.tok.Number, g[i-1].tok.Number, u.unit.DTS, g[i-1].unit.DTS)
		}
		ptsD := time.Duration(u.unit.PTS-g[0].unit.PTS) * scale
		if d := u.tok.Time.Sub(g[0].tok.Time) - ptsD; d < -time.Millisecond || d > time.Millisecond {
			t.Fatalf("%c %d: PTS and token drift apart by %v", letter, u.tok.Number, d)
		}
	}
}

func TestPlays(t *testing.T) {
	for _, tc := range []struct {
		url     string
		v, a, d int
		vt, at  time.Duration // a tick
	}{
		{"sim://", 750, 1406, 0, time.Second / 90000, time.Second / 48000},
		{"sim://?codec=h265&audio=pcma", 750, 1500, 0, time.Second / 90000, time.Second / 8000},
		{"sim://?codec=mjpeg&audio=opus&metadata=on", 150, 1500, 30, time.Second / 90000, time.Second / 48000},
		{"sim://?codec=none", 0, 1406, 0, 1, time.Second / 48000},
		{"sim://?b-frames=off&audio=opus", 750, 1500, 0, time.Second / 90000, time.Second / 48000},
		{"sim://?fps=1", 30, 1406, 0, time.Second / 90000, time.Second / 48000},
		{"sim://?gop=30s", 750, 1406, 0, time.Second / 90000, time.Second / 48000},
		{"sim://?fps=12.5&bitrate=2M", 375, 1406, 0, time.Second / 90000, time.Second / 48000},
	} {
		t.Run(tc.url, func(t *testing.T) {
			bubble(t, func(t *testing.T, e *Engine) {
				_, c := connect(t, e, settings(t, tc.url), 0)
				time.Sleep(30 * time.Second)
				synctest.Wait()
				if c.plain > 0 {
					t.Errorf("%d units without token", c.plain)
				}
				// A tick is rounded down to nanoseconds: 30 s × 1e-5.
				check(t, c, 'v', tc.v, tc.vt)
				check(t, c, 'a', tc.a, tc.at)
				check(t, c, 'd', tc.d, time.Second/90000)
				if strings.Contains(tc.url, "2M") {
					n := 0
					for _, u := range c.track('v') {
						n += len(u.unit.Payload)
					}
					if bits := n * 8 / 30; bits < 1900000 || bits > 2100000 {
						t.Errorf("%d bit/s", bits)
					}
				}
				if tc.v > 0 {
					first := c.track('v')[0]
					if tc.url != "sim://?gop=30s" && first.unit.NTP != first.tok.Time {
						t.Errorf("NTP %v, token %v", first.unit.NTP, first.tok.Time)
					}
				}
			})
		})
	}
}

func TestLedgerAgrees(t *testing.T) {
	path := filepath.Join(t.TempDir(), "sent.csv")
	total := 0
	for round := range 2 { // the second goes on where the first process ended
		bubble(t, func(t *testing.T, e *Engine) {
			_, c := connect(t, e, settings(t, "sim://gate?loss=2%&reorder=5%&metadata=on&ledger="+path), 0)
			time.Sleep(20 * time.Second)
			synctest.Wait()
			total += len(c.units)
			if c.net.Lost == 0 || c.net.Reordered == 0 || c.plain > 0 {
				t.Errorf("%+v", c.net)
			}
			b, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			lines := strings.Split(strings.TrimSuffix(string(b), "\n"), "\n")
			if len(lines) != total {
				t.Fatalf("round %d: %d lines, %d delivered", round, len(lines), total)
			}
			lines = lines[total-len(c.units):]
			for i, u := range c.units {
				key := 0
				if u.unit.Key {
					key = 1
				}
				want := fmt.Sprintf("gate,%c,%d,%d,%d,%d,", u.tok.Track, u.tok.Number, u.tok.Time, key, len(u.unit.Payload))
				if lines[i] != want {
					t.Fatalf("%q, want %q", lines[i], want)
				}
			}
			if g := c.track('v'); round == 1 && g[0].tok.Number < 400 {
				t.Errorf("numbers begin anew at %d", g[0].tok.Number)
			}
		})
	}
}

func TestDropAndAway(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		s := settings(t, "sim://?cue=5s:drop=2s")
		l, c := connect(t, e, s, 0)
		if err := l.Err(); !errors.Is(err, ErrDropped) {
			t.Fatal(err)
		}
		if _, err := e.Connect("uid", s, all, 0); !errors.Is(err, ErrUnreachable) {
			t.Fatal(err)
		}
		time.Sleep(3 * time.Second)
		_, c2 := connect(t, e, s, 0)
		time.Sleep(time.Second)
		synctest.Wait()
		a, b := c.track('v'), c2.track('v')
		lastA, firstB := a[len(a)-1], b[0]
		if n := firstB.tok.Number - lastA.tok.Number; n < 70 || n > 80 {
			t.Errorf("%d numbers passed in 3 s of absence", n)
		}
		if d := time.Duration(firstB.unit.PTS-lastA.unit.PTS) * time.Second / 90000; d < 2800*time.Millisecond || d > 3200*time.Millisecond {
			t.Errorf("PTS went on by %v", d)
		}
	})
}

func TestSilence(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		s := settings(t, "sim://?cue=5s:silence=2s,10s:silence=20s")
		start := time.Now()
		l, c := connect(t, e, s, 5*time.Second)
		if err := l.Err(); !errors.Is(err, ErrSilent) {
			t.Fatal(err)
		}
		if d := time.Since(start); d < 14900*time.Millisecond || d > 15200*time.Millisecond {
			t.Errorf("noticed after %v", d)
		}
		var longest time.Duration
		g := c.track('a')
		for i := range g[1:] {
			longest = max(longest, g[i+1].at.Sub(g[i].at))
		}
		if longest < 1900*time.Millisecond || longest > 2100*time.Millisecond {
			t.Errorf("silent for %v", longest)
		}
	})
}

func TestClocks(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		_, c := connect(t, e, settings(t, "sim://?clock-offset=1h&clock-drift=1000&audio=none&cue=100s:step=-2h,150s:jump=1h"), 0)
		time.Sleep(200 * time.Second)
		synctest.Wait()
		g := c.track('v')
		at := func(sec int) got {
			for _, u := range g {
				if u.at.Sub(g[0].at) >= time.Duration(sec)*time.Second {
					return u
				}
			}
			t.Fatal("too short")
			return got{}
		}
		near := func(what string, d, want time.Duration) {
			t.Helper()
			if d -= want; d < -5*time.Millisecond || d > 5*time.Millisecond {
				t.Errorf("%s: off by %v", what, d)
			}
		}
		near("offset", g[0].unit.NTP.Sub(g[0].tok.Time), time.Hour)
		u := at(90)
		near("drift", u.unit.NTP.Sub(u.tok.Time), time.Hour+90*time.Millisecond)
		u = at(120)
		near("step", u.unit.NTP.Sub(u.tok.Time), -time.Hour+120*time.Millisecond)
		u, v := at(140), at(160)
		near("jump", time.Duration(v.unit.PTS-u.unit.PTS)*time.Second/90000-v.tok.Time.Sub(u.tok.Time), time.Hour+20*time.Millisecond)
	})
}

func TestParameters(t *testing.T) {
	bubble(t, func(t *testing.T, e *Engine) {
		s := settings(t, "sim://?cue=5s:params-inband,10s:params,15s:nokey=5s,25s:rubbish=1s")
		l, c := connect(t, e, s, 0)
		if err := l.Err(); !errors.Is(err, ErrChanged) {
			t.Fatal(err)
		}
		check(t, c, 'v', 248, time.Second/90000)
		inband := 0
		for _, u := range c.track('v') {
			if u.unit.Payload[4]&31 == 7 {
				inband++
			}
		}
		if inband != 5 {
			t.Errorf("%d key frames with parameter sets", inband)
		}
		l2, c := connect(t, e, s, 0)
		if string(l2.Tracks[0].SPS) != string(l.Tracks[0].SPS) {
			t.Error("two changes do not lead back")
		}
		time.Sleep(20 * time.Second)
		synctest.Wait()
		keys := 0
		for _, u := range c.units {
			if u.unit.Key && u.unit.Track == 1 {
				keys++
			}
		}
		if keys < 13 || keys > 15 || c.plain < 23 || c.plain > 27 {
			t.Errorf("%d key frames, %d units of rubbish", keys, c.plain)
		}
	})
}

func TestRepeatable(t *testing.T) {
	var first []got
	for range 2 {
		bubble(t, func(t *testing.T, e *Engine) {
			_, c := connect(t, e, settings(t, "sim://?loss=3%&reorder=3%&seed=5"), 0)
			time.Sleep(10 * time.Second)
			synctest.Wait()
			if first == nil {
				first = c.units
				return
			}
			if len(first) != len(c.units) {
				t.Fatalf("%d and %d units", len(first), len(c.units))
			}
			for i, u := range c.units {
				if u.tok != first[i].tok || u.unit.PTS != first[i].unit.PTS || string(u.unit.Payload) != string(first[i].unit.Payload) {
					t.Fatalf("unit %d differs", i)
				}
			}
		})
	}
}

func TestControlAndEvents(t *testing.T) {
	e := New()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = e.Run(ctx) }()
	defer func() { cancel(); <-done }()
	path := filepath.Join(t.TempDir(), "s")
	l, _ := connect(t, e, settings(t, "sim://?control="+path), 0)

	events := make(chan Event, 10)
	go func() {
		_ = e.Events(ctx, func(ev Event) error { events <- ev; return nil })
	}()
	for { // Events has no way to tell that it listens
		e.mu.Lock()
		n := len(e.events)
		e.mu.Unlock()
		if n > 0 {
			break
		}
		time.Sleep(time.Millisecond)
	}
	c, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	r := bufio.NewReader(c)
	for _, tc := range []struct{ say, hear string }{
		{"gate-7 motion=10ms", "ok 1\n"},
		{"* fly", "error unknown cue \"fly\"\n"},
		{"nobody drop", "error no camera \"nobody\"\n"},
	} {
		fmt.Fprintln(c, tc.say)
		if got, _ := r.ReadString('\n'); got != tc.hear {
			t.Errorf("%q: %q", tc.say, got)
		}
	}
	for _, active := range []bool{true, false} {
		if ev := <-events; ev.UID != "uid" || ev.Kind != "motion" || ev.Active != active {
			t.Errorf("%+v", ev)
		}
	}
	fmt.Fprintln(c, "* drop")
	if err := l.Err(); !errors.Is(err, ErrDropped) {
		t.Error(err)
	}
}

func TestParseProblems(t *testing.T) {
	for _, tc := range []struct{ url, key string }{
		{"rtsp://x", "url"}, {"sim://?codec=vp9", "codec"}, {"sim://?audio=none&codec=none", "codec"},
		{"sim://?bitrate=2T", "bitrate"}, {"sim://?loss=200", "loss"}, {"sim://?nothing=1", "nothing"},
		{"sim://?cue=10s:fly", "cue"}, {"sim://?cue=drop", "cue"}, {"sim://?codec=h265&cue=1s:params", "cue"},
		{"sim://?gop=30s&codec=mjpeg", "gop"}, {"sim://?b-frames=off&codec=h265", "b-frames"}, {"sim://?ledger=here.csv", "ledger"}, {"sim://A_b", "name"},
		{"sim://?clock-drift=fast", "clock-drift"}, {"sim://?sr=maybe", "sr"}, {"sim://?fps=NaN", "fps"},
	} {
		_, p := Parse(tc.url, "u", nil)
		if len(p) != 1 || p[0].Key != tc.key || p[0].Hint == "" {
			t.Errorf("%s: %v", tc.url, p)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add("sim://?cue=10s:drop=1s,5s:step=-1h&bitrate=2M&fps=0.5&loss=1%25", "Gate")
	f.Fuzz(func(t *testing.T, url, uid string) {
		s, p := Parse(url, uid, nil)
		if len(p) == 0 && !stamp.ValidCamera(s.Name) {
			t.Fatalf("name %q", s.Name)
		}
	})
}

// BenchmarkEngine: CPU and allocations a unit, 100 cameras of 2 Mbit/s.
func BenchmarkEngine(b *testing.B) {
	e := New()
	s, _ := Parse("sim://?bitrate=2M", "c", nil)
	sink := &discard{}
	now := time.Now()
	for i := range 100 {
		s.Name = fmt.Sprint("c", i)
		l, err := e.Connect("u", s, all, 0)
		if err != nil {
			b.Fatal(err)
		}
		l.Start(sink)
	}
	b.ReportAllocs()
	for b.Loop() { // one tick of 20 ms
		now = now.Add(20 * time.Millisecond)
		e.turn(now)
	}
	b.ReportMetric(float64(sink.n)/float64(b.N), "units/op")
}

type discard struct{ n int }

func (d *discard) Write(media.AccessUnit) error { d.n++; return nil }
func (d *discard) Count(Network)                {}
