package stream

import (
	"log/slog"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/schedule"
)

func week(t *testing.T, text string) *schedule.Week {
	t.Helper()
	w, err := schedule.Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	return &w
}

// gated is a stream with a clock that follows the units it is fed.
type gated struct {
	*Stream
	t   *testing.T
	d   *fakeDriver
	rec *fakeRecorder
	now time.Time
	fed uint64
}

func newGated(t *testing.T, m Modes) *gated {
	g := &gated{t: t, d: &fakeDriver{}, rec: &fakeRecorder{}, now: start}
	g.Stream = New(Spec{Capture: Subscription{UID: "cam"}, Record: true, Modes: m}, Deps{Driver: g.d, Recorder: g.rec, Epoch: 1,
		Log: slog.New(slog.DiscardHandler), Now: func() time.Time { return g.now }, DriverKeeps: 10 * time.Second,
		LastEnd: func(string) (media.Wall, bool) {
			if n := len(g.rec.parts); n > 0 {
				return g.rec.parts[n-1].End, true
			}
			return 0, false
		}})
	if err := g.Start(); err != nil {
		t.Fatal(err)
	}
	g.d.sink.Opened(opened(1))
	return g
}

// to feeds the camera's units up to so long after the start.
func (g *gated) to(d time.Duration) {
	g.t.Helper()
	for end := uint64(d / (20 * time.Millisecond)); g.fed < end; g.fed++ {
		g.now = start.Add(time.Duration(g.fed) * 20 * time.Millisecond)
		if !g.d.sink.Units(units(g.fed, g.fed+1)) {
			g.t.Fatal("units were refused")
		}
	}
}

func secs(n float64) media.Wall {
	return media.WallOf(start.Add(time.Duration(n * float64(time.Second))))
}

// spans are the stretches the recorder has, seconds from the start, and a check
// that nothing is there twice or out of order.
func (g *gated) spans() (out [][2]float64) {
	g.t.Helper()
	s := g.rec.stored(media.RunID{1})
	for i, n := range s {
		at := float64(n) * 0.02
		switch {
		case i > 0 && n <= s[i-1]:
			g.t.Fatalf("unit %d follows %d", n, s[i-1])
		case i > 0 && n == s[i-1]+1:
			out[len(out)-1][1] = at + 0.02
		default:
			out = append(out, [2]float64{at, at + 0.02})
		}
	}
	return out
}

// acked is how far the driver may forget, in seconds.
func (g *gated) acked() float64 {
	var n uint64
	for _, a := range g.d.acks {
		n = max(n, a.Next(1))
	}
	return float64(n) * 0.02
}

func within(t *testing.T, what string, got, lo, hi float64) {
	t.Helper()
	if got < lo || got > hi {
		t.Errorf("%s: %.2f s, want %.2f to %.2f", what, got, lo, hi)
	}
}

func TestEventMode(t *testing.T) {
	g := newGated(t, Modes{Week: week(t, "event"), Pre: 5 * time.Second, Post: 4 * time.Second})
	g.to(30 * time.Second)
	if n := len(g.rec.parts); n != 0 {
		t.Fatalf("%d parts are recorded without an event", n)
	}
	// What an event might ask for stays in the driver.
	within(t, "acknowledged", g.acked(), 20, 25)
	if st := g.Status(); st.Recording || st.Mode != "event" || st.Why != "" {
		t.Errorf("%+v", st)
	}
	if k := g.Event(Event{Kind: "motion", At: secs(29)}); !k.Recorded || k.Pre != 5*time.Second {
		t.Fatalf("%+v", k)
	}
	if st := g.Status(); !st.Recording || st.Why != "event" {
		t.Errorf("%+v", st)
	}
	g.to(40 * time.Second)
	sp := g.spans()
	if len(sp) != 1 {
		t.Fatal(sp)
	}
	within(t, "begins", sp[0][0], 21, 24) // at or before 29 − 5, a segment at most
	within(t, "ends", sp[0][1], 33, 35.5) // at or behind 29 + 4
	if len(g.rec.ends) != 1 || g.rec.ends[0] != archive.GapOffSchedule || g.rec.whys[0] != archive.GapOffSchedule {
		t.Errorf("ends %v, why %v", g.rec.ends, g.rec.whys)
	}
	// The next one reaches back into what is recorded: nothing twice.
	g.Event(Event{Kind: "motion", At: secs(37)})
	g.to(50 * time.Second)
	if sp = g.spans(); len(sp) != 1 {
		t.Fatalf("a hole between events that touch: %v", sp)
	}
	within(t, "ends", sp[0][1], 41, 43.5)
	// One that goes on, extended by another kind.
	g.to(60 * time.Second)
	g.Event(Event{Kind: "motion", At: secs(60), Phase: Begins})
	g.Event(Event{Kind: "input", At: secs(65)})
	g.to(80 * time.Second)
	if k := g.Event(Event{Kind: "motion", At: secs(80), Phase: Ends}); !k.Recorded {
		t.Error("the end of an event is not known")
	}
	g.to(95 * time.Second)
	if sp = g.spans(); len(sp) != 2 {
		t.Fatal(sp)
	}
	within(t, "begins", sp[1][0], 52, 55)
	within(t, "ends", sp[1][1], 84, 86.5)
	if k := g.Event(Event{Kind: "motion", At: secs(95), Phase: Ends}); k.Recorded {
		t.Error("an event ended twice")
	}
}

// TestSchedule goes from off to continuous to event and back, by the clock.
func TestSchedule(t *testing.T) {
	// The test's start is a Sunday, 12:00 UTC.
	g := newGated(t, Modes{Week: week(t, "sun 12:01-12:02 continuous; sun 12:02-12:03 event"), Pre: 5 * time.Second, Post: 4 * time.Second})
	g.to(20 * time.Second)
	if k := g.Event(Event{Kind: "motion", At: secs(19)}); k.Recorded {
		t.Error("an event is recorded while the schedule says off")
	}
	g.to(58 * time.Second)
	within(t, "acknowledged while off", g.acked(), 57, 58)
	g.to(135 * time.Second)
	g.Event(Event{Kind: "motion", At: secs(133)})
	g.to(178 * time.Second)
	g.Event(Event{Kind: "motion", At: secs(178)})
	g.to(200 * time.Second)
	sp := g.spans()
	if len(sp) != 3 {
		t.Fatal(sp)
	}
	within(t, "continuous begins", sp[0][0], 57.5, 60)
	within(t, "continuous ends", sp[0][1], 120, 122.5)
	within(t, "first event begins", sp[1][0], 125.5, 128)
	within(t, "second event ends over the edge", sp[2][1], 182, 184.5)
	if st := g.Status(); st.Mode != "off" || st.Recording {
		t.Errorf("%+v", st)
	}
}

// TestModesChange: continuous → event → continuous without the capture or the
// footage of the continuous times noticing.
func TestModesChange(t *testing.T) {
	g := newGated(t, Modes{})
	g.to(11 * time.Second)
	g.SetModes(Modes{Week: week(t, "event"), Pre: 5 * time.Second, Post: 4 * time.Second})
	g.to(31 * time.Second)
	g.SetModes(Modes{})
	g.to(51 * time.Second)
	sp := g.spans()
	if len(sp) != 2 {
		t.Fatal(sp)
	}
	within(t, "begins", sp[0][0], 0, 0.01)
	within(t, "ends", sp[0][1], 11, 13)
	within(t, "begins again", sp[1][0], 28, 31)
	within(t, "goes on", sp[1][1], 50, 51)
}

// TestGoOn: a new process goes on with what an event had asked for, and takes
// from the driver what came meanwhile.
func TestGoOn(t *testing.T) {
	g := newGated(t, Modes{Week: week(t, "event"), Pre: 5 * time.Second, Post: 20 * time.Second})
	g.to(30 * time.Second)
	g.Event(Event{Kind: "motion", At: secs(29)})
	g.to(35 * time.Second)
	res, ok := g.rec.Resume()
	if !ok {
		t.Fatal("nothing to resume")
	}
	held := res.Positions.Next(1)

	next := New(Spec{Capture: Subscription{UID: "cam"}, Record: true, Modes: g.modes}, g.dep)
	next.GoOn(archive.EventMark{Kind: "motion", From: secs(29), To: secs(29), Pre: 5 * time.Second, Post: 20 * time.Second, Recorded: true})
	if err := next.Start(); err != nil {
		t.Fatal(err)
	}
	if p := g.d.sink.Positions(); len(p) != 1 || p[0].Next(1) != held {
		t.Fatalf("asks for %v, has %d", p, held)
	}
	g.d.sink.Opened(opened(1))
	g.fed = held
	g.to(70 * time.Second)
	sp := g.spans()
	if len(sp) != 1 {
		t.Fatal(sp)
	}
	within(t, "ends", sp[0][1], 49, 51.5)
	if st := next.Status(); st.Recording {
		t.Errorf("%+v", st)
	}
}

// TestEventBehind: storage that falls behind while an event is recorded gets
// everything again from the driver.
func TestEventBehind(t *testing.T) {
	g := newGated(t, Modes{Week: week(t, "event"), Pre: 5 * time.Second, Post: 20 * time.Second})
	g.to(30 * time.Second)
	g.rec.refuse = 1
	g.Event(Event{Kind: "motion", At: secs(29)})
	if !g.Status().Behind {
		t.Fatal("a refusal went unnoticed")
	}
	g.now = g.now.Add(3 * time.Second)
	g.Tick()
	if g.d.again != 1 {
		t.Fatal("not taken up again")
	}
	// The driver has kept what it was not allowed to forget.
	g.fed = uint64(g.acked()/0.02 + 0.5)
	o := opened(1)
	o.First[0].Next = g.fed
	g.d.sink.Opened(o)
	g.to(60 * time.Second)
	sp := g.spans()
	if len(sp) != 1 {
		t.Fatal(sp)
	}
	within(t, "begins", sp[0][0], 20, 25)
	within(t, "ends", sp[0][1], 49, 51.5)
}

func TestGateEvents(t *testing.T) {
	g := newGate(Modes{Week: week(t, "event"), Pre: 5 * time.Second, Post: 4 * time.Second})
	want := func(from, to float64) bool { return g.wanted(media.Span{From: secs(from), To: secs(to)}) }
	if want(0, 1) {
		t.Error("wanted without an event")
	}
	g.event(Event{Kind: "a", At: secs(10)}, secs(10))
	for _, c := range []struct {
		from, to float64
		want     bool
	}{{4, 5, false}, {4, 5.1, true}, {13.9, 15, true}, {14, 15, false}} {
		if want(c.from, c.to) != c.want {
			t.Errorf("%v", c)
		}
	}
	// An end that never comes.
	g.event(Event{Kind: "a", At: secs(100), Phase: Begins}, secs(100))
	if !want(3000, 3001) {
		t.Error("an event under way is not recorded")
	}
	g.event(Event{Kind: "b", At: secs(4000)}, secs(4000))
	if want(4100, 4101) {
		t.Error("an event goes on after an hour without a word")
	}
}
