package archive_test

import (
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
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
