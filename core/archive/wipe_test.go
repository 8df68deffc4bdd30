package archive_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// stop lets the first call that comes once it is armed wait until it may go.
type stop struct {
	armed   atomic.Bool
	entered chan struct{}
	release chan struct{}
	once    sync.Once
}

func newStop(t testing.TB) *stop {
	s := &stop{entered: make(chan struct{}), release: make(chan struct{})}
	t.Cleanup(s.free)
	return s
}

func (s *stop) wait() {
	if s.armed.CompareAndSwap(true, false) {
		close(s.entered)
		<-s.release
	}
}

func (s *stop) free() { s.once.Do(func() { close(s.release) }) }

// heldLists is a space whose next list of everything below a prefix waits; when,
// which may be nil, says that it is the right time.
type heldLists struct {
	*storagetest.Dir
	prefix string
	stop   *stop
	when   func() bool
}

func (l *heldLists) List(ctx context.Context, prefix, after string, fn func([]archive.Entry) error) error {
	if prefix == l.prefix && (l.when == nil || l.when()) {
		l.stop.wait()
	}
	return l.Dir.List(ctx, prefix, after, fn)
}

func (h *host) told(typ, text string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return slices.ContainsFunc(h.notices, func(n archive.Notice) bool { return n.Type == typ && strings.Contains(n.Message, text) })
}

// wipeLater starts to initialise s0 while a rebuild of another space is under
// way. change is called between: the work begins behind it.
func wipeLater(t *testing.T, root string, before func(), change func(h *host, d *storagetest.Dir)) (*host, *camera) {
	t.Helper()
	d, other := storagetest.New(root), &heldLists{Dir: storagetest.New(t.TempDir()), prefix: "ledger/"}
	o := options(t.TempDir(), 1, d, other.Dir)
	o.Spaces[1].Storage = other
	o.Pools[0].Spaces = []string{"s0"}
	other.stop = newStop(t)
	h := open(t, o)
	t.Cleanup(other.stop.free)
	cam := aged("gate", 1, time.Hour)
	record(t, h, cam, "", 25*10)
	eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
	before()
	if len(mediaFiles(t, filepath.Dir(root))) == 0 {
		t.Fatal("nothing was recorded")
	}
	kick := func() { // the backend is a new process
		d.Kill()
		d.Revive()
	}
	if _, err := os.Stat(root); err != nil {
		kick()
		eventually(t, "the loss to be seen", func() bool { return stateOf(h).State == archive.SpaceLost })
	}
	other.stop.armed.Store(true)
	rebuilt := make(chan error, 1)
	go func() { rebuilt <- h.a.Rebuild(context.Background(), "s1", nil) }()
	<-other.stop.entered
	c, err := h.a.Contents(t.Context(), "s0")
	if err != nil {
		t.Fatal(err)
	}
	if err := h.initialize(t, "s0", c.Confirm, false); err != nil {
		t.Fatal(err)
	}
	change(h, d)
	other.stop.free()
	if err := <-rebuilt; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the job to end", func() bool {
		return h.told("storage.failed", "could not be initialised") || h.saw("storage.initialized") > 0
	})
	if h.saw("storage.initialized") > 0 {
		t.Error("what lies there now was initialised, nobody asked for that")
	}
	return h, cam
}

// TestWipeDiskComesBack: a lost space is to be initialised, which waits for
// something else; meanwhile its disk is mounted. Nothing of that goes.
func TestWipeDiskComesBack(t *testing.T) {
	mount := t.TempDir()
	root, away := filepath.Join(mount, "space"), filepath.Join(mount, "away")
	rename := func(from, to string) {
		t.Helper()
		if err := os.Rename(from, to); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	var files []string
	h, cam := wipeLater(t, root, func() {
		files = mediaFiles(t, root)
		rename(root, away)
	}, func(h *host, _ *storagetest.Dir) {
		rename(away, root)
		eventually(t, "the disk to be back", func() bool { return h.saw("storage.ok") > 0 })
	})
	if got := mediaFiles(t, root); !slices.Equal(got, files) {
		t.Errorf("%v has become %v", files, got)
	}
	audit(t, h.a, cam, 0, 25*10)
}

// TestWipeDiskGoes: the other way round, a space in use is to be initialised,
// and another disk lies at its path when it is its turn.
func TestWipeDiskGoes(t *testing.T) {
	mount := t.TempDir()
	root, away := filepath.Join(mount, "space"), filepath.Join(mount, "away")
	strange, _, _ := earlier(t)
	files := mediaFiles(t, strange)
	if err := os.Mkdir(root, 0o755); err != nil {
		t.Fatal(err)
	}
	h, _ := wipeLater(t, root, func() {}, func(h *host, d *storagetest.Dir) {
		for _, m := range [][2]string{{root, away}, {strange, root}} {
			if err := os.Rename(m[0], m[1]); err != nil {
				t.Fatal(err)
			}
		}
		d.Kill()
		d.Revive()
		eventually(t, "the loss to be seen", func() bool { return h.told("storage.failed", "lost") })
	})
	if got := mediaFiles(t, root); !slices.Equal(got, files) {
		t.Errorf("of the strange disk, %v has become %v", files, got)
	}
	if segs, err := h.a.Segments("gate", all); err != nil || len(segs) == 0 {
		t.Errorf("what lies on the disk that is away is not listed any more: %v", err)
	}
}

// heldReads is a space that waits before it gives out the end of a file.
type heldReads struct {
	*storagetest.Dir
	stop *stop
}

func (s *heldReads) ReadAt(ctx context.Context, name string, off int64, p []byte) (int, error) {
	n, err := s.Dir.ReadAt(ctx, name, off, p)
	if e, statErr := s.Dir.Stat(ctx, name); statErr == nil && strings.HasSuffix(name, ".mp4") && off+int64(n) == e.Size {
		s.stop.wait()
	}
	return n, err
}

// TestWipeTargetOfMove: a space is initialised while a file is copied there. The
// copy goes; the original stays, and is moved again.
func TestWipeTargetOfMove(t *testing.T) {
	t.Parallel()
	live, dir, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	o := tiered(t.TempDir(), 1, live, dir)
	cold := &heldReads{dir, newStop(t)}
	o.Spaces[1].Storage = cold
	h := open(t, o)
	t.Cleanup(cold.stop.free)
	eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
	cold.stop.armed.Store(true)
	record(t, h, cam, "live", 25*10)
	<-cold.stop.entered // the first copy was read back whole
	c, err := h.a.Contents(t.Context(), "s1")
	if err != nil || c.Files != 1 {
		t.Fatalf("%+v %v", c, err)
	}
	if err := h.initialize(t, "s1", c.Confirm, false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the space to be new", func() bool { return h.saw("storage.initialized") == 1 })
	if n := len(mediaFiles(t, dir.Root)); n != 0 {
		t.Fatalf("%d files are left", n)
	}
	cold.stop.free()
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	audit(t, h.a, cam, 0, 25*10)
}

// TestWipeRecordedInto: a stream begins to be recorded while its only space is
// emptied. What was there goes, the new footage stays.
func TestWipeRecordedInto(t *testing.T) {
	t.Parallel()
	d, s := newDir(t), newStop(t)
	o := options(t.TempDir(), 1, d)
	o.Spaces[0].Storage = &heldLists{Dir: d, stop: s}
	h := open(t, o)
	t.Cleanup(s.free)
	record(t, h, aged("yard", 1, time.Hour), "", 25*5)
	eventually(t, "the first scan to end", func() bool { return !h.a.RetentionWaits() })
	c, err := h.a.Contents(t.Context(), "s0")
	if err != nil {
		t.Fatal(err)
	}
	s.armed.Store(true)
	if err := h.initialize(t, "s0", c.Confirm, false); err != nil {
		t.Fatal(err)
	}
	<-s.entered
	r := begin(t, h, "gate", 2, "")
	r.on(t, 4)
	eventually(t, "files that are sealed and one that grows", func() bool {
		return len(filesOf(t, d.Root, "gate")) > 0 && openMedia(d.Root) > 0
	})
	s.free()
	eventually(t, "the space to be new", func() bool { return h.saw("storage.initialized") == 1 })
	r.on(t, 3)
	r.end(t, h)
	if n := len(filesOf(t, d.Root, "yard")); n != 0 {
		t.Errorf("%d files are left of what was there", n)
	}
	if h.saw("archive.damaged") > 0 {
		t.Error("a file was missed that was deleted here")
	}
}
