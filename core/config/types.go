package config

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"
)

// units of durations, longest first. A day is 24 hours: retention counts time,
// not calendar days, so that a change to daylight-saving time deletes nothing early.
var units = []struct {
	name string
	d    time.Duration
}{
	{"w", 7 * 24 * time.Hour}, {"d", 24 * time.Hour}, {"h", time.Hour},
	{"m", time.Minute}, {"s", time.Second}, {"ms", time.Millisecond},
}

var errDuration = errors.New("a duration is a whole number with its unit")

// ParseDuration reads 500ms 10s 2m 12h 10d 4w, also put together (1h30m), and 0.
// Go's own notation has no days and takes fractions, which invite 1.5d.
func ParseDuration(s string) (time.Duration, error) {
	if s == "0" {
		return 0, nil
	}
	var total time.Duration
	rest := s
	for first := true; first || rest != ""; first = false {
		digits := len(rest) - len(strings.TrimLeft(rest, "0123456789"))
		if digits == 0 {
			return 0, errDuration
		}
		n, err := strconv.ParseInt(rest[:digits], 10, 64)
		if err != nil {
			return 0, errors.New("the number is too large")
		}
		rest = rest[digits:]
		letters := len(rest) - len(strings.TrimLeft(rest, "abcdefghijklmnopqrstuvwxyz"))
		unit := time.Duration(0)
		for _, u := range units {
			if u.name == rest[:letters] {
				unit = u.d
			}
		}
		switch {
		case letters == 0:
			return 0, errors.New("a duration needs a unit")
		case unit == 0:
			return 0, fmt.Errorf("unknown unit %q", rest[:letters])
		case n > int64((math.MaxInt64-total)/unit):
			return 0, errors.New("the duration is too long")
		}
		total += time.Duration(n) * unit
		rest = rest[letters:]
	}
	return total, nil
}

const durationHint = "write for example 500ms, 10s, 2m, 12h, 10d or 4w"

// FormatDuration is the shortest notation with one unit, if there is one that
// is exact. Weeks are written as days, as most people do.
func FormatDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	for _, u := range units[1:] {
		if d%u.d == 0 {
			return strconv.FormatInt(int64(d/u.d), 10) + u.name
		}
	}
	return d.String()
}

// Size is an amount of bytes, or a share of something the key names (the space,
// the memory): exactly one of the two is not zero, or both are for "0".
type Size struct {
	Bytes   int64
	Percent int // 1 to 100
}

// Of returns the bytes, taking a share from total.
func (s Size) Of(total int64) int64 {
	if s.Percent == 0 {
		return s.Bytes
	}
	return total/100*int64(s.Percent) + total%100*int64(s.Percent)/100
}

// IsZero tells whether the size is 0, which most keys read as "no limit".
func (s Size) IsZero() bool { return s == Size{} }

// String is the ini notation.
func (s Size) String() string {
	if s.Percent != 0 {
		return strconv.Itoa(s.Percent) + "%"
	}
	return FormatBytes(s.Bytes)
}

const sizeHint = "write for example 512M, 10G or 2T"

// ParseSize reads 512M, 10G, plain bytes, or 80%. K M G T P are powers of 1024;
// a B or iB after them is allowed.
func ParseSize(s string) (Size, error) {
	digits := len(s) - len(strings.TrimLeft(s, "0123456789"))
	if digits == 0 {
		return Size{}, errors.New("a size is a whole number with a unit or %")
	}
	n, err := strconv.ParseInt(s[:digits], 10, 64)
	if err != nil {
		return Size{}, errors.New("the number is too large")
	}
	unit := s[digits:]
	if unit == "%" {
		if n < 1 || n > 100 {
			return Size{}, errors.New("a share is between 1% and 100%")
		}
		return Size{Percent: int(n)}, nil
	}
	letter := strings.TrimSuffix(strings.TrimSuffix(unit, "B"), "i")
	if letter == "" && strings.Contains(unit, "i") {
		return Size{}, fmt.Errorf("unknown unit %q", unit)
	}
	shift := 0
	if letter != "" {
		i := strings.Index("KMGTP", strings.ToUpper(letter))
		if i < 0 || len(letter) != 1 {
			return Size{}, fmt.Errorf("unknown unit %q", unit)
		}
		shift = 10 * (i + 1)
	}
	if n > math.MaxInt64>>shift {
		return Size{}, errors.New("the size is too large")
	}
	return Size{Bytes: n << shift}, nil
}

// FormatBytes is the shortest exact notation.
func FormatBytes(n int64) string {
	if n <= 0 {
		return strconv.FormatInt(n, 10)
	}
	unit := ""
	for _, u := range []string{"K", "M", "G", "T", "P"} {
		if n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatInt(n, 10) + unit
}

// ParseBool reads true false yes no on off, in any case.
func ParseBool(s string) (value, ok bool) {
	switch strings.ToLower(s) {
	case "true", "yes", "on":
		return true, true
	case "false", "no", "off":
		return false, true
	}
	return false, false
}

// ParseList splits at commas and drops blanks and empty items, so that a
// trailing comma does no harm.
func ParseList(s string) []string {
	var list []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			list = append(list, item)
		}
	}
	return list
}
