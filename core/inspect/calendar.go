package inspect

import (
	"time"

	"media-server/core/media"
)

// midnight is the first instant of a day; days beyond the month's end count on.
// Where the clock is put forward at midnight it is the instant at which that
// happens: east of Greenwich time.Date gives it, west of it the hour before.
func midnight(y int, m time.Month, d int, zone *time.Location) time.Time {
	t := time.Date(y, m, d, 0, 0, 0, 0, zone)
	if t.Hour() < 12 {
		return t
	}
	_, end := t.ZoneBounds()
	return end
}

// Hours are the edges of the hours of the day t lies in, by the clock of t's
// location: 24 of them, 23 or 25 when the clock is changed.
func Hours(t time.Time) []media.Wall {
	y, m, d := t.Date()
	end := midnight(y, m, d+1, t.Location())
	var out []media.Wall
	for at := midnight(y, m, d, t.Location()); at.Before(end); at = at.Add(time.Hour) {
		out = append(out, media.WallOf(at))
	}
	return append(out, media.WallOf(end))
}

// Days are the edges of the days of the month t lies in.
func Days(t time.Time) []media.Wall {
	y, m, _ := t.Date()
	last := time.Date(y, m+1, 0, 0, 0, 0, 0, time.UTC).Day()
	var out []media.Wall
	for d := 1; d <= last+1; d++ {
		out = append(out, media.WallOf(midnight(y, m, d, t.Location())))
	}
	return out
}
