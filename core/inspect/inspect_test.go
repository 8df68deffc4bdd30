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

// TestNoMidnight: where a clock is put forward at midnight the day begins at
// 01:00, and the month still has all its days. time.Date errs to one side east
// of Greenwich and to the other west of it.
func TestNoMidnight(t *testing.T) {
	for name, c := range map[string]struct {
		month time.Month
		day   int
		begin string
	}{
		"Africa/Cairo":     {4, 24, "2026-04-24T01:00:00+03:00"},
		"America/Santiago": {9, 6, "2026-09-06T01:00:00-03:00"},
	} {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		hs := Hours(time.Date(2026, c.month, c.day, 12, 0, 0, 0, zone))
		if begin := hs[0].Time().In(zone).Format(time.RFC3339); len(hs)-1 != 23 || begin != c.begin {
			t.Errorf("%s: %d hours from %s", name, len(hs)-1, begin)
		}
		if hs := Hours(time.Date(2026, c.month, c.day-1, 12, 0, 0, 0, zone)); len(hs)-1 != 24 {
			t.Errorf("%s: the day before has %d hours", name, len(hs)-1)
		}
		ds := Days(time.Date(2026, c.month, 30, 12, 0, 0, 0, zone))
		if len(ds)-1 != 30 || ds[c.day].Sub(ds[c.day-1]) != 23*time.Hour || ds[c.day-1].Sub(ds[c.day-2]) != 24*time.Hour {
			t.Errorf("%s: %d days, the %dth of %s", name, len(ds)-1, c.day, ds[c.day].Sub(ds[c.day-1]))
		}
	}
}

func TestOffSchedule(t *testing.T) {
	off := []media.Span{span("2026-03-06 18:00", "2026-03-09 08:00"), span("2026-03-09 18:00", "2026-03-10 08:00")} // a weekend, a night
	for _, c := range []struct {
		name     string
		from, to string
		why      archive.GapCause
		want     string
	}{
		{"lost on Friday, back on Monday", "2026-03-06 17:00", "2026-03-09 09:00", archive.GapCameraLost, "1h0m0s camera_lost 62h0m0s off_schedule 1h0m0s camera_lost"},
		{"within the weekend", "2026-03-07 17:00", "2026-03-07 18:00", archive.GapDriver, "1h0m0s off_schedule"},
		{"within a day", "2026-03-09 09:00", "2026-03-09 10:00", archive.GapDriver, "1h0m0s driver"},
		{"over both", "2026-03-08 08:00", "2026-03-10 09:00", archive.GapServerDown, "24h0m0s off_schedule 10h0m0s server_down 14h0m0s off_schedule 1h0m0s server_down"},
		{"switched off is told before the schedule", "2026-03-06 17:00", "2026-03-09 09:00", archive.GapDisabled, "64h0m0s disabled"},
	} {
		var got []string
		for _, g := range OffSchedule([]archive.Gap{{Span: span(c.from, c.to), State: "open", Why: c.why}}, off) {
			got = append(got, g.Span.Duration().String()+" "+string(g.Why))
		}
		if g := strings.Join(got, " "); g != c.want {
			t.Errorf("%s: %s, want %s", c.name, g, c.want)
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
		{"a gap of a track that ended early", "2026-03-02 10:14", func(_ *Stream, f *Footage) { f.Gaps[0].Span.From = wall("2026-03-02 10:13") }, false, archive.GapCameraLost, "from 2026-03-02 10:13:00"},
		{"off schedule", "2026-03-02 19:00", nil, false, archive.GapOffSchedule, "schedule"},
		{"the future", "2026-03-03 10:20", nil, false, WhyFuture, "future"},
		{"before everything", "2026-03-01 10:20", nil, false, WhyNever, "oldest footage is of 2026-03-02 06:30:00"},
		{"taken by a rule", "2026-02-18 10:20", nil, false, WhyExpired, "10.0 days"},
		{"before it was added", "2026-02-18 10:20", func(s *Stream, _ *Footage) { s.Added = wall("2026-03-01 09:00") }, false, WhyNever, "added at 2026-03-01 09:00:00"},
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

// TestCut: an answer made of a window says when it is not whole.
func TestCut(t *testing.T) {
	life := span("2026-03-01 00:00", "2026-03-05 00:00")
	for _, c := range []struct {
		name string
		a    Answer
		w    media.Span
		want bool
	}{
		{"inside", Answer{Span: span("2026-03-02 10:00", "2026-03-02 11:00"), Before: 1, After: 2}, span("2026-03-02 00:00", "2026-03-03 00:00"), false},
		{"begins before", Answer{Recorded: true, Span: span("2026-03-02 00:00", "2026-03-02 11:00")}, span("2026-03-02 00:00", "2026-03-03 00:00"), true},
		{"ends behind", Answer{Recorded: true, Span: span("2026-03-02 10:00", "2026-03-03 00:00")}, span("2026-03-02 00:00", "2026-03-03 00:00"), true},
		{"all there is", Answer{Recorded: true, Span: life}, span("2026-02-01 00:00", "2026-04-01 00:00"), false},
		{"a gap without neighbours", Answer{Span: span("2026-03-02 10:00", "2026-03-02 11:00"), After: 2}, span("2026-03-02 00:00", "2026-03-03 00:00"), true},
		{"the future", Answer{Why: WhyFuture}, span("2026-03-04 00:00", "2026-03-06 00:00"), false},
	} {
		if got := c.a.Cut(c.w, life); got != c.want {
			t.Errorf("%s: %v", c.name, got)
		}
	}
}

// TestEveryCauseHasWords: nobody is told "driver".
func TestEveryCauseHasWords(t *testing.T) {
	unknown, _ := sentence(archive.GapUnknown)
	for _, c := range []archive.GapCause{archive.GapCameraLost, archive.GapCameraSilent, archive.GapDriver, archive.GapServerDown, archive.GapDiskFull,
		archive.GapDiskError, archive.GapDeleted, archive.GapDamaged, archive.GapKeyDestroyed, archive.GapOffSchedule, archive.GapDisabled} {
		if what, hint := sentence(c); what == unknown || hint == "" {
			t.Errorf("%s: %q, %q", c, what, hint)
		}
	}
}
