package retain

import (
	"fmt"
	"strings"
	"time"
)

// Hours are times of the day in which something may be done, by the clock on
// the wall: on the days when it is changed they are an hour longer or shorter.
// None = at any time.
type Hours []window

// window is from a minute of the day to another; behind it when it passes
// midnight.
type window struct{ from, to int }

// ParseHours reads "02:00-05:00" or a list of such, by comma; "22:00-04:00"
// passes midnight, 24:00 is the end of a day.
func ParseHours(text string) (Hours, error) {
	var h Hours
	for part := range strings.SplitSeq(text, ",") {
		part = strings.TrimSpace(part)
		from, to, ok := strings.Cut(part, "-")
		w := window{minute(from), minute(to)}
		if !ok || w.from < 0 || w.to < 0 || w.from == w.to || w.from == dayMinutes {
			return nil, fmt.Errorf("%q is not a time of the day from-to, for example 02:00-05:00", part)
		}
		h = append(h, w)
	}
	return h, nil
}

const dayMinutes = 24 * 60

// minute is the minute of the day of "hh:mm", −1 for what is none.
func minute(s string) int {
	s = strings.TrimSpace(s)
	if s == "24:00" {
		return dayMinutes
	}
	t, err := time.Parse("15:04", s)
	if err != nil {
		return -1
	}
	return t.Hour()*60 + t.Minute()
}

// Open tells whether t, in its own zone, is within the hours.
func (h Hours) Open(t time.Time) bool {
	if len(h) == 0 {
		return true
	}
	m := t.Hour()*60 + t.Minute()
	for _, w := range h {
		if w.from < w.to && m >= w.from && m < w.to || w.from > w.to && (m >= w.from || m < w.to) {
			return true
		}
	}
	return false
}

// String is what ParseHours reads.
func (h Hours) String() string {
	var parts []string
	for _, w := range h {
		parts = append(parts, fmt.Sprintf("%02d:%02d-%02d:%02d", w.from/60, w.from%60, w.to/60, w.to%60))
	}
	return strings.Join(parts, ", ")
}
