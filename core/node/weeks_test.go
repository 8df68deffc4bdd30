package node

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"media-server/core/media"
	"media-server/core/stream"
)

// TestHours: each schedule says what was to be recorded while it was in force, by
// the clock of its own zone.
func TestHours(t *testing.T) {
	at := func(s string) media.Wall {
		x, err := time.Parse("2006-01-02 15:04", s)
		if err != nil {
			t.Fatal(err)
		}
		return media.WallOf(x)
	}
	ms := func(s string) int64 { return at(s).Milli() }
	day := media.Span{From: at("2026-03-02 00:00"), To: at("2026-03-03 00:00")} // a Monday
	for _, c := range []struct {
		name string
		ws   []week
		want string
	}{
		{"none known", nil, ""},
		{"all the time", []week{{}}, ""},
		{"since ever", []week{{Text: "08:00-18:00 continuous", Zone: "UTC"}}, "off 00:00-08:00 off 18:00-00:00"},
		{"another zone", []week{{Text: "08:00-18:00 continuous", Zone: "Europe/Berlin"}}, "off 00:00-07:00 off 17:00-00:00"},
		{"no zone", []week{{Text: "08:00-18:00 continuous", Zone: "No/Where"}}, "off 00:00-08:00 off 18:00-00:00"},
		{"begun at noon", []week{{}, {ms("2026-03-02 12:00"), "08:00-18:00 continuous", "UTC"}}, "off 18:00-00:00"},
		{"ended at noon", []week{{Text: "08:00-18:00 continuous", Zone: "UTC"}, {From: ms("2026-03-02 12:00")}}, "off 00:00-08:00"},
		{"of events", []week{{Text: "event", Zone: "UTC"}, {ms("2026-03-02 12:00"), "tue continuous", "UTC"}}, "off 12:00-00:00 event 00:00-12:00"},
		{"before and behind", []week{{Text: "off", Zone: "UTC"}, {From: ms("2026-03-01 12:00")}, {ms("2026-03-03 12:00"), "off", "UTC"}}, ""},
		{"of a later version", []week{{Text: "sometimes", Zone: "UTC"}}, ""},
	} {
		var got []string
		add := func(kind string, ss []media.Span) {
			for _, s := range ss {
				got = append(got, fmt.Sprintf("%s %s-%s", kind, s.From.Time().UTC().Format("15:04"), s.To.Time().UTC().Format("15:04")))
			}
		}
		off, event := hours(c.ws, day, time.UTC)
		add("off", off)
		add("event", event)
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %q, want %q", c.name, g, c.want)
		}
	}
}

// TestSchedulesAreRemembered: streams.json keeps the schedules of a stream, each from
// when it was in force on.
func TestSchedulesAreRemembered(t *testing.T) {
	dir, clock := t.TempDir(), time.Now().UnixMilli()
	k := readKnown(dir)
	none := func(string) (media.Wall, bool) { return 0, false }
	set := func(mode, text string) []week {
		t.Helper()
		c := stream.DefaultConfig()
		c.DVR.Mode, c.DVR.Schedule = mode, text
		if err := k.update(&Settings{Streams: map[string]*StreamSettings{"gate": {UID: "gate", Config: c}}}, none); err != nil {
			t.Fatal(err)
		}
		k = readKnown(dir)
		return k.m["gate"].Weeks
	}
	if ws := set("continuous", ""); len(ws) != 1 || ws[0] != (week{}) {
		t.Errorf("at first: %+v", ws)
	}
	for range 2 {
		if ws := set("schedule", "mon-fri continuous"); len(ws) != 2 || ws[1].Text != "mon-fri continuous" || ws[1].From < clock || ws[1].Zone == "" {
			t.Errorf("with a schedule: %+v", ws)
		}
	}
	time.Sleep(2 * time.Millisecond)
	if ws := set("event", ""); len(ws) != 3 || ws[2].Text != "event" || ws[2].From <= ws[1].From {
		t.Errorf("of events: %+v", ws)
	}

	var ws []week
	end := int64(0)
	lastEnd := func() int64 { return end }
	for i := range mostWeeks + 10 {
		ws = follow(ws, week{Text: fmt.Sprintf("%02d:%02d-24:00 continuous", i/60, i%60)}, clock+int64(i), lastEnd)
	}
	if len(ws) != mostWeeks || ws[0].From != 0 || ws[1].From != clock+11 || ws[mostWeeks-1].From != clock+mostWeeks+9 {
		t.Errorf("%d are kept: %+v", len(ws), ws[:2])
	}
	// The clock was a day ahead when it was changed: nothing is known of that day.
	all, mon, tue := week{}, week{Text: "mon continuous"}, week{Text: "tue continuous"}
	const day = 86_400_000
	ws = follow(follow([]week{all}, mon, clock+day, lastEnd), tue, clock, lastEnd)
	if len(ws) != 2 || ws[1] != (week{clock, tue.Text, ""}) {
		t.Errorf("behind a clock that was ahead: %+v", ws)
	}
	ws = follow(follow([]week{all}, mon, clock+day, lastEnd), mon, clock, lastEnd)
	if len(ws) != 2 || ws[1] != (week{clock, mon.Text, ""}) {
		t.Errorf("the same, behind a clock that was ahead: %+v", ws)
	}
	ws = follow(follow([]week{all}, mon, clock+5*day, lastEnd), mon, clock, lastEnd)
	if len(ws) != 2 || ws[1] != (week{clock, mon.Text, ""}) {
		t.Errorf("the same, behind a clock that was days ahead: %+v", ws)
	}
	if ws = follow(follow([]week{all}, mon, clock+day, lastEnd), all, clock, lastEnd); len(ws) != 1 {
		t.Errorf("as before, behind a clock that was ahead: %+v", ws)
	}
	// It began in 1970, and was changed before anybody had set it.
	end = clock
	ws = follow(follow([]week{all}, mon, clock-day, func() int64 { return 0 }), tue, 1000, lastEnd)
	if len(ws) != 3 || ws[1] != (week{clock - day, mon.Text, ""}) || ws[2] != (week{clock, tue.Text, ""}) {
		t.Errorf("by a clock that is far behind: %+v", ws)
	}
	if again := follow(ws, tue, 1000, lastEnd); len(again) != 3 || again[2].From != clock {
		t.Errorf("the same, by a clock that is far behind: %+v", again)
	}
}

// TestScheduleOfThatTime: an outage stays one though nothing would be recorded at
// that hour by the schedule of today.
func TestScheduleOfThatTime(t *testing.T) {
	n := newLive(t)
	hour := time.Hour
	d := n.add("gate", time.Now().Add(-6*hour), nil)
	d.send(1, time.Now().Add(-5*hour), 0, 200)
	d.sink.Closed(stream.Closed{Run: media.RunID{1}, Cause: stream.CauseLost})
	c := &n.streams.get("gate").set.Config
	c.DVR.Mode, c.DVR.Schedule = "schedule", "off"
	n.want("a schedule that nobody knows the beginning of", "gate", "")
	k := n.known.m["gate"]
	k.Weeks = []week{{}, {From: time.Now().Add(-hour).UnixMilli(), Text: "off", Zone: "UTC"}}
	n.known.m["gate"] = k
	n.want("one of an hour", "gate", "3h59m50s camera_lost")
}
