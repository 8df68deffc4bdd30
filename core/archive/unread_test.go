package archive_test

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// unread checks that nothing that cannot be undone is done with a space and a
// stream.
func unread(t *testing.T, h *host, space, uid string, day uint32) {
	t.Helper()
	if err := h.a.DeleteFootage(t.Context(), uid); !errors.Is(err, archive.ErrUnread) {
		t.Errorf("footage was deleted: %v", err)
	}
	if foot, err := h.a.DayFootage(uid, day); !errors.Is(err, archive.ErrUnread) || !strings.Contains(err.Error(), "see problems") {
		t.Errorf("a day was told of: %+v %v", foot, err)
	}
	c, err := h.a.Contents(t.Context(), space)
	if err != nil {
		t.Fatal(err)
	}
	if err := h.initialize(t, space, c.Confirm, false); !errors.Is(err, archive.ErrUnread) {
		t.Errorf("the space was initialised: %v", err)
	}
}

// TestUnread: while ledgers are still to be read, or files to be listed, nobody
// can tell what is locked, and nothing goes for good.
func TestUnread(t *testing.T) {
	t.Parallel()
	for _, lose := range [][]string{{"state.db"}, {"catalogue.db"}} {
		t.Run(lose[0], func(t *testing.T) {
			data, keys := t.TempDir(), newKeys()
			dir := newDir(t)
			h := open(t, secret(keys)(data, 1, dir))
			cam := aged("gate", 1, time.Hour)
			record(t, h, cam, "", 25*10)
			day := archive.DayOf(cam.born)
			eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
			if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: cam.born, To: cam.born.Add(2 * time.Second)}, Reason: "case 7", Who: "officer"}); err != nil {
				t.Fatal(err)
			}
			h.close()
			files := mediaFiles(t, dir.Root)
			for _, db := range lose {
				left, _ := filepath.Glob(filepath.Join(data, db+"*"))
				for _, f := range left {
					if err := os.Remove(f); err != nil {
						t.Fatal(err)
					}
				}
			}
			o := secret(keys)(data, 2, dir)
			s := newStop(t)
			s.armed.Store(true)
			o.Spaces[0].Storage = &heldLists{Dir: dir, stop: s}
			h = open(t, o)
			t.Cleanup(s.free)
			<-s.entered // nothing is listed anew
			unread(t, h, "s0", "gate", day)
			s.free()
			read(t, h, "s0", day)
			if got := mediaFiles(t, dir.Root); !slices.Equal(got, files) {
				t.Errorf("%v has become %v", files, got)
			}
		})
	}
}

// read checks that all is known at last: the lock keeps what it should.
func read(t *testing.T, h *host, space string, day uint32) {
	t.Helper()
	eventually(t, "everything to be known", func() bool {
		_, err := h.a.DayFootage("gate", day)
		return err == nil
	})
	if foot, err := h.a.DayFootage("gate", day); err != nil || len(foot.Locked) != 1 {
		t.Errorf("%+v %v", foot, err)
	}
	if err := h.a.DeleteFootage(t.Context(), "gate"); err == nil || errors.Is(err, archive.ErrUnread) || !strings.Contains(err.Error(), "locked") {
		t.Errorf("locked footage was deleted as asked: %v", err)
	}
	c, err := h.a.Contents(t.Context(), space)
	if err != nil || c.Locked == 0 {
		t.Fatalf("%+v %v", c, err)
	}
	var ask *archive.UnconfirmedError
	if err := h.initialize(t, space, c.Confirm, false); !errors.As(err, &ask) || !ask.Locked {
		t.Errorf("what is locked went: %v", err)
	}
}

// TestUnreadAttached: the same for a space that was taken over and has not been
// read yet.
func TestUnreadAttached(t *testing.T) {
	t.Parallel()
	root, cam, _ := earlier(t)
	h := open(t, options(t.TempDir(), 3, storagetest.New(t.TempDir())))
	eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
	s := newStop(t)
	t.Cleanup(s.free)
	old := &heldLists{Dir: storagetest.New(root), stop: s, when: func() bool { return spaceState(h, "old").State == archive.SpaceScanning }}
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: old, Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	s.armed.Store(true)
	if err := h.a.RestoreSpace("old"); err != nil {
		t.Fatal(err)
	}
	<-s.entered
	unread(t, h, "old", "gate", archive.DayOf(cam.born))
	if err := h.initialize(t, "s0", "", false); err != nil {
		t.Errorf("another space, which holds nothing: %v", err)
	}
	s.free()
	read(t, h, "old", archive.DayOf(cam.born))
}

// TestDayLocked: a lock of a day counts though no file of it is listed.
func TestDayLocked(t *testing.T) {
	t.Parallel()
	h := open(t, options(t.TempDir(), 3, storagetest.New(t.TempDir())))
	eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
	noon := media.WallOf(time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC))
	if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: noon, To: noon.Add(time.Minute)}, Reason: "x", Who: "anna"}); err != nil {
		t.Fatal(err)
	}
	for day, want := range map[uint32]int{archive.DayOf(noon) - 1: 0, archive.DayOf(noon): 1, archive.DayOf(noon) + 1: 0} {
		if foot, err := h.a.DayFootage("gate", day); err != nil || len(foot.Locked) != want || foot.Files != 0 {
			t.Errorf("day %d: %+v %v", day, foot, err)
		}
	}
}
