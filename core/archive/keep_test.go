package archive_test

import (
	"testing"
	"testing/synctest"
	"time"

	"media-server/core/archive"
)

// TestKeep: that a disk is too small for dvr-keep is told before anything goes,
// without any lock; that footage went too early is told once, not at each pass.
func TestKeep(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &fills{Dir: dir}
		d.free.Store(fillTotal / 2)
		o := options(data, 1, dir)
		o.Spaces[0].Storage = d
		o.Pools = []archive.Pool{{Name: "default", Spaces: []string{"s0"}, Overwrite: true, OverwriteFree: archive.Threshold{Percent: 10}}}
		h := open(t, o)
		record(t, h, cam, "", 25*120)
		keep := func(k time.Duration) {
			rec, err := h.a.Recorder("gate", archive.Rules{Keep: k})
			if err != nil {
				t.Fatal(err)
			}
			rec.Close()
		}
		told := func(risk, broken int, alarm bool) {
			t.Helper()
			if r, b := h.saw("retention.keep_at_risk"), h.saw("retention.keep_broken"); r != risk || b != broken {
				t.Errorf("at risk was told %d times, broken %d, want %d and %d", r, b, risk, broken)
			}
			if k := h.a.KeepAlarms(); (len(k) == 1) != alarm {
				t.Errorf("alarms: %+v", k)
			}
		}
		time.Sleep(25 * time.Minute)
		told(0, 0, false) // nothing is promised
		keep(20 * time.Hour)
		time.Sleep(25 * time.Minute)
		told(1, 0, true)
		if k := h.a.KeepAlarms()[0]; k.UID != "gate" || k.By != "overwrite-free" || k.Keep != 20*time.Hour || k.Kept <= 0 || k.Kept >= k.Keep || k.Risk.IsZero() || !k.Broken.IsZero() {
			t.Errorf("%+v", k)
		}
		d.free.Store(fillTotal / 10)
		overwrite := func() {
			for range 15 {
				d.free.Add(-fillTotal / 1000)
				time.Sleep(time.Minute)
			}
		}
		was := len(mediaFiles(t, dir.Root))
		overwrite()
		if gone := was - len(mediaFiles(t, dir.Root)); gone < 3 {
			t.Fatalf("%d files went", gone)
		}
		told(1, 1, true)
		if k := h.a.KeepAlarms()[0]; k.Broken.IsZero() || k.Risk.IsZero() {
			t.Errorf("%+v", k)
		}
		keep(time.Minute)
		time.Sleep(15 * time.Minute)
		told(2, 2, false) // both are over
		keep(30 * time.Hour)
		overwrite()
		told(3, 3, true)
		h.close()
	})
}

// TestKeepNothingLeft: a promise to a stream of which nothing is left, and nothing
// comes, is not broken for ever.
func TestKeepNothingLeft(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		cam := inBubble("gate", 1)
		d := &fills{Dir: dir}
		d.free.Store(fillTotal / 2)
		o := options(data, 1, dir)
		o.Spaces[0].Storage = d
		o.Pools = []archive.Pool{{Name: "default", Spaces: []string{"s0"}, Overwrite: true, OverwriteFree: archive.Threshold{Percent: 10}}}
		h := open(t, o)
		record(t, h, cam, "", 25*60)
		rec, err := h.a.Recorder("gate", archive.Rules{Keep: 20 * time.Hour})
		if err != nil {
			t.Fatal(err)
		}
		rec.Close()
		d.free.Store(-fillTotal)
		time.Sleep(5 * time.Minute)
		if n := len(mediaFiles(t, dir.Root)); n != 0 {
			t.Fatalf("%d files are left", n)
		}
		d.free.Store(fillTotal / 2)
		archive.KeepBrokenEarlier(h.a, 20*time.Hour)
		time.Sleep(5 * time.Minute)
		if k := h.a.KeepAlarms(); len(k) != 1 || k[0].Broken.IsZero() || h.saw("retention.keep_broken") != 1 {
			t.Errorf("%+v", k)
		}
		archive.KeepBrokenEarlier(h.a, 4*time.Hour)
		time.Sleep(5 * time.Minute)
		if k := h.a.KeepAlarms(); len(k) != 0 || h.saw("retention.keep_broken") != 2 {
			t.Errorf("a day later: %+v", k)
		}
		h.close()
	})
}
