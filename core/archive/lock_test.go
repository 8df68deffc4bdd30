package archive_test

import (
	"context"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// recorded makes a stream with files of three seconds, an hour old.
func recorded(t *testing.T, dataDir string, dir *storagetest.Dir, epoch, seconds uint64) (*host, *camera) {
	t.Helper()
	cam := newCamera("gate", 1)
	cam.born = cam.born.Add(-time.Hour)
	h := open(t, options(dataDir, epoch, dir))
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second, Duration: 30 * 24 * time.Hour})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * seconds); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "sealed", func() bool { return h.saw("record.file") >= int(seconds)/3-1 })
	return h, cam
}

// age lets everything of the stream be too old.
func age(t *testing.T, h *host) {
	t.Helper()
	rec, err := h.a.Recorder("gate", archive.Rules{Duration: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	rec.Close()
	eventually(t, "the rules to be written", func() bool {
		p, err := h.a.Outlook()
		return err == nil && len(p.Streams) == 1 && p.Streams[0].Kept == time.Minute
	})
}

func retain(t *testing.T, h *host) {
	t.Helper()
	if _, err := h.a.Retain(context.Background(), nil); err != nil {
		t.Fatal(err)
	}
}

func TestLockKeeps(t *testing.T) {
	data, dir := t.TempDir(), newDir(t)
	h, cam := recorded(t, data, dir, 1, 30)
	// Not on the border of a file: both files it touches stay whole.
	sp := media.Span{From: cam.born.Add(10 * time.Second), To: cam.born.Add(16500 * time.Millisecond)}
	l, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: sp, Reason: "theft", Who: "anna"})
	if err != nil {
		t.Fatal(err)
	}
	age(t, h)
	var left []archive.Segment
	kept := func() {
		t.Helper()
		// Files that are on their way to the catalogue are too young for a plan.
		eventually(t, "all but the locked files to go", func() bool {
			retain(t, h)
			left, _ = h.a.Segments("gate", all)
			if len(left) == 0 || left[0].Span.From > sp.From || left[len(left)-1].Span.To < sp.To {
				t.Fatalf("of %v to %v, which is locked, %d segments are left: %v", sp.From, sp.To, len(left), left)
			}
			return left[0].Span.From >= sp.From.Add(-4*time.Second) && left[len(left)-1].Span.To <= sp.To.Add(4*time.Second)
		})
	}
	kept()
	if err := h.a.DeleteFootage(t.Context(), "gate"); err == nil || !strings.Contains(err.Error(), "locked") {
		t.Errorf("locked footage was deleted as asked: %v", err)
	}
	p, err := h.a.Preview(t.Context(), archive.Changes{Streams: map[string]archive.Rules{"gate": {Duration: time.Second}}})
	if err != nil || p.Streams[0].Deletes != 0 || p.Streams[0].Locked == 0 || p.Streams[0].Locked != p.Streams[0].Bytes {
		t.Errorf("preview %+v %v", p, err)
	}
	h.close()

	// state.db and the catalogue are lost: the ledger knows.
	for _, db := range []string{"state.db", "catalogue.db"} {
		files, _ := filepath.Glob(filepath.Join(data, db+"*"))
		for _, f := range files {
			if err := os.Remove(f); err != nil {
				t.Fatal(err)
			}
		}
	}
	h = open(t, options(data, 2, dir))
	eventually(t, "the lock to be read from the ledger", func() bool {
		ls := h.a.Locks("gate", all)
		return len(ls) == 1 && ls[0] == l
	})
	eventually(t, "retention to run again", func() bool { return !h.a.RetentionWaits() })
	age(t, h)
	kept()
	if err := h.a.RemoveLock(t.Context(), "gate", l.ID, "anna"); err != nil {
		t.Fatal(err)
	}
	if err := h.a.RemoveLock(t.Context(), "gate", l.ID, "anna"); err == nil {
		t.Error("a lock ended twice")
	}
	eventually(t, "everything to go", func() bool {
		retain(t, h)
		left, _ = h.a.Segments("gate", all)
		return len(left) == 0
	})
	h.close()

	// The end of the lock is in the ledger as well.
	files, _ := filepath.Glob(filepath.Join(data, "state.db*"))
	for _, f := range files {
		if err := os.Remove(f); err != nil {
			t.Fatal(err)
		}
	}
	h = open(t, options(data, 3, dir))
	defer h.close()
	eventually(t, "the ledgers to be read", func() bool { return !h.a.RetentionWaits() })
	if ls := h.a.Locks("gate", all); len(ls) != 0 {
		t.Errorf("a lock came back: %+v", ls)
	}
}

func TestLockBounds(t *testing.T) {
	h, cam := recorded(t, t.TempDir(), newDir(t), 1, 6)
	defer h.close()
	sp := media.Span{From: cam.born, To: cam.born.Add(time.Second)}
	for want, l := range map[string]archive.Lock{
		"the lock has no length":                 {UID: "gate", Span: media.Span{From: sp.To, To: sp.From}},
		"the lock would be over at once":         {UID: "gate", Span: sp, Until: media.WallOf(time.Now().Add(-time.Second))},
		"the reason is longer than 200 bytes":    {UID: "gate", Span: sp, Reason: strings.Repeat("x", 201)},
		"of who locks is longer than 64 bytes":   {UID: "gate", Span: sp, Reason: "x", Who: strings.Repeat("n", 65)},
		"the name of who locks, is no UTF-8":     {UID: "gate", Span: sp, Reason: "\xff"},
		"or the name of who locks, is no UTF-8 ": {UID: "gate", Span: sp, Who: "\xff"},
	} {
		if _, err := h.a.AddLock(t.Context(), l); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(want)) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if ls := h.a.Locks("", all); len(ls) != 0 {
		t.Errorf("%+v", ls)
	}
}

// TestLockUntil: a lock whose time is over ends by itself.
func TestLockUntil(t *testing.T) {
	h, cam := recorded(t, t.TempDir(), newDir(t), 1, 6)
	defer h.close()
	if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: cam.born, To: cam.born.Add(time.Second)}, Until: media.WallOf(time.Now().Add(200 * time.Millisecond))}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lock to end", func() bool {
		retain(t, h)
		return len(h.a.Locks("gate", all)) == 0 && h.saw("record.unlocked") == 1
	})
}

// TestLockMax: locks may keep no more of a pool than its operator allows.
func TestLockMax(t *testing.T) {
	dir := newDir(t)
	dir.Limit(10 << 20)
	data, cam := t.TempDir(), newCamera("gate", 1)
	o := options(data, 1, dir)
	o.Pools = []archive.Pool{{Name: "default", Spaces: []string{o.Spaces[0].Name}, Overwrite: true, LockMax: archive.Threshold{Percent: 1}}}
	h := open(t, o)
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 30); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "sealed", func() bool { return h.saw("record.file") >= 9 })
	eventually(t, "the ledgers to be read", func() bool { return !h.a.RetentionWaits() })
	retain(t, h) // the space's size is known then
	lock := func(seconds int) error {
		_, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: cam.born, To: cam.born.Add(time.Duration(seconds) * time.Second)}, Who: "anna", Reason: "x"})
		return err
	}
	if err := lock(2); err != nil {
		t.Fatal("a small lock is refused:", err)
	}
	if err := lock(30); err == nil || !strings.Contains(err.Error(), "lock-max") {
		t.Fatalf("a lock of more than lock-max: %v", err)
	}
	if err := lock(1); err != nil {
		t.Fatal("a lock inside another takes nothing more:", err)
	}
}

// TestLockMaxOfTiers: what lies in the archive pool by its age takes nothing of
// the pool that it was recorded in.
func TestLockMaxOfTiers(t *testing.T) {
	live, old := newDir(t), newDir(t)
	live.Limit(10 << 20)
	old.Limit(10 << 20)
	data, cam := t.TempDir(), aged("gate", 1, 2*time.Hour)
	o := options(data, 1, live, old)
	pools := func(inLive, inOld float64) []archive.Pool {
		return []archive.Pool{
			{Name: "default", Spaces: []string{o.Spaces[0].Name}, Overwrite: true, LockMax: archive.Threshold{Percent: inLive}, ArchiveTo: "old", ArchiveAfter: time.Hour},
			{Name: "old", Spaces: []string{o.Spaces[1].Name}, Overwrite: true, LockMax: archive.Threshold{Percent: inOld}},
		}
	}
	o.Pools = pools(1, 50)
	h := open(t, o)
	defer h.close()
	record(t, h, cam, "default", 25*30)
	eventually(t, "the ledgers to be read", func() bool { return !h.a.RetentionWaits() })
	eventually(t, "it to be moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && len(mediaFiles(t, old.Root)) > 0 })
	retain(t, h) // the sizes of the spaces are known then
	lock := func() error {
		_, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: cam.born, To: cam.born.Add(30 * time.Second)}, Who: "anna", Reason: "x"})
		return err
	}
	if err := lock(); err != nil {
		t.Fatal("refused by the pool that it lies in no longer:", err)
	}
	if err := h.a.SetPools(pools(0, 1)); err != nil {
		t.Fatal(err)
	}
	if err := lock(); err == nil || !strings.Contains(err.Error(), "pool old") || !strings.Contains(err.Error(), "lock-max") {
		t.Errorf("more than the archive pool may have locked: %v", err)
	}
}

// TestDeleteMost: a rule that would take most of a stream at once waits for a
// person; ordinary ageing does not.
func TestDeleteMost(t *testing.T) {
	data, dir, cam := t.TempDir(), newDir(t), newCamera("gate", 1)
	cam.born = cam.born.Add(-time.Hour)
	o := options(data, 1, dir)
	o.Pools = []archive.Pool{{Name: "default", Spaces: []string{o.Spaces[0].Name}, Overwrite: true, DeleteMost: 50}}
	h := open(t, o)
	defer h.close()
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second, Duration: 30 * 24 * time.Hour})
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 30); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "sealed", func() bool { return h.saw("record.file") >= 9 })
	eventually(t, "the ledgers to be read", func() bool { return !h.a.RetentionWaits() })
	set := func(d time.Duration) {
		rec, _ := h.a.Recorder("gate", archive.Rules{Duration: d})
		rec.Close()
		eventually(t, "the rules to be written", func() bool {
			p, err := h.a.Outlook()
			return err == nil && len(p.Streams) == 1 && p.Streams[0].Kept == d
		})
		retain(t, h)
	}
	count := func() int { segs, _ := h.a.Segments("gate", all); return len(segs) }
	was := count()
	set(time.Minute)
	if n := count(); n != was || len(h.a.Held()) != 1 || h.saw("retention.held") != 1 {
		t.Fatalf("%d of %d segments left, held %+v", n, was, h.a.Held())
	}
	if x := h.a.Held()[0]; x.UID != "gate" || x.Files < 9 || x.Goes <= x.Bytes/2 || x.Why != "dvr-duration" {
		t.Errorf("%+v", x)
	}
	p, err := h.a.Preview(t.Context(), archive.Changes{})
	if err != nil || !p.Streams[0].Held || p.Streams[0].Deletes < 9 {
		t.Errorf("preview %+v %v", p.Streams, err)
	}
	set(30 * 24 * time.Hour) // a typing mistake, mended
	if len(h.a.Held()) != 0 || count() != was {
		t.Fatalf("still held: %+v", h.a.Held())
	}
	if h.a.ConfirmRetention("gate") {
		t.Error("something was confirmed that is not held")
	}
	set(time.Minute)
	if !h.a.ConfirmRetention("gate") {
		t.Fatal("what is held cannot be confirmed")
	}
	eventually(t, "the old to go", func() bool { retain(t, h); return count() == 0 && len(h.a.Held()) == 0 })

	// What merely got too old since the last look never asks.
	cam2 := newCamera("gate", 2)
	cam2.born = media.WallOf(time.Now().Add(-3 * time.Minute))
	rec, _ = h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second, Duration: time.Minute})
	f = start(t, cam2, rec, archive.GapNone)
	if err := f.feed(25 * 30); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "the old to go unasked", func() bool { retain(t, h); return h.saw("record.file") >= 18 && count() == 0 })
	if len(h.a.Held()) != 0 {
		t.Errorf("held %+v", h.a.Held())
	}
}

// TestLockWhileLedgersAreRead: a lock that is made while locks of a ledger come
// into state.db is in force at once, and can be ended.
func TestLockWhileLedgersAreRead(t *testing.T) {
	t.Parallel()
	h, cam := recorded(t, t.TempDir(), newDir(t), 1, 6)
	sp := media.Span{From: cam.born, To: cam.born.Add(time.Second)}
	eventually(t, "the ledgers to be read", func() bool { return !h.a.RetentionWaits() })
	waiting, release := archive.ReadLock(h.a, archive.Lock{ID: 77, UID: "gate", Span: sp, Reason: "of a ledger"})
	before := waiting()
	type answer struct {
		l   archive.Lock
		err error
	}
	made := make(chan answer, 1)
	go func() {
		l, err := h.a.AddLock(context.Background(), archive.Lock{UID: "gate", Span: sp, Reason: "theft", Who: "anna"})
		made <- answer{l, err}
	}()
	eventually(t, "the lock to wait for its turn", func() bool { return len(h.a.Locks("gate", all)) == 1 && waiting() > before })
	release()
	got := <-made
	if got.err != nil {
		t.Fatal(got.err)
	}
	if ls := h.a.Locks("gate", all); len(ls) != 2 {
		t.Errorf("in force: %+v", ls)
	}
	if err := h.a.RemoveLock(t.Context(), "gate", got.l.ID, "anna"); err != nil {
		t.Error("it cannot be ended:", err)
	}
	if ls := h.a.Locks("gate", all); len(ls) != 1 || ls[0].ID != 77 {
		t.Errorf("in force after that: %+v", ls)
	}
}
