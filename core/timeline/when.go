package timeline

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"media-server/core/media"
)

// ParseTime reads a time as playback URLs and the command line write it:
// RFC 3339 (a space before the offset reads as the "+" a query string lost; no
// offset = loc, an hour that occurs twice = the first), Unix seconds (with
// fraction), Unix milliseconds (above 1e11), "now", or relative to now: "-2h",
// "-90s".
func ParseTime(s string, now time.Time, loc *time.Location) (media.Wall, error) {
	s = strings.TrimSpace(s)
	if s == "" {
		return 0, fmt.Errorf("empty time; allowed: %s", timeForms)
	}
	if s == "now" {
		return media.WallOf(now), nil
	}
	if s[0] == '-' {
		d, err := ParseSpan(s[1:])
		if err != nil {
			return 0, fmt.Errorf("time %q: %w", s, err)
		}
		return media.WallOf(now.Add(-d)), nil
	}
	if w, ok := parseUnix(s); ok {
		return w, nil
	}
	return parseCalendar(s, loc)
}

const timeForms = "2026-03-01T08:00:00Z, 2026-03-01T08:00:00 (server time), Unix seconds or milliseconds, now, -2h"

// parseUnix reads seconds (with fraction) or, above 1e11, milliseconds.
func parseUnix(s string) (media.Wall, bool) {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		switch {
		case n < 0 || n > math.MaxInt64/int64(time.Millisecond):
			return 0, false
		case n > 1e11:
			return media.WallMilli(n), true
		case n <= math.MaxInt64/int64(time.Second):
			return media.Wall(n * int64(time.Second)), true
		}
		return 0, false
	}
	whole, frac, ok := strings.Cut(s, ".")
	sec, err := strconv.ParseInt(whole, 10, 64)
	if !ok || err != nil || sec < 0 || sec > 1e10 || frac == "" || len(frac) > 9 {
		return 0, false
	}
	ns, err := strconv.ParseUint(frac+strings.Repeat("0", 9-len(frac)), 10, 64)
	if err != nil {
		return 0, false
	}
	return media.Wall(sec*int64(time.Second) + int64(ns)), true
}

func parseCalendar(s string, loc *time.Location) (media.Wall, error) {
	t := s
	// In a query string "+02:00" arrives as " 02:00".
	if n := len(t); n > 6 && t[n-6] == ' ' && t[n-3] == ':' && strings.ContainsAny(t[:n-6], "T ") && strings.Count(t[:n-6], ":") >= 1 {
		t = t[:n-6] + "+" + t[n-5:]
	}
	if len(t) > 10 && (t[10] == ' ' || t[10] == 't') {
		t = t[:10] + "T" + t[11:]
	}
	for _, f := range []string{time.RFC3339Nano, "2006-01-02T15:04Z07:00"} {
		if v, err := time.Parse(f, t); err == nil {
			return inRange(v, s)
		}
	}
	for _, f := range []string{"2006-01-02T15:04:05.999999999", "2006-01-02T15:04", "2006-01-02"} {
		if v, err := time.ParseInLocation(f, t, loc); err == nil {
			return inRange(firstOf(v), s)
		}
	}
	return 0, fmt.Errorf("time %q is not understood; allowed: %s", s, timeForms)
}

func inRange(t time.Time, s string) (media.Wall, error) {
	if t.Year() < 1970 || t.Year() > 2261 {
		return 0, fmt.Errorf("time %q is outside the years 1970 to 2261", s)
	}
	return media.WallOf(t), nil
}

// firstOf picks the earlier of two instants that share a local reading: when
// clocks go back, time.ParseInLocation does not say which it gives.
func firstOf(t time.Time) time.Time {
	for _, back := range []time.Duration{2 * time.Hour, time.Hour, 30 * time.Minute} {
		e := t.Add(-back)
		if e.Format("2006-01-02T15:04:05") == t.Format("2006-01-02T15:04:05") {
			return e
		}
	}
	return t
}

// ParseSpan reads a duration: plain seconds ("90", "1.5") or ini notation
// ("500ms", "30s", "2h", "10d", "4w").
func ParseSpan(s string) (time.Duration, error) {
	const hint = "allowed: 30s, 5m, 2h, 10d, 4w, or plain seconds"
	if v, err := strconv.ParseFloat(s, 64); err == nil {
		if v < 0 || v > 1e9 || math.IsNaN(v) {
			return 0, fmt.Errorf("duration %q is out of range; %s", s, hint)
		}
		return time.Duration(v * float64(time.Second)), nil
	}
	units := map[string]time.Duration{"ms": time.Millisecond, "s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour}
	var total time.Duration
	for rest := s; rest != ""; {
		i := strings.IndexFunc(rest, func(r rune) bool { return r < '0' || r > '9' })
		if i <= 0 {
			return 0, fmt.Errorf("duration %q is not understood; %s", s, hint)
		}
		n, err := strconv.ParseInt(rest[:i], 10, 64)
		rest = rest[i:]
		j := strings.IndexFunc(rest, func(r rune) bool { return r >= '0' && r <= '9' })
		if j < 0 {
			j = len(rest)
		}
		u, ok := units[rest[:j]]
		if err != nil || !ok || n > int64(1e9*float64(time.Second))/int64(u) {
			return 0, fmt.Errorf("duration %q is not understood; %s", s, hint)
		}
		total += time.Duration(n) * u
		rest = rest[j:]
	}
	if total == 0 && s == "" {
		return 0, fmt.Errorf("empty duration; %s", hint)
	}
	return total, nil
}
