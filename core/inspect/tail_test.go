package inspect

import (
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

func words(gs []archive.Gap) string {
	var out []string
	for _, g := range gs {
		out = append(out, g.Span.From.Time().In(berlin).Format("15:04:05")+" "+g.Span.Duration().String()+" "+string(g.Why))
	}
	return strings.Join(out, ", ")
}

// TestTail: an outage that goes on is missing until now, and what has only not
// been listed yet is not. Footage ended on a Monday at 17:00.
func TestTail(t *testing.T) {
	from := wall("2026-03-02 17:00")
	off := []media.Span{span("2026-03-02 18:00", "2026-03-03 08:00")}
	event := []media.Span{span("2026-03-02 16:00", "2026-03-02 20:00")}
	for _, c := range []struct {
		name string
		is   Capture
		now  time.Duration // behind from
		last time.Duration // newest unit, behind from; 0 = none
		want string
		told string // of it in lists; "" = all
	}{
		{"off since an hour", Capture{}, time.Hour, 0, "17:00:00 1h0m0s camera_lost", ""},
		{"off since a moment", Capture{}, 9 * time.Second, 0, "", ""},
		{"started a moment ago", Capture{Begins: true}, time.Hour, 0, "", ""},
		{"healthy", Capture{Active: true, GoesOn: true}, 2 * time.Second, 2 * time.Second, "", ""},
		{"catching up with what its driver kept", Capture{Active: true, GoesOn: true}, time.Hour, 3 * time.Second, "", ""},
		{"a picture every 30 s", Capture{Active: true, GoesOn: true}, 59 * time.Second, 30 * time.Second, "", ""},
		{"units come and are not stored", Capture{Active: true, GoesOn: true}, time.Hour, time.Hour, "17:00:00 1h0m0s camera_lost", ""},
		{"back, and nothing is listed yet", Capture{Active: true}, time.Hour + 3*time.Second, time.Hour + time.Second, "17:00:00 1h0m1s camera_lost", ""},
		{"storage takes nothing, the driver keeps it", Capture{Active: true, Keeps: 20 * time.Second}, 19 * time.Second, time.Second, "", ""},
		{"storage takes nothing", Capture{Active: true, Keeps: 20 * time.Second}, time.Minute, time.Second, "17:00:00 1m0s camera_lost", ""},
		{"off over the night", Capture{Off: off}, 16 * time.Hour, 0, "17:00:00 1h0m0s camera_lost, 18:00:00 14h0m0s off_schedule, 08:00:00 1h0m0s camera_lost", ""},
		{"off since the evening", Capture{Off: off}, 3 * time.Hour, 0, "17:00:00 1h0m0s camera_lost, 18:00:00 2h0m0s off_schedule", "17:00:00 1h0m0s camera_lost"},
		{"back in the evening", Capture{Active: true, Off: off}, 3 * time.Hour, 3 * time.Hour, "17:00:00 1h0m0s camera_lost, 18:00:00 2h0m0s off_schedule", "17:00:00 1h0m0s camera_lost"},
		{"no event", Capture{Active: true, Event: event}, time.Hour, time.Hour, "17:00:00 1h0m0s off_schedule", "none"},
		{"no event, then off", Capture{Event: event}, time.Hour, 40 * time.Minute, "17:00:00 40m0s off_schedule, 17:40:00 20m0s camera_lost", ""},
		{"no event, and the server was restarted", Capture{Event: event, Watched: from.Add(40 * time.Minute)}, 40*time.Minute + 30*time.Second, 0, "17:00:00 40m0s off_schedule, 17:40:00 30s camera_lost", ""},
		{"no event, and the server was restarted just now", Capture{Event: event, Watched: from.Add(40 * time.Minute)}, 40*time.Minute + 9*time.Second, 0, "17:00:00 40m0s off_schedule", "none"},
		{"restarted, and catching up with what its driver kept", Capture{Active: true, GoesOn: true, Watched: from.Add(time.Hour)}, time.Hour + 2*time.Second, 3 * time.Second, "", ""},
		{"switched on again half an hour ago", Capture{Paused: []media.Span{{From: from.Add(time.Second), To: from.Add(30 * time.Minute)}}}, time.Hour, 0, "17:00:00 30m0s disabled, 17:30:00 30m0s camera_lost", ""},
		{"switched on again a moment ago", Capture{Paused: []media.Span{{From: from, To: from.Add(time.Hour)}}}, time.Hour + 9*time.Second, 0, "17:00:00 1h0m0s disabled", "none"},
		{"lost, then switched off, and on again in the evening", Capture{Off: off, Paused: []media.Span{{From: from.Add(30 * time.Minute), To: from.Add(2 * time.Hour)}}}, 3 * time.Hour, 0,
			"17:00:00 30m0s camera_lost, 17:30:00 1h30m0s disabled, 19:00:00 1h0m0s off_schedule", "17:00:00 30m0s camera_lost"},
	} {
		c.is.Now, c.is.Why = from.Add(c.now), archive.GapCameraLost
		if c.last > 0 {
			c.is.Newest = from.Add(c.last)
		}
		got := Tail(from, c.is)
		if words(got) != c.want {
			t.Errorf("%s: %q, want %q", c.name, words(got), c.want)
		}
		if c.told == "" {
			c.told = c.want
		}
		if told := words(Missed(got)); told != strings.TrimPrefix(c.told, "none") {
			t.Errorf("%s: %q is told, want %q", c.name, told, c.told)
		}
	}
}

// TestDisabled: what is missing while a stream was switched off was switched
// off, whatever a list says of it; files that are gone had been recorded.
func TestDisabled(t *testing.T) {
	from := wall("2026-03-02 17:00")
	at := func(a, b time.Duration) media.Span { return media.Span{From: from.Add(a), To: from.Add(b)} }
	paused := []media.Span{at(2*time.Second, time.Hour), at(4*time.Hour, 5*time.Hour), at(7*time.Hour, 8*time.Hour), at(10*time.Hour, 11*time.Hour)}
	gs := []archive.Gap{{Span: at(0, 2*time.Hour), Why: archive.GapCameraLost}, {Span: at(3*time.Hour, 270*time.Minute), Why: archive.GapUnknown},
		{Span: at(270*time.Minute, 280*time.Minute), Why: archive.GapDeleted},
		{Span: at(6*time.Hour, 9*time.Hour), Why: archive.GapDisabled}, {Span: at(10*time.Hour, 11*time.Hour+settle), Why: archive.GapDisabled}, {Span: at(12*time.Hour, 13*time.Hour), Why: archive.GapDisabled}}
	want := "17:00:00 1h0m0s disabled, 18:00:00 1h0m0s camera_lost, 20:00:00 1h0m0s unknown, 21:00:00 30m0s disabled, 21:30:00 10m0s deleted, " +
		"23:00:00 2h0m0s disabled, 01:00:00 1h0m0s unknown, 03:00:00 1h0m10s disabled, 05:00:00 1h0m0s disabled"
	if got := words(Disabled(gs, paused)); got != want {
		t.Errorf("%s, want %s", got, want)
	}
	// Between two pauses it was to be recorded: nobody knows what ailed it then.
	again := words(Disabled([]archive.Gap{{Span: at(0, 5*time.Hour), Why: archive.GapDisabled}}, []media.Span{at(0, time.Hour), at(3*time.Hour, 270*time.Minute)}))
	if want := "17:00:00 1h0m0s disabled, 18:00:00 2h0m0s unknown, 20:00:00 1h30m0s disabled, 21:30:00 30m0s unknown"; again != want {
		t.Errorf("%s, want %s", again, want)
	}
	if paused[0].From != from.Add(2*time.Second) {
		t.Error("the caller's list was changed")
	}
}
