package archive_test

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

func pool(name string, spaces ...string) archive.Pool {
	return archive.Pool{Name: name, Spaces: spaces, Overwrite: true}
}

func spaceState(h *host, name string) archive.SpaceStatus {
	for _, s := range h.a.SpaceStatuses() {
		if s.Name == name {
			return s
		}
	}
	return archive.SpaceStatus{}
}

// takes waits until a space was opened and takes data.
func takes(t testing.TB, h *host, name string) {
	t.Helper()
	defer func() {
		if t.Failed() {
			t.Logf("%+v", spaceState(h, name))
		}
	}()
	eventually(t, name+" to be there", func() bool {
		s := spaceState(h, name)
		return s.State == archive.SpaceNormal && s.ID != [16]byte{}
	})
}

// recording is a stream that is fed further and further, a file a second.
type recording struct {
	*feeder
	cam *camera
	rec *archive.Recorder
	at  uint64
}

func begin(t testing.TB, h *host, name string, n byte, pool string) *recording {
	t.Helper()
	cam := newCamera(name, n)
	rec, err := h.a.Recorder(name, archive.Rules{Chunk: time.Second, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	return &recording{feeder: start(t, cam, rec, archive.GapNone), cam: cam, rec: rec}
}

func (r *recording) on(t testing.TB, seconds uint64) {
	t.Helper()
	r.at += 25 * seconds
	if err := r.feed(r.at); err != nil {
		t.Fatalf("%s: %v", r.cam.name, err)
	}
}

func (r *recording) end(t testing.TB, h *host) {
	t.Helper()
	r.flush()
	r.rec.End(archive.GapDisabled)
	r.rec.Close()
	eventually(t, r.cam.name+" all sealed and listed", func() bool { return archive.Listed(h.a, r.cam.name) })
	audit(t, h.a, r.cam, 0, r.at)
}

// TestSpaceComesAndGoes: while streams are recorded a space is added, a pool is
// given it, a stream is pointed at it, and it is taken away again. Not a unit is
// lost, and a stream that has nothing to do with it does not notice.
func TestSpaceComesAndGoes(t *testing.T) {
	ctx := context.Background()
	first, second := storagetest.New(t.TempDir()), storagetest.New(t.TempDir())
	h := open(t, options(t.TempDir(), 1, first))
	gate, yard := begin(t, h, "gate", 1, "default"), begin(t, h, "yard", 2, "default")
	gate.on(t, 3)
	yard.on(t, 3)
	if err := h.a.AddSpace(archive.Space{Name: "s1", Storage: second, Create: true}); err != nil {
		t.Fatal(err)
	}
	if err := h.a.AddSpace(archive.Space{Name: "s1", Storage: second, Create: true}); err == nil {
		t.Error("a space was added twice")
	}
	takes(t, h, "s1")
	if err := h.a.SetPools([]archive.Pool{pool("default", "s0"), pool("new", "none")}); err == nil {
		t.Error("a pool over a space that is not there was taken")
	}
	if err := h.a.SetPools([]archive.Pool{pool("default", "s0"), pool("new", "s1")}); err != nil {
		t.Fatal(err)
	}
	gate.rec.SetRules(archive.Rules{Chunk: time.Second, Pool: "new"})
	gate.on(t, 4)
	yard.on(t, 4)
	eventually(t, "files in the new space", func() bool { return len(mediaFiles(t, second.Root)) >= 2 })
	if n := len(filesOf(t, second.Root, "yard")); n != 0 {
		t.Errorf("%d files of the other stream went there", n)
	}

	// In use it stays: named by a pool, then because of what is in it.
	if err := h.a.RemoveSpace(ctx, "s1"); err == nil || !strings.Contains(err.Error(), "pool new") {
		t.Errorf("a space of a pool was removed: %v", err)
	}
	gate.rec.SetRules(archive.Rules{Chunk: time.Second, Pool: "default"})
	if err := h.a.SetPools([]archive.Pool{pool("default", "s0")}); err != nil {
		t.Fatal(err)
	}
	var holds *archive.HoldsError
	if err := h.a.RemoveSpace(ctx, "s1"); !errors.As(err, &holds) || holds.Contents.Files < 2 || len(holds.Contents.Streams) != 1 || holds.Contents.Streams[0].UID != "gate" {
		t.Fatalf("a space with footage was removed: %v", err)
	}
	gate.on(t, 3) // out of it again
	yard.on(t, 3)
	eventually(t, "nothing to grow there", func() bool {
		left, _ := os.ReadDir(filepath.Join(second.Root, "open"))
		return !slices.ContainsFunc(left, func(e os.DirEntry) bool { return strings.HasSuffix(e.Name(), ".mp4") })
	})
	c, err := h.a.Contents(ctx, "s1")
	if err != nil {
		t.Fatal(err)
	}
	was := len(mediaFiles(t, second.Root))
	if int(c.Files) != was || c.Streams[0].Span.Empty() || c.Confirm == "" {
		t.Errorf("%+v for %d files", c, was)
	}
	// Lost it may go: the disk is pulled.
	away := second.Root + ".away"
	if err := os.Rename(second.Root, away); err != nil {
		t.Fatal(err)
	}
	second.Kill()
	second.Revive()
	eventually(t, "the loss to be seen", func() bool { return spaceState(h, "s1").State == archive.SpaceLost })
	if err := h.a.RemoveSpace(ctx, "s1"); err != nil {
		t.Fatal(err)
	}
	if h.a.RemoveSpace(ctx, "s1") != archive.ErrNoSuchSpace || len(h.a.SpaceStatuses()) != 1 {
		t.Error("it is still there")
	}
	yard.end(t, h)
	segs, err := h.a.Segments("gate", all)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segs { // what was on it is in no list
		if _, err := h.a.Layout(s.File); err != nil {
			t.Errorf("segment %d is listed and cannot be read: %v", s.Number, err)
		}
	}
	gone := 0
	_, gaps, err := h.a.Ranges("gate", all)
	if err != nil {
		t.Fatal(err)
	}
	for _, g := range gaps {
		if g.Why == archive.GapDiskError {
			gone++
		}
	}
	if gone == 0 {
		t.Errorf("nothing says why its footage is missing: %+v", gaps)
	}

	// Attached again under another name it is known, and all of it is back.
	if err := os.Rename(away, second.Root); err != nil {
		t.Fatal(err)
	}
	again := storagetest.New(second.Root)
	if err := h.a.AddSpace(archive.Space{Name: "back", Storage: again, Create: true}); err != nil {
		t.Fatal(err)
	}
	takes(t, h, "back")
	gate.on(t, 1)
	gate.flush()
	gate.rec.End(archive.GapDisabled)
	gate.rec.Close()
	eventually(t, "its footage to be listed again", func() bool {
		c, err := h.a.Contents(ctx, "back")
		return err == nil && int(c.Files) == was && archive.Listed(h.a, "gate")
	})
	audit(t, h.a, gate.cam, 0, gate.at)
}

// TestEmptySpaceGoes: an empty one goes, and its name may be used again.
func TestEmptySpaceGoes(t *testing.T) {
	h := open(t, options(t.TempDir(), 1, storagetest.New(t.TempDir())))
	for range 3 {
		if err := h.a.AddSpace(archive.Space{Name: "x", Storage: storagetest.New(t.TempDir()), Create: true}); err != nil {
			t.Fatal(err)
		}
		takes(t, h, "x")
		if err := h.a.RemoveSpace(context.Background(), "x"); err != nil {
			t.Fatal(err)
		}
	}
	if h.saw("storage.added") != 3 || h.saw("storage.removed") != 3 {
		t.Errorf("%d added, %d removed", h.saw("storage.added"), h.saw("storage.removed"))
	}
}

// measured is a space whose fill the test says.
type measured struct {
	*storagetest.Dir
	total, free atomic.Int64
}

func (m *measured) Usage(ctx context.Context) (archive.Usage, error) {
	return archive.Usage{Total: m.total.Load(), Free: m.free.Load(), Used: m.total.Load() - m.free.Load()}, nil
}

// TestSpread: new files go where most is free in proportion, each stream keeps
// to its space meanwhile, and what is free counts, not the order.
func TestSpread(t *testing.T) {
	const gb = 1 << 30
	for _, c := range []struct {
		name        string
		total, free []int64
		streams     int
		most, least []int // streams that record in each space
	}{
		{"equal", []int64{100 * gb, 100 * gb}, []int64{50 * gb, 50 * gb}, 6, []int{3, 3}, []int{3, 3}},
		{"one is emptier", []int64{100 * gb, 100 * gb}, []int64{20 * gb, 60 * gb}, 10, []int{2, 10}, []int{0, 8}},
		{"one is nearly full", []int64{100 * gb, 100 * gb, 100 * gb}, []int64{1 * gb, 50 * gb, 50 * gb}, 6, []int{0, 3, 3}, []int{0, 3, 3}},
		{"one is larger", []int64{100 * gb, 300 * gb}, []int64{10 * gb, 30 * gb}, 8, []int{3, 7}, []int{1, 5}},
		{"one stream on equal disks", []int64{100 * gb, 100 * gb}, []int64{50 * gb, 50 * gb}, 1, []int{1, 1}, []int{0, 0}},
		{"one stream", []int64{100 * gb, 100 * gb}, []int64{40 * gb, 60 * gb}, 1, []int{0, 1}, []int{0, 1}},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := options(t.TempDir(), 1)
			o.Pools = []archive.Pool{pool("default")}
			var disks []*measured
			for i := range c.total {
				m := &measured{Dir: storagetest.New(t.TempDir())}
				m.total.Store(c.total[i])
				m.free.Store(c.free[i])
				disks = append(disks, m)
				name := fmt.Sprintf("s%d", i)
				o.Spaces = append(o.Spaces, archive.Space{Name: name, Storage: m, Create: true})
				o.Pools[0].Spaces = append(o.Pools[0].Spaces, name)
			}
			h := open(t, o)
			for i := range disks {
				takes(t, h, fmt.Sprintf("s%d", i))
			}
			var rs []*recording
			for i := range c.streams {
				rs = append(rs, begin(t, h, fmt.Sprintf("c%d", i), byte(i+1), "default"))
			}
			eventually(t, "retention to begin", func() bool { return !h.a.RetentionWaits() })
			rng := int64(1)
			for range 6 { // what is free goes up and down a little
				for i, m := range disks {
					rng = rng*6364136223846793005 + 1442695040888963407
					m.free.Store(c.free[i] + (rng>>33)%(c.free[i]/20+1))
				}
				retain(t, h)
				for _, r := range rs {
					r.on(t, 1)
				}
			}
			for _, r := range rs {
				r.end(t, h)
			}
			got := make([]int, len(disks))
			for _, r := range rs {
				in := 0
				for i, m := range disks {
					if len(mediaFiles(t, m.Root)) > 0 && len(filesOf(t, m.Root, r.cam.name)) > 0 {
						got[i]++
						in++
					}
				}
				if in != 1 {
					t.Errorf("%s went to and fro between %d spaces", r.cam.name, in)
				}
			}
			for i := range got {
				if got[i] < c.least[i] || got[i] > c.most[i] {
					t.Errorf("%v streams in the spaces, want %v to %v", got, c.least, c.most)
				}
			}
		})
	}
}

func filesOf(t testing.TB, root, uid string) (out []string) {
	t.Helper()
	for _, f := range mediaFiles(t, root) {
		if strings.HasPrefix(f, uid+string(filepath.Separator)) {
			out = append(out, f)
		}
	}
	return out
}

// TestSpreadMovesOn: a stream leaves a space that has become much fuller than
// another, at its next file.
func TestSpreadMovesOn(t *testing.T) {
	const gb = 1 << 30
	o := options(t.TempDir(), 1)
	o.Pools = []archive.Pool{pool("default", "s0", "s1")}
	var disks []*measured
	for i := range 2 {
		m := &measured{Dir: storagetest.New(t.TempDir())}
		m.total.Store(100 * gb)
		m.free.Store(50 * gb)
		disks = append(disks, m)
		o.Spaces = append(o.Spaces, archive.Space{Name: fmt.Sprintf("s%d", i), Storage: m, Create: true})
	}
	h := open(t, o)
	takes(t, h, "s0")
	takes(t, h, "s1")
	eventually(t, "retention to begin", func() bool { return !h.a.RetentionWaits() })
	r := begin(t, h, "gate", 1, "default")
	r.on(t, 3)
	disks[0].free.Store(20 * gb)
	retain(t, h)
	r.on(t, 3)
	r.end(t, h)
	if a, b := len(mediaFiles(t, disks[0].Root)), len(mediaFiles(t, disks[1].Root)); a == 0 || b == 0 {
		t.Errorf("%d and %d files", a, b)
	}
}

// TestManyPools: twenty pools share three spaces; each keeps its streams by its
// own days, and tells what is free over all its spaces.
func TestManyPools(t *testing.T) {
	dirs := []*storagetest.Dir{storagetest.New(t.TempDir()), storagetest.New(t.TempDir()), storagetest.New(t.TempDir())}
	o := options(t.TempDir(), 1, dirs...)
	o.Pools = nil
	for i := range 20 {
		p := pool(fmt.Sprintf("p%d", i), "s0", "s1", "s2")
		if i%2 == 1 {
			p.Days = time.Nanosecond
		}
		o.Pools = append(o.Pools, p)
	}
	h := open(t, o)
	for i := range dirs {
		takes(t, h, fmt.Sprintf("s%d", i))
	}
	eventually(t, "retention to begin", func() bool { return !h.a.RetentionWaits() })
	retain(t, h) // asks how full they are
	var rs []*recording
	for i := range 20 {
		r := begin(t, h, fmt.Sprintf("c%d", i), byte(i+1), fmt.Sprintf("p%d", i))
		r.cam.born = r.cam.born.Add(-time.Hour)
		rs = append(rs, r)
	}
	for _, r := range rs {
		r.rec.End(archive.GapNone)
		r.feeder = start(t, r.cam, r.rec, archive.GapNone)
		r.on(t, 2)
	}
	for _, r := range rs {
		r.end(t, h)
	}
	for i, d := range dirs {
		if n := len(mediaFiles(t, d.Root)); n == 0 {
			t.Errorf("nothing in space %d", i)
		}
	}
	out, err := h.a.Outlook()
	if err != nil {
		t.Fatal(err)
	}
	if len(out.Pools) != 20 || out.Pools[7].Total != 3<<40 || out.Pools[7].Free < 2<<40 {
		t.Fatalf("%+v", out.Pools)
	}
	var usable int64
	for _, p := range out.Pools {
		usable += p.Usable
	}
	if usable > 3<<40 {
		t.Errorf("the pools reckon with %d bytes, there are %d", usable, int64(3)<<40)
	}
	retain(t, h)
	eventually(t, "the odd ones to be deleted", func() bool {
		n := 0
		for i := range 20 {
			if _, ok := h.a.Bounds(fmt.Sprintf("c%d", i)); ok {
				n++
			}
		}
		return n == 10
	})
	for i := 0; i < 20; i += 2 {
		audit(t, h.a, rs[i].cam, 0, rs[i].at)
	}
}
