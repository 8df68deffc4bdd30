package accept

import (
	"fmt"
	"math"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/test/accept/harness"
)

// TestWhyIsThereNoVideo asks about instants with and without footage, and adds
// the day up.
func TestWhyIsThereNoVideo(t *testing.T) {
	t.Parallel()
	s := harness.New(t, harness.Options{Restart: "1s"})
	s.Sim("gate", "cue=9s:drop=3s", "dvr-chunk = 2s")
	s.Put("gone", "stream-url = rtsp://127.0.0.1:1/none", "stream-access = public")
	s.Start()
	footage(s, "gate")
	time.Sleep(4 * time.Second) // real cameras take real time
	killed := time.Now()
	s.KillPlugin("sim")
	s.Past(killed.UnixMilli()+1500, "gate")
	// Two gaps can be listed while the tracks of a new run come in one by one:
	// the one that is waited for is named.
	s.Until("the camera to be lost and back", func() bool {
		return slices.ContainsFunc(s.Footage("gate").Gaps, func(g harness.Span) bool { return g.Why == "camera_lost" })
	})
	why := func(uid string, at time.Time) (r struct {
		Recorded        bool
		Why, Text, Hint string
		Before          int64 `json:"nearest_before"`
		After           int64 `json:"nearest_after"`
		Events          []harness.Event
	}) {
		t.Helper()
		if _, err := s.Call("GET", "streams/"+uid+"/why?at="+url.QueryEscape(at.Format(time.RFC3339Nano)), &r); err != nil {
			t.Error(err)
		}
		return r
	}
	f := s.Footage("gate")
	asked := 0
	for _, g := range f.Gaps {
		r := why("gate", time.UnixMilli((g.From+g.To)/2))
		if r.Recorded || r.Why != g.Why || r.Hint == "" || r.Before == 0 || r.After == 0 || len(r.Events) == 0 {
			t.Errorf("in the gap of %s: %+v", g.Why, r)
		}
		asked++
	}
	if r := why("gate", time.UnixMilli(f.Ranges[0].From+500)); !r.Recorded {
		t.Errorf("in a range: %+v", r)
	}
	if r := why("gate", time.UnixMilli(f.Ranges[0].From).Add(-time.Hour)); r.Why != "never" {
		t.Errorf("before everything: %+v", r)
	}
	if r := why("gone", time.Now()); r.Why != "never" || !strings.Contains(r.Text, "never") {
		t.Errorf("of a camera that never answered: %+v", r)
	}
	var day struct {
		Items []struct {
			UID                         string
			Expected, Recorded, Missing float64
			Causes                      map[string]float64
			Buckets                     []struct{ Expected float64 }
		}
	}
	if _, err := s.Call("GET", "inspection?uid=gate", &day); err != nil {
		t.Fatal(err)
	}
	if len(day.Items) != 1 {
		t.Fatalf("%+v", day)
	}
	x := day.Items[0]
	if len(x.Buckets) < 23 || x.Missing <= 0 || math.Abs(x.Expected-x.Recorded-x.Missing) > 1.5 || x.Causes["driver"] <= 0 {
		t.Errorf("the day: %+v", x)
	}
	day.Items = nil
	if _, err := s.Call("GET", "inspection?uid=gone", &day); err != nil || len(day.Items) != 1 || day.Items[0].Missing < 5 || day.Items[0].Recorded != 0 || day.Items[0].Causes["camera_lost"] < 5 {
		t.Errorf("the day of a camera that never answered: %+v %v", day, err)
	}
	out, code := verb(t, "why", "gate", "--at", fmt.Sprint((f.Gaps[0].From+f.Gaps[0].To)/2), "-c", s.Conf)
	if code != 0 || !strings.Contains(out, "Nothing from") {
		t.Errorf("media-server why: %d %s", code, out)
	}
	if out, code = verb(t, "status", "-c", s.Conf); code != 0 || !strings.Contains(out, "of video expected") || !strings.Contains(out, "most of it of gone") {
		t.Errorf("media-server status: %d %s", code, out)
	}
	lasted := outage(t, s)
	harness.Row(t, "why is there no video", 0, "%d gaps explained with cause, remedy and events; of %.1f s expected today %.1f s recorded, %.1f s missing (%v); an outage of %v was listed while it went on, and is one gap", asked, x.Expected, x.Recorded, x.Missing, x.Causes, lasted)
}

// outage takes a camera away for longer than it takes to count: it is missing
// in every list meanwhile, and one gap when it is back.
func outage(t *testing.T, s *harness.Server) time.Duration {
	t.Helper()
	s.Sim("dark", "cue=5s:drop=16s", "dvr-chunk = 2s")
	footage(s, "dark")
	type gap struct {
		UID, Why, State string
		From, To        int64
	}
	open := func(uid string) (of []gap) {
		var all struct{ Items []gap }
		if _, err := s.Call("GET", "backfill", &all); err != nil {
			t.Error(err)
		}
		for _, g := range all.Items {
			if g.UID == uid {
				of = append(of, g)
			}
		}
		return of
	}
	tail := func(uid string) bool {
		asked := time.Now().UnixMilli()
		gs := s.Footage(uid).Gaps
		return len(gs) > 0 && gs[len(gs)-1].To > asked-1000
	}
	if gs := open("gone"); len(gs) != 1 || gs[0].Why != "camera_lost" || gs[0].State != "open" || !tail("gone") {
		t.Errorf("open gaps of a camera that never answered: %+v; its ranges: %+v", gs, s.Footage("gone"))
	}
	if gs := open("gate"); len(gs) < 2 {
		t.Errorf("open gaps of gate: %+v", gs)
	}
	s.Until("the outage to be listed", func() bool { return s.Stream("dark").State == "lost" && tail("dark") })
	f := s.Footage("dark")
	if gs := open("dark"); len(f.Gaps) != 1 || f.Gaps[0].Why != "camera_lost" || f.Gaps[0].From != f.Ranges[len(f.Ranges)-1].To ||
		len(gs) != 1 || gs[0].From != f.Gaps[0].From || gs[0].Why != "camera_lost" || gs[0].State != "open" {
		t.Errorf("while the camera is off: ranges.json %+v, the list of all %+v", f, gs)
	}
	if out, code := verb(t, "ranges", "dark", "-c", s.Conf); code != 0 || !strings.Contains(out, "missing: camera_lost (open)") {
		t.Errorf("media-server ranges: %d %s", code, out)
	}
	for _, list := range []string{"/live/dark/media.m3u8", fmt.Sprintf("/dvr/dark/media.m3u8?from=%d", f.Ranges[0].From)} {
		if code, text := s.Get(s.HTTP + list); code != 200 || strings.Contains(text, "EXT-X-GAP") {
			t.Errorf("%s while the camera is off: %d\n%s", list, code, text)
		}
	}
	var then harness.Footage
	s.Until("the camera to be back", func() bool {
		then = s.Footage("dark")
		if len(then.Gaps) == 0 {
			t.Errorf("a moment without the gap: %+v", then)
		}
		return len(then.Ranges) == 2 && then.Ranges[1].To-then.Ranges[1].From > 2000
	})
	if len(then.Gaps) != 1 || then.Gaps[0].Why != "camera_lost" || then.Gaps[0].From > f.Gaps[0].From || then.Gaps[0].To > then.Ranges[1].From+500 {
		t.Errorf("the camera is back: %+v, was %+v", then, f)
	}
	return time.Duration(then.Gaps[0].To-then.Gaps[0].From) * time.Millisecond
}
