package schedule

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Mode is what is recorded.
type Mode uint8

// Modes.
const (
	Off        Mode = iota // nothing
	Event                  // around events
	Continuous             // always
)

var names = []string{"off", "event", "continuous"}

func (m Mode) String() string { return names[m] }

// Week is a weekly schedule; what no range covers is Off. The zero value is
// always Off.
type Week struct {
	always  Mode // without ranges
	ranges  []span
	written string
}

// span is a range of a week, minutes from Monday 00:00; the last that covers an
// instant counts.
type span struct {
	from, to int // to may lie behind the end of the week
	mode     Mode
}

const (
	dayMinutes  = 24 * 60
	weekMinutes = 7 * dayMinutes
)

// Always is a schedule that never changes.
func Always(m Mode) Week { return Week{always: m, written: m.String()} }

// String is what was parsed.
func (w Week) String() string { return w.written }

// Changes tells whether the schedule ever says something else than at first.
func (w Week) Changes() bool { return len(w.ranges) > 0 }

// SyntaxError tells what is wrong in a schedule, and from which byte on.
type SyntaxError struct {
	At         int
	What, Hint string
}

func (e *SyntaxError) Error() string { return e.What + "; " + e.Hint }

const example = "write for example mon-fri 08:00-18:00 continuous; sat,sun event"

// Parse reads entries separated by semicolons, each of days (mon-fri, sat,sun;
// none = every day), a time (08:00-18:00; none = all day; 22:00-06:00 goes on
// into the next day) and a mode (continuous, event, off). Where entries overlap
// the later one counts. The error is a *SyntaxError.
func Parse(text string) (Week, error) {
	w := Week{written: text}
	at := 0
	for _, entry := range strings.Split(text, ";") {
		if strings.TrimSpace(entry) != "" {
			if err := w.entry(entry, at); err != nil {
				return Week{}, err
			}
		}
		at += len(entry) + 1
	}
	if len(w.ranges) == 0 {
		return Week{}, &SyntaxError{0, "the schedule is empty", example}
	}
	return w, nil
}

func (w *Week) entry(text string, at int) error {
	days, from, to := []int{0, 1, 2, 3, 4, 5, 6}, 0, dayMinutes
	mode, hasMode, hasDays, hasTime := Off, false, false, false
	rest := text
	for rest != "" {
		trimmed := strings.TrimLeft(rest, " \t")
		pos := at + len(text) - len(trimmed)
		if trimmed == "" {
			break
		}
		word, after, _ := strings.Cut(strings.ReplaceAll(trimmed, "\t", " "), " ")
		rest = after
		lower := strings.ToLower(word)
		var err error
		switch i := slices.Index(names, lower); {
		case hasMode:
			return &SyntaxError{pos, fmt.Sprintf("%q stands behind the mode", word), "separate entries by ;"}
		case i >= 0:
			mode, hasMode = Mode(i), true
		case lower[0] >= '0' && lower[0] <= '9':
			if hasTime {
				return &SyntaxError{pos, fmt.Sprintf("a second time, %q", word), "write an entry for each, separated by ;"}
			}
			hasTime = true
			from, to, err = parseTimes(word, pos)
		default:
			if hasDays || hasTime {
				return &SyntaxError{pos, fmt.Sprintf("%q is not understood", word), "an entry is days, a time and a mode: continuous, event or off"}
			}
			hasDays = true
			days, err = parseDays(lower, pos)
		}
		if err != nil {
			return err
		}
	}
	if !hasMode {
		return &SyntaxError{at, fmt.Sprintf("%q has no mode", strings.TrimSpace(text)), "end it with continuous, event or off"}
	}
	for _, d := range days {
		w.ranges = append(w.ranges, span{d*dayMinutes + from, d*dayMinutes + to, mode})
	}
	return nil
}

var dayNames = []string{"mon", "tue", "wed", "thu", "fri", "sat", "sun"}

func parseDays(text string, at int) (days []int, err error) {
	day := func(name string) (int, error) {
		if i := slices.Index(dayNames, name); i >= 0 {
			return i, nil
		}
		return 0, &SyntaxError{at, fmt.Sprintf("%q is no day", name), "days: " + strings.Join(dayNames, ", ")}
	}
	for _, part := range strings.Split(text, ",") {
		first, last, isRange := strings.Cut(part, "-")
		a, err := day(first)
		if err != nil {
			return nil, err
		}
		b := a
		if isRange {
			if b, err = day(last); err != nil {
				return nil, err
			}
		}
		for d := a; ; d = (d + 1) % 7 { // fri-mon goes over the end of the week
			days = append(days, d)
			if d == b {
				break
			}
		}
	}
	return days, nil
}

func parseTimes(text string, at int) (from, to int, err error) {
	a, b, ok := strings.Cut(text, "-")
	bad := func(s string) error {
		return &SyntaxError{at, fmt.Sprintf("%q is no time of day", s), "write for example 08:00-18:00"}
	}
	if !ok {
		return 0, 0, bad(text)
	}
	if from, ok = clock(a); !ok || from == dayMinutes {
		return 0, 0, bad(a)
	}
	if to, ok = clock(b); !ok {
		return 0, 0, bad(b)
	}
	if to <= from {
		to += dayMinutes
	}
	return from, to, nil
}

// clock reads HH:MM, up to 24:00.
func clock(s string) (int, bool) {
	h, m, ok := strings.Cut(s, ":")
	hh, err1 := strconv.Atoi(h)
	mm, err2 := strconv.Atoi(m)
	if !ok || err1 != nil || err2 != nil || len(h) > 2 || len(m) != 2 || hh < 0 || mm < 0 || mm > 59 || hh*60+mm > dayMinutes {
		return 0, false
	}
	return hh*60 + mm, true
}

// At is what the schedule says at t, by the clock of t's location.
func (w Week) At(t time.Time) Mode {
	if len(w.ranges) == 0 {
		return w.always
	}
	minute := (int(t.Weekday())+6)%7*dayMinutes + t.Hour()*60 + t.Minute()
	mode := Off
	for _, r := range w.ranges {
		if minute >= r.from && minute < r.to || minute+weekMinutes < r.to {
			mode = r.mode
		}
	}
	return mode
}

// Next is the first instant after t at which the schedule says something else
// than at t; zero = never.
func (w Week) Next(t time.Time) time.Time {
	if len(w.ranges) == 0 {
		return time.Time{}
	}
	now := w.At(t)
	var next time.Time
	try := func(c time.Time) {
		if c.After(t) && (next.IsZero() || c.Before(next)) && w.At(c) != now {
			next = c
		}
	}
	for _, c := range w.edges(t) {
		try(c)
	}
	return next
}

// edges are the instants within nine days after t at which something may
// change: the edges of ranges, and where the clock itself is put forward or
// back. An edge in a doubled hour happens twice.
func (w Week) edges(t time.Time) (out []time.Time) {
	y, m, d := t.Date()
	monday := d - (int(t.Weekday())+6)%7
	var shifts []time.Duration
	for c := t; ; {
		_, end := c.ZoneBounds()
		if end.IsZero() || end.Sub(t) > 9*24*time.Hour {
			break
		}
		_, before := end.Add(-time.Second).Zone()
		_, after := end.Zone()
		shifts = append(shifts, time.Duration(before-after)*time.Second)
		out = append(out, end)
		c = end
	}
	if start, _ := t.ZoneBounds(); !start.IsZero() && t.Sub(start) < 3*time.Hour {
		_, before := start.Add(-time.Second).Zone()
		_, after := start.Zone()
		shifts = append(shifts, time.Duration(before-after)*time.Second)
	}
	for week := -1; week <= 1; week++ {
		for _, r := range w.ranges {
			for _, minute := range [2]int{r.from, r.to} {
				e := time.Date(y, m, monday+7*week+minute/dayMinutes, 0, minute%dayMinutes, 0, 0, t.Location())
				out = append(out, e)
				for _, s := range shifts {
					out = append(out, e.Add(s), e.Add(-s))
				}
			}
		}
	}
	return out
}
