package inspect

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata"

	"media-server/core/archive"
	"media-server/core/media"
)

var berlin = func() *time.Location {
	l, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		panic(err)
	}
	return l
}()

func wall(s string) media.Wall {
	t, err := time.ParseInLocation("2006-01-02 15:04", s, berlin)
	if err != nil {
		panic(err)
	}
	return media.WallOf(t)
}

func span(from, to string) media.Span { return media.Span{From: wall(from), To: wall(to)} }

func footage() Footage {
	return Footage{Life: span("2026-03-02 06:30", "2026-03-02 20:00"),
		Ranges: []archive.Range{{Span: span("2026-03-02 06:30", "2026-03-02 10:15"), Kind: "recorded"}, {Span: span("2026-03-02 10:45", "2026-03-02 18:00"), Kind: "recorded"}},
		Gaps: []archive.Gap{{Span: span("2026-03-02 10:15", "2026-03-02 10:45"), State: "open", Why: archive.GapCameraLost},
			{Span: span("2026-03-02 18:00", "2026-03-02 20:00"), State: "open", Why: archive.GapOffSchedule}}}
}

func TestSum(t *testing.T) {
	bs := Sum(footage(), Hours(wall("2026-03-02 12:00").Time().In(berlin)))
	if len(bs) != 24 {
		t.Fatal(len(bs))
	}
	for h, want := range map[int][3]time.Duration{5: {0, 0, 0}, 6: {30, 30, 0}, 7: {60, 60, 0}, 10: {60, 30, 30}, 17: {60, 60, 0}, 18: {0, 0, 0}, 21: {0, 0, 0}} {
		b := bs[h]
		if b.Expected != want[0]*time.Minute || b.Recorded != want[1]*time.Minute || b.Missing != want[2]*time.Minute {
			t.Errorf("hour %d: %+v", h, b)
		}
	}
	if bs[10].Causes[archive.GapCameraLost] != 30*time.Minute || bs[11].Causes != nil {
		t.Errorf("%v %v", bs[10].Causes, bs[11].Causes)
	}
	month := Sum(footage(), Days(wall("2026-03-15 12:00").Time().In(berlin)))
	if len(month) != 31 || month[1].Expected != 11*time.Hour+30*time.Minute || month[1].Recorded+month[1].Missing != month[1].Expected || month[2].Expected != 0 {
		t.Errorf("%d days, %+v", len(month), month[1])
	}
}

func TestDaysOfClockChange(t *testing.T) {
	for day, hours := range map[string]int{"2026-03-28 12:00": 24, "2026-03-29 12:00": 23, "2026-10-25 12:00": 25} {
		if n := len(Hours(wall(day).Time().In(berlin))) - 1; n != hours {
			t.Errorf("%s has %d hours, want %d", day, n, hours)
		}
	}
}

func TestWhy(t *testing.T) {
	now := wall("2026-03-02 20:00")
	s := Stream{Bounds: span("2026-03-02 06:30", "2026-03-02 18:00"), Kept: 10 * 24 * time.Hour, By: "dvr-duration", Now: now}
	for _, c := range []struct {
		name, at string
		change   func(*Stream, *Footage)
		recorded bool
		why      archive.GapCause
		text     string
	}{
		{"recorded", "2026-03-02 12:00", nil, true, "", "10:45:00 to 2026-03-02 18:00:00"},
		{"a gap", "2026-03-02 10:20", nil, false, archive.GapCameraLost, "30m0s): the camera could not be reached"},
		{"off schedule", "2026-03-02 19:00", nil, false, archive.GapOffSchedule, "schedule"},
		{"the future", "2026-03-03 10:20", nil, false, WhyFuture, "future"},
		{"before everything", "2026-03-01 10:20", nil, false, WhyNever, "oldest footage is of 2026-03-02 06:30:00"},
		{"taken by a rule", "2026-02-18 10:20", nil, false, WhyExpired, "10.0 days"},
		{"never recorded", "2026-03-02 10:20", func(s *Stream, f *Footage) { *s, *f = Stream{Now: now}, Footage{} }, false, WhyNever, "never been recorded"},
		{"behind the end", "2026-03-02 19:00", func(_ *Stream, f *Footage) { f.Gaps = nil }, false, archive.GapUnknown, "nothing has been recorded since"},
		{"a moment ago", "2026-03-02 20:00", func(s *Stream, f *Footage) { s.Live, f.Gaps = true, nil }, false, WhyNotYet, "on its way"},
	} {
		t.Run(c.name, func(t *testing.T) {
			st, f := s, footage()
			if c.change != nil {
				c.change(&st, &f)
			}
			a := Why(wall(c.at), f, st, berlin)
			if a.Recorded != c.recorded || a.Why != c.why || !strings.Contains(a.Text, c.text) {
				t.Errorf("%+v", a)
			}
		})
	}
	a := Why(wall("2026-03-02 10:20"), footage(), s, berlin)
	if a.Before != wall("2026-03-02 10:15") || a.After != wall("2026-03-02 10:45") || a.Hint == "" {
		t.Errorf("%+v", a)
	}
}

// TestEveryCauseHasWords: nobody is told "driver".
func TestEveryCauseHasWords(t *testing.T) {
	unknown, _ := sentence(archive.GapUnknown)
	for _, c := range []archive.GapCause{archive.GapCameraLost, archive.GapCameraSilent, archive.GapDriver, archive.GapServerDown, archive.GapDiskFull,
		archive.GapDiskError, archive.GapDeleted, archive.GapDamaged, archive.GapOffSchedule, archive.GapDisabled} {
		if what, hint := sentence(c); what == unknown || hint == "" {
			t.Errorf("%s: %q, %q", c, what, hint)
		}
	}
}
