package archive_test

import (
	"context"
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

// earlier makes a space as another installation left it: footage of gate with a
// hole that has a cause, a lock over its beginning, a file of hall that was still
// growing, and somebody's own files.
func earlier(t *testing.T) (root string, cam, hall *camera) {
	t.Helper()
	root = filepath.Join(t.TempDir(), "old")
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	h, cam := recorded(t, t.TempDir(), storagetest.New(root), 9, 12)
	door := begin(t, h, "door", 3, "")
	door.cam.born = door.cam.born.Add(-time.Hour)
	door.rec.End(archive.GapNone)
	door.feeder = start(t, door.cam, door.rec, archive.GapNone)
	door.on(t, 2)
	door.flush()
	door.rec.End(archive.GapCameraSilent)
	later := newCamera("door", 4)
	later.born = door.cam.born.Add(10 * time.Second)
	door.cam, door.feeder, door.at = later, start(t, later, door.rec, archive.GapCameraSilent), 0
	door.on(t, 2)
	door.flush()
	door.rec.End(archive.GapNone)
	door.rec.Close()
	if _, err := h.a.AddLock(context.Background(), archive.Lock{UID: "gate", Span: media.Span{From: cam.born, To: cam.born.Add(2 * time.Second)}, Reason: "case 7", Who: "officer"}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") && archive.Listed(h.a, "door") })
	eventually(t, "the ledger to be written", func() bool {
		left, _ := filepath.Glob(filepath.Join(root, "open", "*.ledger"))
		if len(left) == 0 {
			return false
		}
		b, err := os.ReadFile(left[0])
		return err == nil && strings.Contains(string(b), "case 7") && strings.Contains(string(b), "camera_silent")
	})
	grows := begin(t, h, "hall", 5, "")
	grows.on(t, 3)
	grows.flush()
	h.close()
	for _, name := range []string{"notes.txt", "gate/picture.mp4"} {
		if err := os.WriteFile(filepath.Join(root, name), []byte("mine"), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return root, cam, grows.cam
}

// heldLedgers is a space whose ledgers are not read before release is closed.
type heldLedgers struct {
	*storagetest.Dir
	release chan struct{}
}

func (l *heldLedgers) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	if strings.HasPrefix(name, "ledger/") {
		select {
		case <-l.release:
		case <-ctx.Done():
			return 0, ctx.Err()
		}
	}
	return l.Dir.ReadAt(ctx, name, off, p)
}

// TestAttach: a space of an earlier installation is recognised, nothing of it
// is touched or listed before somebody says so; then all of it is there, with
// its locks and what is known of its holes, while recording goes on elsewhere.
func TestAttach(t *testing.T) {
	root, cam, hall := earlier(t)
	files := mediaFiles(t, root)
	h := open(t, options(t.TempDir(), 9, storagetest.New(t.TempDir()))) // the epoch that the other one had
	yard := begin(t, h, "yard", 2, "default")
	yard.on(t, 3)
	old := &heldLedgers{storagetest.New(root), make(chan struct{})}
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: old, Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	st := spaceState(h, "old")
	if !strings.Contains(st.Why, "earlier installation") || !strings.Contains(st.Hint, "spaces/old/restore") || !strings.Contains(st.Hint, "spaces/old/initialize") {
		t.Errorf("%+v", st)
	}
	if _, ok := h.a.Bounds("gate"); ok {
		t.Error("its footage is listed already")
	}
	if got := mediaFiles(t, root); !slices.Equal(got, files) {
		t.Errorf("%v has become %v", files, got)
	}
	if err := h.a.RestoreSpace("old"); err != nil {
		t.Fatal(err)
	}
	states := map[archive.SpaceState]bool{}
	eventually(t, "its ledgers to be read", func() bool {
		states[spaceState(h, "old").State] = true
		return states[archive.SpaceScanning]
	})
	if !states[archive.SpaceRestoring] {
		t.Logf("restoring was over too soon to be seen: %v", states)
	}
	time.Sleep(700 * time.Millisecond) // longer than the catalogue gathers rows
	if _, ok := h.a.Bounds("gate"); ok {
		t.Error("footage is listed before it is known what of it is locked")
	}
	yard.on(t, 3)
	close(old.release)
	takes(t, h, "old")
	audit(t, h.a, cam, 0, 25*12)
	eventually(t, "what was growing to be sealed", func() bool { return archive.Listed(h.a, "hall") })
	audit(t, h.a, hall, 0, 25*3)
	locks := h.a.Locks("gate", all)
	if len(locks) != 1 || locks[0].Reason != "case 7" || locks[0].Who != "officer" {
		t.Errorf("locks %+v", locks)
	}
	_, gaps, err := h.a.Ranges("door", all)
	if err != nil || !slices.ContainsFunc(gaps, func(g archive.Gap) bool { return g.Why == archive.GapCameraSilent && g.Span.Duration() > 7*time.Second }) {
		t.Errorf("gaps %+v %v", gaps, err)
	}
	// New files get numbers that none of those has.
	yard.on(t, 40)
	yard.end(t, h)
	audit(t, h.a, cam, 0, 25*12)
	audit(t, h.a, hall, 0, 25*3)
	h.close()
}

// TestForeignNumbers: files of another installation of the same epoch are not
// listed under numbers that this one still gives to its own.
func TestForeignNumbers(t *testing.T) {
	root := t.TempDir()
	a, cam := recorded(t, t.TempDir(), storagetest.New(root), 9, 12)
	eventually(t, "all sealed", func() bool { return openMedia(root) == 0 })
	a.close()
	for _, dir := range []string{"open", "ledger"} {
		if err := os.RemoveAll(filepath.Join(root, dir)); err != nil {
			t.Fatal(err)
		}
	}
	h := open(t, options(t.TempDir(), 9, storagetest.New(t.TempDir())))
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: storagetest.New(root), Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	if err := h.a.RestoreSpace("old"); err != nil {
		t.Fatal(err)
	}
	takes(t, h, "old")
	audit(t, h.a, cam, 0, 25*12)
	yard := begin(t, h, "yard", 2, "default")
	yard.on(t, 30)
	yard.end(t, h)
	audit(t, h.a, cam, 0, 25*12)
}

func (h *host) initialize(t *testing.T, name, confirm string, locked bool) error {
	t.Helper()
	_, err := h.a.InitializeSpace(context.Background(), name, confirm, locked)
	return err
}

// TestInitializeStranger: it asks first and tells what would go; it asks again
// for what is locked; then our files go, and nobody else's.
func TestInitializeStranger(t *testing.T) {
	root, cam, _ := earlier(t)
	files := mediaFiles(t, root)
	h := open(t, options(t.TempDir(), 3, storagetest.New(t.TempDir())))
	if err := h.a.AddSpace(archive.Space{Name: "old", Storage: storagetest.New(root), Create: true}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the stranger to be seen", func() bool { return spaceState(h, "old").State == archive.SpaceLost })
	var ask *archive.UnconfirmedError
	if err := h.initialize(t, "old", "", false); !errors.As(err, &ask) {
		t.Fatalf("%v", err)
	}
	c := ask.Contents
	if c.Confirm == "" || int(c.Files) != len(files)-1 || c.Bytes == 0 || len(c.Streams) != 3 || c.Streams[1].UID != "gate" || c.Locked == 0 || c.Locked >= c.Bytes ||
		c.Span.From.Sub(cam.born).Abs() > time.Second || c.Streams[1].Span.To.Sub(cam.born.Add(12*time.Second)).Abs() > time.Second {
		t.Errorf("%+v", c)
	}
	for _, word := range []string{"yes", "old", strings.ToUpper(c.Confirm)} {
		if err := h.initialize(t, "old", word, true); !errors.As(err, &ask) {
			t.Errorf("confirmed by %q: %v", word, err)
		}
	}
	if err := h.initialize(t, "old", c.Confirm, false); !errors.As(err, &ask) || !ask.Locked {
		t.Errorf("what is locked went: %v", err)
	}
	if got := mediaFiles(t, root); !slices.Equal(got, files) {
		t.Fatalf("unconfirmed, %v has become %v", files, got)
	}
	if err := h.initialize(t, "old", c.Confirm, true); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the space to be new", func() bool { return h.saw("storage.initialized") == 1 })
	takes(t, h, "old")
	var left []string
	filepath.WalkDir(root, func(p string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ".space" {
			rel, _ := filepath.Rel(root, p)
			left = append(left, rel)
		}
		return nil
	})
	left = slices.DeleteFunc(left, func(f string) bool { return strings.HasPrefix(f, "open/") && strings.HasSuffix(f, ".ledger") }) // this process's own
	if want := []string{"gate/picture.mp4", "notes.txt"}; !slices.Equal(left, want) {
		t.Errorf("left are %v, want %v", left, want)
	}
	if err := h.a.SetPools([]archive.Pool{pool("default", "old", "s0")}); err != nil {
		t.Fatal(err)
	}
	r := begin(t, h, "gate", 4, "default")
	r.on(t, 3)
	r.end(t, h)
}

// TestInitializeInUse: what is recorded in a space goes on elsewhere while the
// space is emptied; where there is nowhere else it is refused.
func TestInitializeInUse(t *testing.T) {
	a, b := storagetest.New(t.TempDir()), storagetest.New(t.TempDir())
	o := options(t.TempDir(), 1, a)
	h := open(t, o)
	takes(t, h, "s0")
	r := begin(t, h, "gate", 1, "default")
	r.on(t, 6)
	eventually(t, "files", func() bool { return len(filesOf(t, a.Root, "gate")) >= 2 })
	if err := h.a.AddSpace(archive.Space{Name: "s1", Storage: b, Create: true}); err != nil {
		t.Fatal(err)
	}
	takes(t, h, "s1")
	if err := h.a.SetPools([]archive.Pool{pool("default", "s0", "s1")}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be known what is locked", func() bool { return !h.a.RetentionWaits() })
	c, err := h.a.Contents(context.Background(), "s0")
	if err != nil || c.Files < 3 {
		t.Fatalf("%+v %v", c, err)
	}
	done := make(chan error, 1)
	go func() {
		_, err := h.a.InitializeSpace(context.Background(), "s0", c.Confirm, false)
		done <- err
	}()
	moved := r.at
	for moved == r.at || len(mediaFiles(t, b.Root)) == 0 { // until it goes on in the other one
		r.on(t, 1)
		select {
		case err := <-done:
			if err != nil {
				t.Fatal(err)
			}
			done <- nil
		case <-time.After(5 * time.Millisecond):
		}
	}
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the space to be new", func() bool { return h.saw("storage.initialized") == 1 })
	r.on(t, 4)
	r.flush()
	r.rec.End(archive.GapDisabled)
	r.rec.Close()
	eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, "gate") })
	if n := len(filesOf(t, a.Root, "gate")); n != 0 && n+len(filesOf(t, b.Root, "gate")) == 0 {
		t.Errorf("%d files are left", n)
	}
	segs, err := h.a.Segments("gate", all)
	if err != nil || len(segs) == 0 {
		t.Fatalf("%v", err)
	}
	ranges, _, err := h.a.Ranges("gate", all)
	if err != nil || len(ranges) != 1 || ranges[0].Span.To.Sub(r.cam.born.Add(time.Duration(r.at)*40*time.Millisecond)).Abs() > 50*time.Millisecond {
		t.Errorf("ranges %+v %v: it is not whole up to unit %d", ranges, err, r.at)
	}
}
