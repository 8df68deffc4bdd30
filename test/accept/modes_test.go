package accept

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"media-server/test/accept/harness"
	"media-server/test/ledger"
)

const (
	pre  = 4 * time.Second
	post = 3 * time.Second
)

// TestEventRecording: around events everything is there, elsewhere nothing is
// and the server says why; a core killed between an event and the end of its
// footage changes nothing of that.
func TestEventRecording(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s", Linger: "60s"})
	lines := []string{"dvr-mode = event", "dvr-pre = 4s", "dvr-post = 3s", "dvr-chunk = 3s"}
	told := harness.Camera{UID: "told", Sent: s.Sim("told", "", lines...)}
	moved := harness.Camera{UID: "moved", Sent: s.Sim("moved", "codec=h265&audio=pcma&cue=12s:motion=2s,34s:motion=2s", lines...)}
	s.Start()
	for _, uid := range []string{"told", "moved"} {
		s.Until(uid+" to be captured", func() bool { return s.Stream(uid).State == "active" })
	}
	began := time.Now()
	var at []time.Time
	tell := func() {
		t.Helper()
		at = append(at, happens(t, s, "told", `{"kind":"door","data":{"who":"anna"}}`))
	}
	time.Sleep(8 * time.Second) // real cameras take real time
	if f := s.Footage("told"); len(f.Ranges) > 0 {
		t.Errorf("without an event there is %+v", f.Ranges)
	}
	tell()
	s.Past(at[0].Add(post).UnixMilli(), "told")
	time.Sleep(8 * time.Second)
	for range harness.Pick(10, 2) { // killed while the footage of an event is being recorded
		tell()
		time.Sleep(300 * time.Millisecond)
		s.Kill()
		s.Start()
		s.Past(at[len(at)-1].Add(post).UnixMilli(), "told")
		time.Sleep(8 * time.Second)
	}
	if d := 40*time.Second - time.Since(began); d > 0 {
		time.Sleep(d) // the second motion and its footage
	}
	s.Until("the footage of motion", func() bool { return len(s.Footage("moved").Ranges) > 0 })
	for _, a := range at {
		covered(t, s, "told", a.Add(-pre), a.Add(post))
	}
	motions := 0
	for _, e := range s.Events("camera.motion") {
		if e.UID == "moved" && e.Data["active"] == true {
			from := time.UnixMilli(int64(e.Data["at_ms"].(float64)))
			covered(t, s, "moved", from.Add(-pre), from.Add(2*time.Second+post))
			motions++
		}
	}
	if motions == 0 {
		t.Error("no motion was reported")
	}
	line := ""
	for _, c := range []harness.Camera{told, moved} {
		f := s.Footage(c.UID)
		var kept time.Duration
		for _, r := range f.Ranges {
			kept += time.Duration(r.To-r.From) * time.Millisecond
			if r.Kind != "event" {
				t.Errorf("%s: a range of kind %q", c.UID, r.Kind)
			}
		}
		for _, g := range f.Gaps {
			if g.Why != "off_schedule" {
				t.Errorf("%s: a gap because of %q, not off_schedule", c.UID, g.Why)
			}
		}
		if most := time.Duration(len(at)) * (pre + post + 6*time.Second); kept > most {
			t.Errorf("%s: %v are kept of %d events", c.UID, kept, len(at))
		}
		c.Rules = ledger.Rules{From: f.Ranges[0].From * 1e6, To: f.Ranges[len(f.Ranges)-1].To*1e6 - int64(300*time.Millisecond), Head: 300 * time.Millisecond, Tail: 300 * time.Millisecond, GapSlack: 250 * time.Millisecond}
		line += fmt.Sprintf("; %s: %v kept, %s", c.UID, kept.Round(time.Second), s.Judge(c.UID, s.Account(c)))
	}
	harness.Row(t, "recording around events", 0, "%d events told (%d with a kill of the core behind them), %d motions%s", len(at), len(at)-1, motions, line)
}

// TestScheduleRecording: what the schedule wants is there to the last frame
// before the minute at which it says off, and nothing behind the segment that it
// lies in; the server says that nothing is missing. At the next change it records
// around events.
func TestScheduleRecording(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s"})
	edit(t, s, "[server]", "[server]\ntime-zone = Europe/Berlin")
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now().In(zone)
	off := now.Add(12 * time.Second).Truncate(time.Minute).Add(time.Minute) // time to begin
	event, end := off.Add(time.Minute), off.Add(3*time.Minute)
	clock := func(t time.Time) string { return t.Format("15:04") }
	// Every day: the test may run around midnight.
	week := fmt.Sprintf("mon-sun %s-%s continuous; mon-sun %s-%s event", clock(now.Add(-time.Hour)), clock(off), clock(event), clock(end))
	cam := harness.Camera{UID: "door", Sent: s.Sim("door", "", "dvr-mode = schedule", "dvr-schedule = "+week, "dvr-pre = 2s", "dvr-post = 2s", "dvr-chunk = 3s")}
	s.Start()
	footage(s, "door")
	time.Sleep(time.Until(off.Add(5 * time.Second))) // the clock on the wall
	s.Until("recording to end", func() bool { return !s.Stream("door").Recording })
	f := s.Footage("door")
	if n := len(f.Ranges); n != 1 {
		t.Fatalf("ranges %v", spans(f.Ranges))
	}
	// Whole segments are recorded: groups of pictures of a second, as many as make
	// two seconds. The last one began before the minute.
	const segment, gop, shown = 2000, 1000, 40
	if late := f.Ranges[0].To - off.UnixMilli(); late < -shown || late > segment+gop+shown {
		t.Errorf("it was recorded until %v, the schedule said off at %v", spans(f.Ranges), off)
	}
	if gaps := slices.DeleteFunc(f.Gaps, func(g harness.Span) bool { return g.Why == "off_schedule" }); len(gaps) > 0 {
		t.Errorf("gaps %v", spans(gaps))
	}
	var why struct {
		Recorded bool
		Why      string
	}
	s.Until("an answer to why there is nothing", func() bool { // behind the last segment, wherever that ends
		_, err := s.Call("GET", fmt.Sprintf("streams/door/why?at=%d", f.Ranges[0].To+1000), &why)
		return err == nil && !why.Recorded && why.Why == "off_schedule"
	})
	// The core dies while the schedule says off: nothing of that is recorded, or missed.
	s.Kill()
	s.Start()
	time.Sleep(2 * time.Second)
	line := fmt.Sprintf("off at %s: recorded to %+d ms of it", clock(off), f.Ranges[0].To-off.UnixMilli())
	if now := s.Footage("door").Ranges; len(now) != 1 || now[0].To != f.Ranges[0].To {
		t.Errorf("behind the end: %v", spans(now))
	}
	if harness.Pick(true, false) {
		time.Sleep(time.Until(event.Add(10 * time.Second)))
		if now := s.Footage("door").Ranges; len(now) != 1 {
			t.Errorf("without an event: %v", spans(now))
		}
		at := happens(t, s, "door", `{"kind":"door"}`)
		s.Until("the footage of the event", func() bool {
			return covers(s.Footage("door"), at.Add(-2*time.Second).UnixMilli(), at.Add(2*time.Second).UnixMilli())
		})
		line += ", then around an event"
	}
	cam.Rules = ledger.Rules{From: f.Ranges[0].From * 1e6, To: f.Ranges[0].To*1e6 - int64(300*time.Millisecond), Tail: -1, Gaps: map[string][]ledger.Gap{}}
	harness.Row(t, "recording by schedule", 0, "%s; %s", line, s.Judge("door", s.Account(cam)))
}

// happens tells a server of an event, and returns when it was, by the server's
// own account: what is kept before it begins at exactly that distance.
func happens(t *testing.T, s *harness.Server, uid, event string) time.Time {
	t.Helper()
	var m struct {
		Recorded bool
		At       int64
	}
	before := time.Now().UnixMilli()
	status, err := s.Send("POST", "streams/"+uid+"/event", event, &m)
	if after := time.Now().UnixMilli(); err != nil || status != 201 || !m.Recorded || m.At < before || m.At > after {
		t.Fatalf("the event, told between %d and %d, was answered %d %+v %v", before, after, status, m, err)
	}
	return time.UnixMilli(m.At)
}

// covered tells whether a stream has everything from one time to another.
func covered(t *testing.T, s *harness.Server, uid string, from, to time.Time) {
	t.Helper()
	for _, r := range s.Footage(uid).Ranges {
		if r.From <= from.UnixMilli() && r.To >= to.UnixMilli() {
			return
		}
	}
	t.Errorf("%s has not all from %s to %s: %+v", uid, from.Format("15:04:05.000"), to.Format("15:04:05.000"), spans(s.Footage(uid).Ranges))
}

func spans(ss []harness.Span) (out []string) {
	for _, x := range ss {
		out = append(out, time.UnixMilli(x.From).Format("15:04:05.000")+"-"+time.UnixMilli(x.To).Format("05.000")+" "+x.Kind+x.Why)
	}
	return out
}
