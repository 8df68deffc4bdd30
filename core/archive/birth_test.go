package archive_test

import (
	"fmt"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// TestGapBeforeFirstFootage: what was missing of a stream until its first footage
// came is a gap in front of it, also after a restart, and goes with it. A camera
// that answers soon misses nothing, nor does one that was recorded before.
func TestGapBeforeFirstFootage(t *testing.T) {
	t.Parallel()
	data, dir := t.TempDir(), newDir(t)
	h := open(t, options(data, 1, dir))
	if err := h.a.Rebuild(t.Context(), "", nil); err != nil { // it is known that there is nothing
		t.Fatal(err)
	}
	put := func(cam *camera, since media.Wall, why archive.GapCause) {
		t.Helper()
		rec, err := h.a.Recorder(cam.name, archive.Rules{Chunk: 2 * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		rec.Since(since)
		f := start(t, cam, rec, why)
		if err := f.feed(25 * 10); err != nil {
			t.Fatal(err)
		}
		f.flush()
		rec.End(archive.GapDisabled)
		rec.Close()
		eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, cam.name) })
	}
	look := func(what string, s media.Span, uid string, want ...string) {
		t.Helper()
		rs, gs, err := h.a.Ranges(uid, s)
		got := []string{}
		for _, g := range gs {
			got = append(got, fmt.Sprintf("%s %s", g.Span.Duration(), g.Why))
		}
		if err != nil || fmt.Sprint(got) != fmt.Sprint(want) || s == all && len(rs) == 0 {
			t.Errorf("%s: gaps %q, want %q, ranges %v %v", what, got, want, rs, err)
		}
	}
	gate, yard, hall, none := aged("gate", 1, time.Hour), aged("yard", 2, time.Hour), aged("hall", 3, time.Hour), aged("none", 4, time.Hour)
	put(gate, gate.born.Add(-2*time.Hour), archive.GapCameraLost)
	put(yard, yard.born.Add(-2*time.Hour), archive.GapNone)
	put(hall, hall.born.Add(-10*time.Second), archive.GapCameraLost)
	put(none, 0, archive.GapCameraLost)
	for epoch := range uint64(3) {
		look("lost at first", all, "gate", "2h0m0s camera_lost")
		look("nobody knows why", all, "yard", "2h0m0s unknown")
		look("it answered soon", all, "hall")
		look("not known since when", all, "none")
		look("a window before", media.Span{From: gate.born.Add(-time.Hour), To: gate.born.Add(-time.Minute)}, "gate", "59m0s camera_lost")
		look("a window behind", media.Span{From: gate.born, To: gate.born.Add(time.Minute)}, "gate")
		h.close()
		if epoch == 1 { // state.db is lost: the ledgers tell
			data = t.TempDir()
		}
		h = open(t, options(data, epoch+2, dir))
		eventually(t, "all to be known again", func() bool {
			n, err := h.a.Streams()
			return err == nil && len(n) == 4 && !h.a.RetentionWaits()
		})
	}
	again := newCamera("gate", 5)
	again.born = gate.born.Add(30 * time.Minute)
	put(again, gate.born.Add(-2*time.Hour), archive.GapCameraLost)
	look("recorded before", all, "gate", "2h0m0s camera_lost", "29m50s camera_lost")
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	rec, err := h.a.Recorder("gate", archive.Rules{Duration: time.Hour - 4*time.Second}) // the first file goes
	if err != nil {
		t.Fatal(err)
	}
	rec.Close()
	eventually(t, "the first footage to go", func() bool {
		retain(t, h)
		b, ok := h.a.Bounds("gate")
		return ok && b.From > gate.born.Add(time.Second)
	})
	look("the first footage went", all, "gate", "29m50s camera_lost")
}
