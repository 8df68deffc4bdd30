package schedule

import (
	"errors"
	"strings"
	"testing"
	"time"
	_ "time/tzdata"
)

func at(t *testing.T, zone, s string) time.Time {
	t.Helper()
	loc, err := time.LoadLocation(zone)
	if err != nil {
		t.Fatal(err)
	}
	x, err := time.ParseInLocation("2006-01-02 15:04:05", s, loc)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestAt(t *testing.T) {
	for _, c := range []struct {
		week, when string
		want       Mode
	}{
		{"mon-fri 08:00-18:00 continuous; sat,sun event", "2026-03-02 08:00:00", Continuous},
		{"mon-fri 08:00-18:00 continuous; sat,sun event", "2026-03-02 07:59:59", Off},
		{"mon-fri 08:00-18:00 continuous; sat,sun event", "2026-03-02 18:00:00", Off},
		{"mon-fri 08:00-18:00 continuous; sat,sun event", "2026-03-01 00:00:00", Event},
		{"22:00-06:00 event", "2026-03-02 23:00:00", Event},
		{"22:00-06:00 event", "2026-03-02 05:59:59", Event},
		{"22:00-06:00 event", "2026-03-02 06:00:00", Off},
		{"sun 22:00-06:00 event", "2026-03-02 03:00:00", Event}, // over the end of the week
		{"sun 22:00-06:00 event", "2026-03-03 03:00:00", Off},
		{"fri-mon continuous", "2026-03-02 12:00:00", Continuous},
		{"fri-mon continuous", "2026-03-03 12:00:00", Off},
		{"event; mon-fri 08:00-18:00 continuous", "2026-03-02 09:00:00", Continuous},
		{"event; mon-fri 08:00-18:00 continuous", "2026-03-02 19:00:00", Event},
		{"continuous; sun off", "2026-03-01 19:00:00", Off},
		{"MON 00:00-24:00 Continuous", "2026-03-02 23:59:59", Continuous},
	} {
		w, err := Parse(c.week)
		if err != nil {
			t.Fatal(c.week, err)
		}
		if got := w.At(at(t, "Europe/Berlin", c.when)); got != c.want {
			t.Errorf("%s at %s: %v, want %v", c.week, c.when, got, c.want)
		}
	}
}

func TestParseErrors(t *testing.T) {
	for text, want := range map[string]struct {
		at   int
		what string
	}{
		"":                                  {0, "empty"},
		" ; ":                               {0, "empty"},
		"mon-fri 08:00-18:00":               {0, "no mode"},
		"mon event; tues continuous":        {11, `"tues" is no day`},
		"mon 8-18 event":                    {4, "no time of day"},
		"mon 08:00 event":                   {4, "no time of day"},
		"mon 08:00-25:00 event":             {4, "no time of day"},
		"mon 08:00-18:60 event":             {4, "no time of day"},
		"mon 24:00-08:00 event":             {4, "no time of day"},
		"mon 08:00-12:00 13:00-18:00 event": {16, "second time"},
		"mon event tue event":               {10, "behind the mode"},
		"mon tue event":                     {4, "not understood"},
		"sometimes":                         {0, "no day"},
	} {
		_, err := Parse(text)
		var e *SyntaxError
		if !errors.As(err, &e) || e.At != want.at || !strings.Contains(e.What, want.what) || e.Hint == "" {
			t.Errorf("%q: %+v, want at %d %q", text, err, want.at, want.what)
		}
	}
}

// TestNext walks through weeks minute by minute, those of both changes of the
// clock among them: Next must name the very minute, always.
func TestNext(t *testing.T) {
	for _, zone := range []string{"Europe/Berlin", "America/New_York", "Australia/Lord_Howe", "UTC", "Asia/Kolkata"} {
		for _, start := range []string{"2026-03-05 00:00:00", "2026-03-26 00:00:00", "2026-10-22 00:00:00", "2026-10-29 00:00:00", "2026-04-02 00:00:00", "2026-10-01 00:00:00"} {
			for _, text := range []string{"mon-fri 08:00-18:00 continuous; sat,sun event", "02:15-02:45 continuous", "sun 01:30-02:30 event; sun 02:30-03:30 continuous",
				"22:00-06:00 event", "00:00-02:00 continuous", "sat 23:00-03:00 continuous", "02:00-03:00 event"} {
				w, err := Parse(text)
				if err != nil {
					t.Fatal(err)
				}
				first := at(t, zone, start)
				var changes []time.Time
				last := w.At(first)
				for i := 1; i <= 8*dayMinutes; i++ {
					c := first.Add(time.Duration(i) * time.Minute)
					if m := w.At(c); m != last {
						changes, last = append(changes, c), m
					}
				}
				c := first
				for i, want := range changes {
					if got := w.Next(c); !got.Equal(want) {
						t.Fatalf("%s, %q: change %d after %s is at %s, told %s", zone, text, i, c, want, got)
					}
					c = want
				}
				// From the middle as well.
				for i, want := range changes {
					from := first
					if i > 0 {
						from = changes[i-1]
					}
					if got := w.Next(from.Add(want.Sub(from) / 2)); !got.Equal(want) {
						t.Fatalf("%s, %q: from the middle: %s, told %s", zone, text, want, got)
					}
				}
			}
		}
	}
	if n := Always(Continuous).Next(time.Now()); !n.IsZero() {
		t.Error(n)
	}
	if w, _ := Parse("continuous"); !w.Next(time.Now()).IsZero() {
		t.Error("a schedule of one entry changes")
	}
}

func FuzzParse(f *testing.F) {
	f.Add("mon-fri 08:00-18:00 continuous; sat,sun event")
	f.Fuzz(func(t *testing.T, text string) {
		w, err := Parse(text)
		var e *SyntaxError
		if err != nil && (!errors.As(err, &e) || e.At < 0 || e.At > len(text)) {
			t.Fatal(err)
		}
		if err == nil {
			now := time.Unix(1772000000, 0)
			if n := w.Next(now); !n.IsZero() && w.At(n) == w.At(now) {
				t.Fatal("no change at", n)
			}
		}
	})
}
