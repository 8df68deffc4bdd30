package archive_test

import (
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
)

// TestAgedWhileOff: what became too old while the server was off goes without a
// person, whatever share of a stream it is. A rule that was changed meanwhile waits
// for one as always, and so does what a clock set to another month makes too old.
func TestAgedWhileOff(t *testing.T) {
	const day = 24 * time.Hour
	for _, c := range []struct {
		name string
		off  time.Duration
		rule time.Duration // from the second start on
		held bool
	}{
		{"a week", 7 * day, 3 * day, false},
		{"a moment", time.Minute, 3 * day, false},
		{"a rule was changed meanwhile", time.Minute, 10 * time.Minute, true},
		{"a rule was changed in that week", 7 * day, 10 * time.Minute, true},
		{"a month", 31 * day, 3 * day, true},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir, data := newDir(t), t.TempDir()
			synctest.Test(t, func(t *testing.T) {
				cam := newCamera("gate", 1)
				cam.born = 946684800_000000000 // the bubble's clock
				o := options(data, 1, dir)
				o.Pools[0].DeleteMost = 50
				rule := func(h *host, d time.Duration) {
					rec, err := h.a.Recorder("gate", archive.Rules{Duration: d})
					if err != nil {
						t.Fatal(err)
					}
					rec.Close()
				}
				h := open(t, o)
				record(t, h, cam, "", 25*120)
				rule(h, 3*day)
				time.Sleep(time.Hour)
				was := len(mediaFiles(t, dir.Root))
				if c.rule != 3*day {
					rule(h, c.rule)
				}
				h.close()
				time.Sleep(c.off)
				o.Epoch = 2
				h = open(t, o)
				time.Sleep(10 * time.Minute)
				want := was
				if c.off > 3*day && !c.held {
					want = 0
				}
				if n := len(mediaFiles(t, dir.Root)); n != want || len(h.a.Held()) > 0 != c.held {
					t.Errorf("%d of %d files are left, want %d; held %+v", n, was, want, h.a.Held())
				}
				if c.off == 7*day && c.held { // mended: what aged in that week goes
					rule(h, 3*day)
					time.Sleep(10 * time.Minute)
					if n := len(mediaFiles(t, dir.Root)); n != 0 || len(h.a.Held()) > 0 {
						t.Errorf("%d files are left by the old rule; held %+v", n, h.a.Held())
					}
				}
				h.close()
			})
		})
	}
}
