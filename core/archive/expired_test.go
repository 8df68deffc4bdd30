package archive_test

import (
	"fmt"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
)

// TestExpiredBehindALock: what rules took behind footage that a lock keeps is no
// outage, also after a restart, and after the loss of the databases; what was missing
// since is.
func TestExpiredBehindALock(t *testing.T) {
	t.Parallel()
	data, dir := t.TempDir(), newDir(t)
	h := open(t, options(data, 1, dir))
	old, lost, now := aged("gate", 1, 2*time.Hour), aged("gate", 2, time.Hour), newCamera("gate", 3)
	record(t, h, old, "", 25*20)
	record(t, h, lost, "", 25*20)
	record(t, h, now, "", 25*20)
	kept := media.Span{From: old.born.Add(4 * time.Second), To: old.born.Add(7 * time.Second)}
	if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: kept, Reason: "theft", Who: "anna"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "locks to be known", func() bool { return !h.a.RetentionWaits() })
	rec, err := h.a.Recorder("gate", archive.Rules{Duration: time.Hour - 10*time.Second})
	if err != nil {
		t.Fatal(err)
	}
	rec.Close()
	eventually(t, "what is old and not locked to go", func() bool {
		retain(t, h)
		segs, _ := h.a.Segments("gate", media.Span{From: old.born, To: lost.born.Add(10 * time.Second)})
		return len(segs) == 2 // 4 to 8 s
	})
	want := fmt.Sprint([]archive.Gap{
		{Span: media.Span{From: old.born.Add(8 * time.Second), To: old.born.Add(20 * time.Second)}, State: "open", Why: archive.GapExpired},
		{Span: media.Span{From: old.born.Add(20 * time.Second), To: lost.born.Add(10 * time.Second)}, State: "open", Why: archive.GapDisabled},
		{Span: media.Span{From: lost.born.Add(20 * time.Second), To: now.born}, State: "open", Why: archive.GapDisabled},
	})
	for epoch := range uint64(3) {
		eventually(t, "the gaps "+want, func() bool {
			_, gaps, err := h.a.Ranges("gate", all)
			return err == nil && fmt.Sprint(gaps) == want
		})
		h.close()
		if epoch == 1 { // state.db is lost: the ledgers tell
			data = t.TempDir()
		}
		h = open(t, options(data, epoch+2, dir))
	}
}
