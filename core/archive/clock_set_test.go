package archive_test

import (
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// TestClockSetBack: what was recorded last ends before what was recorded while the
// clock was ahead. The next process goes on behind it, not behind that: with its
// numbers and, where its run can go on, with its positions.
func TestClockSetBack(t *testing.T) {
	dir, data := newDir(t), t.TempDir()
	now := media.WallOf(time.Now())
	ahead, cam := newCamera("gate", 1), newCamera("gate", 2)
	ahead.born, cam.born = now.Add(time.Hour), now.Add(-20*time.Second)

	h := open(t, options(data, 1, dir))
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Second})
	f := start(t, ahead, rec, archive.GapNone)
	if err := f.feed(150); err != nil {
		t.Fatal(err)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	rec.End(archive.GapCameraLost)
	f = start(t, cam, rec, archive.GapClockSet)
	if err := f.feed(250); err != nil { // the tenth second is the start of a file
		t.Fatal(err)
	}
	newest := func(h *host, want media.Wall) {
		t.Helper()
		b, _ := h.a.Bounds("gate")
		if end, ok := h.a.Newest("gate"); !ok || end.Sub(want).Abs() > time.Second || b.To.Sub(ahead.born.Add(6*time.Second)).Abs() > time.Second {
			t.Errorf("newest is %v, not %v; the last is %v", end.Time(), want.Time(), b.To.Time())
		}
	}
	newest(h, cam.born.Add(10*time.Second))
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	rec.Close()
	h.close()

	h = open(t, options(data, 2, dir))
	rec, _ = h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Second})
	f = start(t, cam, rec, archive.GapNone)
	if f.next[1] != 250 {
		t.Errorf("the run goes on at %d", f.next[1])
	}
	newest(h, cam.born.Add(10*time.Second))
	if err := f.feed(300); err != nil {
		t.Fatal(err)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	rec.End(archive.GapCameraLost)
	rec.Close()
	eventually(t, "every file sealed", func() bool { return openFiles(dir) == 0 })
	h.close()

	h = open(t, options(data, 3, dir)) // nothing grows any more
	defer h.close()
	rec, _ = h.a.Recorder("gate", archive.Rules{})
	defer rec.Close()
	most := uint64(0)
	segs, err := h.a.Segments("gate", all)
	for _, g := range segs {
		most = max(most, g.Number)
	}
	if next, _ := rec.NextSegment(); err != nil || next != most+1 {
		t.Errorf("the next segment is %d, the last one was %d, %v", next, most, err)
	}
	newest(h, cam.born.Add(12*time.Second))
	if pos, ok := rec.Held(); !ok || pos.Run != cam.run || pos.Next(1) != 300 {
		t.Errorf("held %v", pos)
	}
}
