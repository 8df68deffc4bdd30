package hls

import (
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"media-server/core/media"
)

// TestText: dates and durations are those of the standard library, to the
// letter.
func TestText(t *testing.T) {
	rng := rand.New(rand.NewPCG(3, 5))
	var d dates
	check := func(w media.Wall) {
		t.Helper()
		if got, want := string(d.append(nil, w)), w.Time().Format(dateFormat); got != want {
			t.Fatalf("date of %d: %s, want %s", w, got, want)
		}
		if got, want := string(appendSeconds(nil, w)), strconv.FormatFloat(seconds(w), 'f', 6, 64); got != want {
			t.Fatalf("%d ns: %s s, want %s", w, got, want)
		}
	}
	for _, w := range []media.Wall{-1, 0, 1, 499, 500, 501, 999_999, 1e6 - 1, 1e9 - 1, 1e9, 1e9 + 500, 86400e9 - 1, 86400e9, 951782399_999_999_999, 951782400_000_000_000, 1<<63 - 1} {
		check(w)
	}
	for range 200_000 {
		w := media.Wall(rng.Int64N(4e18)) // to 2096
		check(w)
		check(w + media.Wall(rng.Int64N(int64(3*time.Second))))
		check(media.Wall(rng.Int64N(int64(20 * time.Second))))
		check(media.Wall(rng.Int64N(20_000_000)) * 500) // halves
	}
}
