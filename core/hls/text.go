package hls

import (
	"strconv"
	"time"

	"media-server/core/media"
)

// A playlist of an hour has 1,800 dates and durations; the general formatting
// of them took half of its making. What these write is what time.AppendFormat
// and strconv.AppendFloat write.

const dateFormat = "2006-01-02T15:04:05.000Z07:00"

// dates writes program date times, which mostly fall on the day of the one
// before.
type dates struct {
	day  int64 // since 1970; valid where date is not empty
	date []byte
}

const dayNS = int64(24 * time.Hour)

func (d *dates) append(b []byte, w media.Wall) []byte {
	if w < 0 {
		return w.Time().AppendFormat(b, dateFormat)
	}
	if day := int64(w) / dayNS; day != d.day || len(d.date) == 0 {
		d.day, d.date = day, w.Time().AppendFormat(d.date[:0], "2006-01-02T")
	}
	ms := int64(w) % dayNS / int64(time.Millisecond)
	b = append(b, d.date...)
	b = append(two(b, ms/3600_000), ':')
	b = append(two(b, ms/60_000%60), ':')
	b = append(two(b, ms/1000%60), '.', byte('0'+ms/100%10))
	return append(two(b, ms%100), 'Z')
}

func two(b []byte, v int64) []byte { return append(b, byte('0'+v/10), byte('0'+v%10)) }

// appendSeconds writes a duration as seconds with six places.
func appendSeconds(b []byte, w media.Wall) []byte {
	// Half a microsecond goes up or down with the last bit of the float.
	if w <= 0 || w%1000 == 500 || w > media.Wall(time.Hour) {
		return strconv.AppendFloat(b, seconds(w), 'f', 6, 64)
	}
	us := (int64(w) + 500) / 1000
	b = append(strconv.AppendInt(b, us/1e6, 10), '.')
	return two(two(two(b, us/10_000%100), us/100%100), us%100)
}
