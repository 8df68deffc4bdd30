package archive_test

import (
	"errors"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
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

// TestKilledBehindAStep: of a take that had only pictures yet when the process died,
// the sound goes on where it was, and not at a time that counts from another zero.
func TestKilledBehindAStep(t *testing.T) {
	for _, killed := range []bool{false, true} {
		dir, data, cam := newDir(t), t.TempDir(), newCamera("gate", 1)
		h := open(t, options(data, 1, dir))
		rec, _ := h.a.Recorder("gate", archive.Rules{})
		f := start(t, cam, rec, archive.GapNone)
		if err := errors.Join(f.feed(100), f.flush()); err != nil {
			t.Fatal(err)
		}
		zero := mux.Zero(cam.born.Add(time.Hour))
		seg, disc := rec.NextSegment()
		if err := rec.Begin(cam.run, zero, testTracks(), archive.GapClockSet); err != nil {
			t.Fatal(err)
		}
		f.w = mux.NewWriter(mux.Config{Chain: true, Epoch: 1}, mux.Start{Run: cam.run, Zero: zero, Tracks: testTracks(), Segment: seg, Discontinuity: disc})
		for n := uint64(100); n < 150; n++ {
			u, wall := cam.unit(1, n)
			parts, _, err := f.w.Write(u, wall.Add(time.Hour), func() []byte { return []byte("clock") })
			if err = errors.Join(err, f.put(parts)); err != nil {
				t.Fatal(err)
			}
		}
		if err := f.flush(); err != nil {
			t.Fatal(err)
		}
		if killed {
			eventually(t, "all of it durable", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
			rec.Close()
			h.close()
			h = open(t, options(data, 2, dir))
			rec, _ = h.a.Recorder("gate", archive.Rules{})
		}
		r, ok := rec.Resume()
		if !ok || r.Zero != zero || r.Positions.Next(1) != 150 || r.Positions.Next(2) != 100 {
			t.Fatalf("killed %v: goes on at %v, %v", killed, r.Positions, ok)
		}
		for _, e := range r.Expect {
			if e.Track != 1 || media.DurationOf(e.NextTime, 90000) > 30*time.Second {
				t.Errorf("killed %v: track %d is expected at %v", killed, e.Track, e.NextTime)
			}
		}
		rec.Close()
		h.close()
	}
}
