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
	var open struct{ Items []struct{ UID, Why string } }
	if _, err := s.Call("GET", "backfill", &open); err != nil || len(open.Items) < 2 {
		t.Errorf("open gaps: %+v %v", open, err)
	}
	harness.Row(t, "why is there no video", 0, "%d gaps explained with cause, remedy and events; of %.1f s expected today %.1f s recorded, %.1f s missing (%v)", asked, x.Expected, x.Recorded, x.Missing, x.Causes)
}
