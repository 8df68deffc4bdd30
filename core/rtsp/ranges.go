package rtsp

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"media-server/core/media"
)

// A Range header (RFC 2326, 3.6, 3.7, 12.29).
type span struct {
	unit    string // "npt" or "clock"; empty = none was sent
	now     bool   // npt=now-
	from    int64  // npt: nanoseconds from the beginning; clock: media.Wall
	to      int64
	hasFrom bool
	hasTo   bool
}

var errRange = errors.New("write for example npt=0-, npt=now-, clock=20260301T080000Z- or clock=20260301T080000.5Z-20260301T090000Z")

const (
	// maxNPT bounds what is added to a time.
	maxNPT = 200 * 365 * 24 * time.Hour
	// ntpEpoch is 1970 in the seconds of NTP, which begin with 1900. An npt beyond it
	// is a time of day: GStreamer's rtspsrc, where the description has a clock range,
	// asks for npt in seconds since 1900.
	ntpEpoch = 2208988800 * time.Second
)

func parseSpan(text string) (s span, err error) {
	text, _, _ = strings.Cut(text, ";") // ;time= is when to begin: now
	unit, rest, ok := strings.Cut(strings.TrimSpace(text), "=")
	from, to, dash := strings.Cut(rest, "-")
	s.unit = strings.ToLower(strings.TrimSpace(unit))
	if !ok || s.unit != "npt" && s.unit != "clock" {
		return s, fmt.Errorf("the range %.60q is not understood: %w", plain(text), errRange)
	}
	if !dash && s.unit == "clock" { // one instant
		to = ""
	}
	read := readNPT
	if s.unit == "clock" {
		read = readClock
	}
	from, to = strings.TrimSpace(from), strings.TrimSpace(to)
	if s.unit == "npt" && from == "now" {
		s.now, from = true, ""
	}
	for _, x := range []struct {
		text string
		into *int64
		has  *bool
	}{{from, &s.from, &s.hasFrom}, {to, &s.to, &s.hasTo}} {
		if x.text == "" || x.text == "end" {
			continue
		}
		if *x.into, err = read(x.text); err != nil {
			return s, fmt.Errorf("the range %.60q is not understood: %w", plain(text), err)
		}
		*x.has = true
	}
	if !s.now && !s.hasFrom && !s.hasTo {
		return s, fmt.Errorf("the range %.60q is not understood: %w", plain(text), errRange)
	}
	return s, nil
}

// readNPT reads seconds with a fraction, or h:mm:ss with one.
func readNPT(text string) (int64, error) {
	var whole int64
	parts := strings.Split(text, ":")
	if len(parts) > 3 {
		return 0, errRange
	}
	for i, p := range parts {
		if i < len(parts)-1 {
			n, err := strconv.ParseUint(p, 10, 40)
			if err != nil {
				return 0, errRange
			}
			whole = (whole + int64(n)) * 60
			continue
		}
		sec, frac, _ := strings.Cut(p, ".")
		n, err := strconv.ParseUint(sec, 10, 40)
		ns, ok := fraction(frac)
		if whole += int64(n); err != nil || !ok || whole < 0 || whole > int64(maxNPT/time.Second) {
			return 0, errRange
		}
		return whole*int64(time.Second) + ns, nil
	}
	return 0, errRange
}

// fraction reads the digits behind a decimal point as nanoseconds; what is finer
// is left out.
func fraction(digits string) (ns int64, ok bool) {
	n := 0
	for ; n < len(digits); n++ {
		c := digits[n]
		if c < '0' || c > '9' {
			return 0, false
		}
		if n < 9 {
			ns = ns*10 + int64(c-'0')
		}
	}
	for ; n < 9; n++ {
		ns *= 10
	}
	return ns, true
}

const clockForm = "20060102T150405"

// readClock reads 20260301T080000.25Z.
func readClock(text string) (int64, error) {
	day, ok := strings.CutSuffix(strings.ToUpper(text), "Z")
	sec, frac, _ := strings.Cut(day, ".")
	t, err := time.Parse(clockForm, sec)
	ns, good := fraction(frac)
	if !ok || err != nil || !good || t.Year() < 1970 || t.Year() > 2200 {
		return 0, errRange
	}
	return t.UnixNano() + ns, nil
}

// clockText writes a time as readClock reads it, to the microsecond.
func clockText(w media.Wall) string {
	return w.Time().Format(clockForm+".000000") + "Z"
}

// nptText writes a distance in seconds, to the microsecond.
func nptText(d time.Duration) string {
	d = max(d, 0)
	return fmt.Sprintf("%d.%06d", d/time.Second, d%time.Second/time.Microsecond)
}
