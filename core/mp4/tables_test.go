package mp4

import (
	"testing"
	"time"

	"media-server/core/media"
)

// TestFirstTablesComeEarly: the first bytes of a table of a long movie take one
// index, not thirty-two; and every file's entries are made once.
func TestFirstTablesComeEarly(t *testing.T) {
	for n := range 3 * block {
		at, most := 0, 0
		blocks(n, func(lo, hi int) {
			if lo != at || hi <= lo || lo == 0 && hi != 1 {
				t.Fatalf("%d files: a block of %d to %d, %d done", n, lo, hi, at)
			}
			at, most = hi, max(most, hi-lo)
		})
		if at != n || most > block {
			t.Fatalf("%d files: blocks end at %d, the largest has %d", n, at, most)
		}
	}
	m := newMinutes(300)
	mv, err := New(m).Record("cam", media.Span{From: media.WallOf(t0), To: media.WallOf(t0.Add(200 * time.Minute))})
	if err != nil {
		t.Fatal(err)
	}
	defer mv.Body.Release()
	m.read = 0
	for p := range mv.Body.Pieces(0, mv.Body.Size()) {
		if p.Make == nil {
			continue
		}
		if _, err := p.Load(); err != nil {
			t.Fatal(err)
		}
		if m.read > 1 {
			t.Errorf("%d indexes were read for the first entries", m.read)
		}
		break
	}
}
