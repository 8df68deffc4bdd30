package archive_test

import (
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
)

// A driver dies, and with it sound that came behind the last picture. The next
// run begins where that picture ends: between the pictures nothing is missing,
// and yet there is a gap, from the end of the sound on.
func TestGapOfSoundAlone(t *testing.T) {
	cam := newCamera("gate", 1)
	h := open(t, options(t.TempDir(), 1, newDir(t)))
	rec, err := h.a.Recorder("gate", archive.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(70); err != nil {
		t.Fatal(err)
	}
	for seq := uint64(70); seq < 75; seq++ { // 200 ms of pictures without sound
		u, wall := cam.unit(1, seq)
		parts, _, err := f.w.Write(u, wall, nil)
		if err != nil {
			t.Fatal(err)
		}
		if err := f.put(parts); err != nil {
			t.Fatal(err)
		}
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	rec.End(archive.GapDriver)

	again := newCamera("gate", 2)
	again.born = cam.born.Add(75 * 40 * time.Millisecond)
	f = start(t, again, rec, archive.GapDriver)
	if err := f.feed(50); err != nil {
		t.Fatal(err)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	want := media.Span{From: again.born.Add(-200 * time.Millisecond), To: again.born}
	_, gaps, err := h.a.Ranges("gate", all)
	if err != nil || len(gaps) != 1 || gaps[0].Span != want || gaps[0].Why != archive.GapDriver {
		t.Errorf("gaps %v, %v; want %v", gaps, err, want)
	}
	if h.saw("record.gap") != 1 {
		t.Errorf("told of %d gaps", h.saw("record.gap"))
	}
}

// joins records pictures of the camera's unit and sound, then a run that begins
// right where the first one ends, and lists the gaps.
func joins(t *testing.T, unit func(seq uint64) (media.AccessUnit, media.Wall), cam *camera, pictures, sound uint64, end time.Duration) []archive.Gap {
	t.Helper()
	h := open(t, options(t.TempDir(), 1, newDir(t)))
	rec, err := h.a.Recorder(cam.name, archive.Rules{})
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	f := start(t, cam, rec, archive.GapNone)
	write := func(u media.AccessUnit, wall media.Wall) {
		t.Helper()
		parts, ev, err := f.w.Write(u, wall, nil)
		if err != nil || ev.Dropped != mux.Stored {
			t.Fatalf("track %d unit %d: %v %v", u.Track, u.Seq, ev.Dropped, err)
		}
		if err := f.put(parts); err != nil {
			t.Fatal(err)
		}
	}
	heard := uint64(0)
	for seq := range pictures {
		u, wall := unit(seq)
		write(u, wall)
		for ; heard < sound && cam.born.Add(time.Duration(heard)*40*time.Millisecond) <= wall; heard++ {
			write(cam.unit(2, heard))
		}
	}
	for ; heard < sound; heard++ {
		write(cam.unit(2, heard))
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	rec.End(archive.GapDriver)
	again := newCamera(cam.name, 2)
	again.born = cam.born.Add(end)
	if b, _ := h.a.Bounds(cam.name); b.To != again.born {
		t.Fatalf("the first run ends at %v, not %v", b.To.Sub(cam.born), end)
	}
	f = start(t, again, rec, archive.GapDriver)
	if err := f.feed(50); err != nil {
		t.Fatal(err)
	}
	if err := f.flush(); err != nil {
		t.Fatal(err)
	}
	_, gaps, err := h.a.Ranges(cam.name, all)
	if err != nil {
		t.Fatal(err)
	}
	return gaps
}

// Pictures that are shown in another order than they are decoded end when the last
// of them is no longer shown: a run that begins there leaves no gap.
func TestNoGapBehindReorderedPictures(t *testing.T) {
	cam := newCamera("gate", 1)
	const depth = 3
	order := []uint64{4, 1, 2, 3} // P B B B, in the order of decoding, by when they are shown
	unit := func(seq uint64) (media.AccessUnit, media.Wall) {
		shown := seq
		if seq > 0 {
			shown = (seq-1)/4*4 + order[(seq-1)%4]
		}
		u, _ := cam.unit(1, seq)
		u.PTS, u.DTS, u.Key = int64(shown)*3600, (int64(seq)-depth)*3600, seq == 0
		return u, cam.born.Add(time.Duration(shown) * 40 * time.Millisecond)
	}
	if gaps := joins(t, unit, cam, 73, 73, 73*40*time.Millisecond); len(gaps) != 0 {
		t.Errorf("gaps %v, and every picture is stored", gaps)
	}
}

// A picture may be shown for a second and more: sound that went with it is missing
// all the same.
func TestGapOfSoundBehindASlowPicture(t *testing.T) {
	cam := newCamera("gate", 1)
	unit := func(seq uint64) (media.AccessUnit, media.Wall) {
		u, _ := cam.unit(1, seq)
		u.PTS, u.DTS, u.Key = u.PTS*25, u.DTS*25, true
		return u, cam.born.Add(time.Duration(seq) * time.Second)
	}
	gaps := joins(t, unit, cam, 6, 124, 6*time.Second)
	if want := (media.Span{From: cam.born.Add(124 * 40 * time.Millisecond), To: cam.born.Add(6 * time.Second)}); len(gaps) != 1 || gaps[0].Span != want {
		t.Errorf("gaps %v, want %v", gaps, want)
	}
}

// A stream whose footage has all gone is known by its numbers alone: what is
// missing of it is not told from 1970 on.
func TestNoGapBehindNothing(t *testing.T) {
	for _, lost := range []bool{false, true} {
		data, dir := t.TempDir(), newDir(t)
		h := open(t, options(data, 1, dir))
		cam := aged("gate", 1, time.Hour)
		record(t, h, cam, "", 50)
		eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
		rec, err := h.a.Recorder("gate", archive.Rules{Duration: time.Minute})
		if err != nil {
			t.Fatal(err)
		}
		rec.Close()
		eventually(t, "all to go", func() bool { retain(t, h); return len(mediaFiles(t, dir.Root)) == 0 })
		h.close()
		if lost {
			for _, f := range []string{"catalogue.db", "catalogue.db-wal", "catalogue.db-shm"} {
				os.Remove(filepath.Join(data, f))
			}
		}
		h = open(t, options(data, 2, dir))
		if err := h.a.Rebuild(t.Context(), "", nil); err != nil {
			t.Fatal(err)
		}
		eventually(t, "the space to be open", func() bool { return stateOf(h).State == archive.SpaceNormal })
		rec, err = h.a.Recorder("gate", archive.Rules{})
		if err != nil {
			t.Fatal(err)
		}
		rec.Since(cam.born.Add(-time.Hour))
		f := start(t, newCamera("gate", 2), rec, archive.GapCameraLost)
		if err := errors.Join(f.feed(50), f.flush()); err != nil {
			t.Fatal(err)
		}
		if n := h.saw("record.gap"); n != 0 {
			t.Errorf("catalogue lost %v: told of %d gaps: %+v", lost, n, h.notices)
		}
		rec.End(archive.GapDisabled)
		rec.Close()
		h.close()
	}
}
