package archive_test

import (
	"bytes"
	"context"
	"database/sql"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// heldOpen is a space where what grows is not listed.
type heldOpen struct{ *storagetest.Dir }

func (l *heldOpen) List(ctx context.Context, prefix, after string, fn func([]archive.Entry) error) error {
	if prefix == "open/" {
		<-ctx.Done()
		return ctx.Err()
	}
	return l.Dir.List(ctx, prefix, after, fn)
}

// withOld is an installation of one space and, under the name old, another one.
func withOld(data string, epoch uint64, own *storagetest.Dir, old archive.Storage) archive.Options {
	o := options(data, epoch, own)
	o.Spaces = append(o.Spaces, archive.Space{Name: "old", Storage: old, Create: true})
	return o
}

// TestRestartBeforeScan: a space was taken, and the server ends before it has
// been read. The next one reads it.
func TestRestartBeforeScan(t *testing.T) {
	root, cam, hall := earlier(t)
	data, own := t.TempDir(), storagetest.New(t.TempDir())
	h := open(t, options(data, 9, own))
	held := &heldLedgers{storagetest.New(root), make(chan struct{})}
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: held, Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	if err := h.a.RestoreSpace("old"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "its ledgers to be read", func() bool { return spaceState(h, "old").State == archive.SpaceScanning })
	h.close()
	h = open(t, withOld(data, 10, own, held)) // which does not come to its end either
	eventually(t, "the scan to begin again", func() bool { return spaceState(h, "old").State == archive.SpaceScanning })
	h.close()
	h = open(t, withOld(data, 11, own, storagetest.New(root)))
	takes(t, h, "old")
	eventually(t, "what was growing to be listed", func() bool { _, ok := h.a.Bounds("hall"); return ok && archive.Listed(h.a, "hall") })
	audit(t, h.a, cam, 0, 25*12)
	audit(t, h.a, hall, 0, 25*3)
	if locks := h.a.Locks("gate", all); len(locks) != 1 {
		t.Errorf("locks %+v", locks)
	}
	if h.saw("archive.rebuild") == 0 {
		t.Error("it was not read")
	}
	h.close()
	db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "state.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var due int
	if err := db.QueryRow("SELECT due FROM spaces WHERE name = 'old'").Scan(&due); err != nil || due != 0 {
		t.Errorf("it would be read again: %d, %v", due, err)
	}
}

// TestNoScanBeforeIdentity: nor does it list what lies in a space of which it is
// not known yet whose it is.
func TestNoScanBeforeIdentity(t *testing.T) {
	t.Parallel()
	root, _, _ := earlier(t)
	own := &heldLists{Dir: storagetest.New(t.TempDir()), stop: newStop(t)} // in the rebuild of all
	old := &heldLists{Dir: storagetest.New(root), stop: newStop(t)}        // when somebody asks whether it holds anything
	old.stop.armed.Store(true)
	own.stop.armed.Store(true)
	o := options(t.TempDir(), 9, own.Dir)
	o.Spaces = []archive.Space{{Name: "s0", Storage: own, Create: true}}
	h := open(t, o)
	<-own.stop.entered
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: old, Create: true}); err != nil {
		t.Fatal(err)
	}
	<-old.stop.entered
	own.stop.free()
	if err := h.a.Rebuild(t.Context(), "", nil); err == nil { // the second one of all: it has the new space on its list
		t.Error("it was read")
	}
	if _, ok := h.a.Bounds("gate"); ok {
		t.Error("its footage is listed though nobody said that it is to be taken")
	}
	old.stop.free()
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	eventually(t, "what is ours to be read", func() bool { return !h.a.RetentionWaits() })
	if _, ok := h.a.Bounds("gate"); ok {
		t.Error("its footage is listed though nobody said that it is to be taken")
	}
}

// TestNoScanBeforeRecovery: a rebuild of all spaces that was under way when a
// space was taken over does not count it as read before what grew in it, its
// last ledger among it, was recovered.
func TestNoScanBeforeRecovery(t *testing.T) {
	t.Parallel()
	root, cam, hall := earlier(t)
	own := &heldLists{Dir: storagetest.New(t.TempDir()), stop: newStop(t)}           // in the rebuild of all, which a new catalogue asks for
	old := &heldLists{Dir: storagetest.New(root), prefix: "open/", stop: newStop(t)} // in recovery
	own.stop.armed.Store(true)
	old.stop.armed.Store(true)
	o := options(t.TempDir(), 9, own.Dir)
	o.Spaces[0].Storage = own
	h := open(t, o)
	<-own.stop.entered
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: old, Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	if err := h.a.RestoreSpace("old"); err != nil {
		t.Fatal(err)
	}
	<-old.stop.entered
	own.stop.free()
	if err := h.a.Rebuild(t.Context(), "old", nil); err == nil { // behind that of all
		t.Error("it was read")
	}
	old.stop.free()
	takes(t, h, "old")
	eventually(t, "what was growing to be listed", func() bool { _, ok := h.a.Bounds("hall"); return ok && archive.Listed(h.a, "hall") })
	audit(t, h.a, cam, 0, 25*12)
	audit(t, h.a, hall, 0, 25*3)
	if locks := h.a.Locks("gate", all); len(locks) != 1 {
		t.Errorf("locks %+v", locks)
	}
}

// TestRestartBeforeNumbers: a space was taken, and the server ends before what
// grew in it got numbers of its own. The next one does not take it for ours.
func TestRestartBeforeNumbers(t *testing.T) {
	root, _, hall := earlier(t)
	data, own := t.TempDir(), storagetest.New(t.TempDir())
	h := open(t, options(data, 9, own)) // the epoch that the other one had
	yard := begin(t, h, "yard", 2, "default")
	yard.on(t, 40)
	yard.end(t, h)
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: &heldOpen{storagetest.New(root)}, Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	if err := h.a.RestoreSpace("old"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be taken", func() bool { return spaceState(h, "old").ID != [16]byte{} })
	h.close()
	h = open(t, withOld(data, 10, own, storagetest.New(root)))
	takes(t, h, "old")
	eventually(t, "what was growing to be listed", func() bool { _, ok := h.a.Bounds("hall"); return ok && archive.Listed(h.a, "hall") })
	audit(t, h.a, yard.cam, 0, 25*40)
	audit(t, h.a, hall, 0, 25*3)
}

// TestRestartBeforeCopyIsScanned: an older copy was taken for the space. What it
// does not hold leaves the lists, though the server was restarted before.
func TestRestartBeforeCopyIsScanned(t *testing.T) {
	data, root, copied := t.TempDir(), filepath.Join(t.TempDir(), "s"), filepath.Join(t.TempDir(), "s")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	h, _ := recorded(t, data, storagetest.New(root), 1, 9) // an hour ago
	eventually(t, "the first scan to end", func() bool { return h.saw("archive.rebuild") > 0 && stateOf(h).State == archive.SpaceNormal })
	h.close()
	if err := os.CopyFS(copied, os.DirFS(root)); err != nil {
		t.Fatal(err)
	}
	early := len(mediaFiles(t, copied))
	h = open(t, options(data, 2, storagetest.New(root)))
	record(t, h, aged("gate", 2, 30*time.Minute), "", 25*9)
	h.close()
	h = open(t, options(data, 3, storagetest.New(copied)))
	eventually(t, "the copy to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
	h.close()
	o := options(data, 4, storagetest.New(copied))
	o.Spaces[0].Storage = &heldOpen{storagetest.New(copied)}
	h = open(t, o)
	eventually(t, "the copy to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
	if err := h.a.RestoreSpace("s0"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be taken", func() bool { return stateOf(h).ID != [16]byte{} })
	h.close()
	h = open(t, options(data, 5, storagetest.New(copied)))
	eventually(t, "what the copy does not hold to leave the lists", func() bool { return segments(t, h, "gate") == early })
}

// TestLocksUnknownAfterRestart: after the loss of state.db nothing is deleted
// until all ledgers were read, also by a process that was started since.
func TestLocksUnknownAfterRestart(t *testing.T) {
	t.Parallel()
	data, d := t.TempDir(), newDir(t)
	h, cam := recorded(t, data, d, 1, 9)
	l := archive.Lock{UID: "gate", Span: media.Span{From: cam.born, To: cam.born.Add(4 * time.Second)}, Reason: "r", Who: "w"}
	if _, err := h.a.AddLock(t.Context(), l); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the lock in the ledger", func() bool {
		found := false
		_ = filepath.WalkDir(d.Root, func(p string, e fs.DirEntry, err error) error {
			if err == nil && strings.HasSuffix(p, ".ledger") {
				b, _ := os.ReadFile(p)
				found = found || bytes.Contains(b, []byte("gate"))
			}
			return nil
		})
		return found
	})
	h.close()
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(filepath.Join(data, "state.db"+suffix))
	}
	d.Kill()
	for epoch := range uint64(2) {
		h = open(t, options(data, 2+epoch, d))
		if !h.a.RetentionWaits() {
			t.Errorf("start %d: rules delete though nobody knows what is locked", epoch)
		}
		h.close()
	}
	d.Revive()
	h = open(t, options(data, 4, d))
	eventually(t, "the ledgers to be read", func() bool { return !h.a.RetentionWaits() })
	if n := len(h.a.Locks("gate", all)); n != 1 {
		t.Errorf("%d locks", n)
	}
	h.close()
	h = open(t, options(data, 5, d))
	defer h.close()
	if h.a.RetentionWaits() {
		t.Error("it is known what is locked")
	}
}
