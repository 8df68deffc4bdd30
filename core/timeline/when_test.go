package timeline

import (
	"testing"
	"time"
)

func TestParseTime(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	for _, c := range []struct {
		in   string
		want string // RFC 3339 UTC; empty = error
	}{
		{"2026-03-01T08:00:00Z", "2026-03-01T08:00:00Z"},
		{"2026-03-01T08:00:00+02:00", "2026-03-01T06:00:00Z"},
		{"2026-03-01T08:00:00 02:00", "2026-03-01T06:00:00Z"},
		{"2026-03-01 08:00:00", "2026-03-01T07:00:00Z"},
		{"2026-03-01T08:00", "2026-03-01T07:00:00Z"},
		{"2026-10-25T02:30:00", "2026-10-25T00:30:00Z"}, // occurs twice: the first
		{"2026-03-01", "2026-02-28T23:00:00Z"},
		{"1772352000", "2026-03-01T08:00:00Z"},
		{"1772352000.250", "2026-03-01T08:00:00.25Z"},
		{"1772352000250", "2026-03-01T08:00:00.25Z"},
		{"now", "2026-03-01T12:00:00Z"},
		{"-2h", "2026-03-01T10:00:00Z"},
		{"-90", "2026-03-01T11:58:30Z"},
		{"", ""}, {"yesterday", ""}, {"-", ""}, {"1e400", ""}, {"99999999999999999999", ""},
		{"1969-01-01T00:00:00Z", ""}, {"--2h", ""},
	} {
		got, err := ParseTime(c.in, now, berlin)
		if (err != nil) != (c.want == "") {
			t.Errorf("%q: %v, %v", c.in, got, err)
			continue
		}
		if err == nil && got.Time().Format(time.RFC3339Nano) != c.want {
			t.Errorf("%q = %s, want %s", c.in, got.Time().Format(time.RFC3339Nano), c.want)
		}
	}
}

func TestParseSpan(t *testing.T) {
	for in, want := range map[string]time.Duration{
		"30": 30 * time.Second, "1.5": 1500 * time.Millisecond, "500ms": 500 * time.Millisecond,
		"2h": 2 * time.Hour, "1h30m": 90 * time.Minute, "10d": 240 * time.Hour, "4w": 28 * 24 * time.Hour,
		"": -1, "h": -1, "3x": -1, "-5": -1, "999999999999w": -1, "NaN": -1,
	} {
		got, err := ParseSpan(in)
		if want < 0 {
			if err == nil {
				t.Errorf("%q = %v, want an error", in, got)
			}
		} else if err != nil || got != want {
			t.Errorf("%q = %v, %v, want %v", in, got, err, want)
		}
	}
}

func FuzzParseTime(f *testing.F) {
	f.Add("2026-03-01T08:00:00 02:00")
	f.Add("-2h")
	f.Add("1772352000.25")
	f.Fuzz(func(t *testing.T, s string) {
		if w, err := ParseTime(s, time.Unix(1772352000, 0), time.UTC); err == nil && w < 0 && s[0] != '-' {
			t.Errorf("%q = %d", s, w)
		}
		ParseSpan(s)
	})
}
