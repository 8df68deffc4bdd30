package archive_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"media-server/core/archive"
	rules "media-server/core/archive/retain"
	"media-server/core/archive/storagetest"
)

// tiered is options for a live pool in s0 whose footage is moved to s1, which
// takes whole files only and gives no descriptors.
func tiered(data string, epoch uint64, live, cold *storagetest.Dir) archive.Options {
	cold.NoAppend, cold.Descriptors = true, false
	o := options(data, epoch, live, cold)
	o.MoveEvery = 5 * time.Millisecond
	o.Pools = []archive.Pool{
		{Name: "live", Spaces: []string{"s0"}, Overwrite: true, ArchiveTo: "cold", ArchiveAfter: time.Nanosecond},
		{Name: "cold", Spaces: []string{"s1"}, Overwrite: true},
	}
	return o
}

// record makes files of 2 s and seals them all.
func record(t testing.TB, h *host, cam *camera, pool string, to uint64) {
	t.Helper()
	rec, err := h.a.Recorder(cam.name, archive.Rules{Chunk: 2 * time.Second, Pool: pool})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(to); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapDisabled)
	rec.Close()
	eventually(t, "all sealed and listed", func() bool { return archive.Listed(h.a, cam.name) })
}

// whole reads a stream as one file after the other.
func whole(t testing.TB, a *archive.Archive, uid string) []byte {
	t.Helper()
	segs, err := a.Segments(uid, all)
	if err != nil {
		t.Fatal(err)
	}
	var out []byte
	last := archive.FileID(0)
	for _, s := range segs {
		if s.File == last {
			continue
		}
		last = s.File
		l, err := a.Layout(s.File)
		if err != nil {
			t.Fatal(err)
		}
		p, err := a.Pin(s.File)
		if err != nil {
			t.Fatal(err)
		}
		b := make([]byte, l.Fragments[len(l.Fragments)-1].End())
		if _, err := p.ReadAt(b, 0); err != nil && !errors.Is(err, io.EOF) {
			t.Fatal(err)
		}
		p.Release()
		out = append(out, b...)
	}
	return out
}

// TestMoveToArchive: sealed files move, what is read stays the same byte for
// byte, and readers that held a file before go on.
func TestMoveToArchive(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	data := t.TempDir()
	o := tiered(data, 1, live, cold)
	o.Pools[0].ArchiveAfter = 24 * time.Hour
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	before := whole(t, h.a, "gate")
	ranges, _, err := h.a.Ranges("gate", all)
	if err != nil {
		t.Fatal(err)
	}
	files := mediaFiles(t, live.Root)
	if len(files) < 8 || len(mediaFiles(t, cold.Root)) != 0 {
		t.Fatalf("live %d, cold %d", len(files), len(mediaFiles(t, cold.Root)))
	}
	h.close()

	live.Descriptors = false // the harder way to go on reading
	h = open(t, tiered(data, 2, live, cold))
	segs, _ := h.a.Segments("gate", all)
	held, err := h.a.Pin(segs[0].File)
	if err != nil {
		t.Fatal(err)
	}
	defer held.Release()
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	if got := mediaFiles(t, cold.Root); fmt.Sprint(got) != fmt.Sprint(files) {
		t.Fatalf("cold holds %v, want %v", got, files)
	}
	if !bytes.Equal(whole(t, h.a, "gate"), before) {
		t.Fatal("other bytes after the move")
	}
	b := make([]byte, 1000)
	if _, err := held.ReadAt(b, 0); err != nil || !bytes.Equal(b, before[:1000]) {
		t.Fatalf("a reader from before the move: %v", err)
	}
	audit(t, h.a, cam, 0, 25*20)
	after, gaps, err := h.a.Ranges("gate", all)
	if err != nil || fmt.Sprint(after) != fmt.Sprint(ranges) || len(gaps) != 0 {
		t.Fatalf("ranges %v, were %v; gaps %v; %v", after, ranges, gaps, err)
	}
	var st archive.MoveStatus
	eventually(t, "books kept", func() bool { st = h.a.Moves()[0]; return st.State == "idle" && st.DueFiles == 0 })
	if st.Files != int64(len(files)) || st.From != "live" || st.To != "cold" || st.Failures != 0 {
		t.Fatalf("%+v", st)
	}
	// The catalogue from nothing: the same again.
	h.close()
	os.Remove(filepath.Join(data, "catalogue.db"))
	h = open(t, tiered(data, 3, live, cold))
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 2 })
	eventually(t, "listed", func() bool { r, _, _ := h.a.Ranges("gate", all); return fmt.Sprint(r) == fmt.Sprint(ranges) })
	if !bytes.Equal(whole(t, h.a, "gate"), before) {
		t.Fatal("other bytes after a rebuild")
	}
}

// broken is a space that fails in the ways a server on the network does.
type broken struct {
	*storagetest.Dir
	puts  atomic.Int32
	fails atomic.Int32 // puts to fail half way
	lies  atomic.Int32 // puts whose bytes are changed
	loses atomic.Int32 // puts that are done, but say that they are not
}

func (b *broken) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	b.puts.Add(1)
	switch {
	case b.fails.Add(-1) >= 0:
		io.CopyN(io.Discard, r, size/2)
		return errors.New("connection reset")
	case b.lies.Add(-1) >= 0:
		all, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		all[len(all)/2] ^= 1
		return b.Dir.Put(ctx, name, size, bytes.NewReader(all))
	case b.loses.Add(-1) >= 0:
		b.Dir.Put(ctx, name, size, r)
		return errors.New("connection reset")
	}
	return b.Dir.Put(ctx, name, size, r)
}

// TestMoveToBadServer: copies that fail, arrive changed or are not told about
// are made again; nothing is listed that was not compared.
func TestMoveToBadServer(t *testing.T) {
	t.Parallel()
	live, dir, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	cold := &broken{Dir: dir}
	cold.fails.Store(2)
	cold.lies.Store(2)
	cold.loses.Store(2)
	o := tiered(t.TempDir(), 1, live, dir)
	o.Spaces[1].Storage = cold
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && len(mediaFiles(t, dir.Root)) >= 8 })
	audit(t, h.a, cam, 0, 25*20)
	st := h.a.Moves()[0]
	if st.Failures < 6 || h.saw("storage.move_failed") == 0 || h.saw("storage.archived") == 0 {
		t.Fatalf("%+v, told %d times, cleared %d times", st, h.saw("storage.move_failed"), h.saw("storage.archived"))
	}
}

// TestMoveAndRules: hours, days by pool, locks.
func TestMoveAndRules(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	data := t.TempDir()
	o := tiered(data, 1, live, cold)
	now := time.Now().UTC()
	shut, err := rules.ParseHours(fmt.Sprintf("%02d:00-%02d:00", (now.Hour()+3)%24, (now.Hour()+5)%24))
	if err != nil {
		t.Fatal(err)
	}
	o.Zone, o.Pools[0].ArchiveAt = time.UTC, shut
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	eventually(t, "waits for its hours", func() bool { s := h.a.Moves()[0]; return s.State == "waiting" && s.DueFiles >= 8 })
	if n := len(mediaFiles(t, cold.Root)); n != 0 {
		t.Fatalf("%d files moved outside the hours", n)
	}
	h.close()

	// The live pool keeps nothing long, the archive pool everything.
	o = tiered(data, 2, live, cold)
	o.Pools[0].Days = time.Hour
	h = open(t, o)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	h.close()
	old := -2 * time.Hour // as if it had been recorded then
	shift := newCamera("old", 2)
	shift.born = shift.born.Add(old)
	o = tiered(data, 3, live, cold)
	h = open(t, o)
	record(t, h, shift, "live", 25*20)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	h.close()
	for _, c := range []struct {
		days time.Duration
		left bool
	}{{3 * time.Hour, true}, {time.Hour, false}} {
		o = tiered(data, uint64(3+c.days), live, cold)
		o.Epoch = 4
		if !c.left {
			o.Epoch = 5
		}
		o.Pools[0].Days, o.Pools[1].Days = time.Hour, c.days
		h = open(t, o)
		if _, err := h.a.Retain(t.Context(), nil); err != nil {
			t.Fatal(err)
		}
		if c.left {
			audit(t, h.a, shift, 0, 25*20)
		} else {
			eventually(t, "the archive pool's days apply", func() bool { s, _ := h.a.Segments("old", all); return len(s) == 0 })
		}
		audit(t, h.a, cam, 0, 25*20)
		h.close()
	}
}

// fleeting dies behind its first Put.
type fleeting struct{ *storagetest.Dir }

func (f fleeting) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	defer f.Kill()
	return f.Dir.Put(ctx, name, size, r)
}

// TestMoveTargetDies: what lies in a space that died behind a copy is moved to
// another one, and the copy goes when the space is there again.
func TestMoveTargetDies(t *testing.T) {
	t.Parallel()
	live, one, two, cam := newDir(t), newDir(t), newDir(t), aged("gate", 1, time.Minute)
	one.NoAppend, two.NoAppend, one.Descriptors, two.Descriptors = true, true, false, false
	o := options(t.TempDir(), 1, live, one, two)
	o.MoveEvery = 5 * time.Millisecond
	o.Spaces[1].Storage = fleeting{one}
	o.Pools = []archive.Pool{
		{Name: "live", Spaces: []string{"s0"}, Overwrite: true, ArchiveTo: "cold", ArchiveAfter: time.Nanosecond},
		{Name: "cold", Spaces: []string{"s1", "s2"}, Overwrite: true},
	}
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	eventually(t, "all moved to the other space", func() bool { return len(mediaFiles(t, live.Root)) == 0 })
	if n := len(mediaFiles(t, one.Root)); n != 1 {
		t.Fatalf("%d files in the space that died", n)
	}
	audit(t, h.a, cam, 0, 25*20)
	one.Revive()
	eventually(t, "the copy to go", func() bool { return len(mediaFiles(t, one.Root)) == 0 })
	audit(t, h.a, cam, 0, 25*20)
}

// TestStage: a pool of a space that takes whole files only is recorded in its
// stage.
func TestStage(t *testing.T) {
	t.Parallel()
	stage, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	o := tiered(t.TempDir(), 1, stage, cold)
	o.Pools = []archive.Pool{{Name: "cold", Spaces: []string{"s1"}, Stage: "s0", Overwrite: true}}
	h := open(t, o)
	record(t, h, cam, "cold", 25*20)
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, stage.Root)) == 0 && len(mediaFiles(t, cold.Root)) >= 8 })
	audit(t, h.a, cam, 0, 25*20)
	// Facts get to a space that has no byte stream.
	if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: all, Reason: "test", Who: "me"}); err != nil {
		t.Log(err)
	}
	eventually(t, "ledger written", func() bool {
		l, _ := filepath.Glob(filepath.Join(cold.Root, "ledger", "*.ledger"))
		return len(l) == 1
	})
}

// TestDoubles: a copy of a listed file that a rebuild finds is not listed
// twice; it goes when it is the same, and stays when it is not.
func TestDoubles(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	o := tiered(data, 1, live, cold)
	o.Pools[0].ArchiveTo = ""
	h := open(t, o)
	record(t, h, cam, "live", 25*20)
	files := mediaFiles(t, live.Root)
	for i, name := range files[:4] {
		b, err := os.ReadFile(filepath.Join(live.Root, name))
		if err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			b[len(b)/3] ^= 1
		}
		os.MkdirAll(filepath.Dir(filepath.Join(cold.Root, name)), 0o755)
		if err := os.WriteFile(filepath.Join(cold.Root, name), b, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for range 2 {
		if err := h.a.Rebuild(t.Context(), "", nil); err != nil {
			t.Fatal(err)
		}
		audit(t, h.a, cam, 0, 25*20)
	}
	if got := mediaFiles(t, cold.Root); len(got) != 1 || got[0] != files[0] {
		t.Fatalf("left in the second space: %v", got)
	}
	if len(mediaFiles(t, live.Root)) != len(files) || h.saw("archive.damaged") < 2 {
		t.Fatalf("%d of %d files left, %d told", len(mediaFiles(t, live.Root)), len(files), h.saw("archive.damaged"))
	}
}

// moveChild is a process that moves until it is killed: TestMoveKilled.
const moveChildEnv = "ARCHIVE_MOVE_CHILD"

// slow spends time where a real space does, for kills to hit.
type slow struct{ archive.Storage }

func (s slow) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	defer time.Sleep(20 * time.Millisecond)
	return s.Storage.Put(ctx, name, size, r)
}

func (s slow) Delete(ctx context.Context, names []string) error {
	defer time.Sleep(20 * time.Millisecond)
	return s.Storage.Delete(ctx, names)
}

func moveChild(arg string) {
	var data, live, cold string
	var epoch uint64
	if _, err := fmt.Sscan(arg, &epoch, &data, &live, &cold); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	o := tiered(data, epoch, storagetest.New(live), storagetest.New(cold))
	o.Spaces[0].Storage, o.Spaces[1].Storage = slow{o.Spaces[0].Storage}, slow{o.Spaces[1].Storage}
	a, err := archive.Open(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println("ready")
	a.Run(context.Background())
}

// TestMoveKilled kills the process that moves at seeded instants, over and
// over, also with its catalogue lost: every file is listed once, and lies in
// one space in the end.
func TestMoveKilled(t *testing.T) {
	t.Parallel()
	rounds := uint64(3)
	if testing.Short() {
		rounds = 2
	}
	for seed := range rounds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { moveKilled(t, seed) })
	}
}

func moveKilled(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 9))
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, time.Minute)
	data := t.TempDir()
	o := tiered(data, 1, live, cold)
	o.Pools[0].ArchiveTo = ""
	h := open(t, o)
	cam.born = cam.born.Add(-time.Hour) // footage of the future is not moved
	const to = 25 * 60
	record(t, h, cam, "live", to)
	before := whole(t, h.a, "gate")
	files := mediaFiles(t, live.Root)
	h.close()
	epoch, half := uint64(2), 0
	for ; len(mediaFiles(t, live.Root)) > 0 && epoch < 40; epoch++ {
		killedChild(t, moveChildEnv, fmt.Sprint(epoch, " ", data, " ", live.Root, " ", cold.Root), 0, time.Duration(rng.IntN(1200))*time.Millisecond)
		if twice := both(mediaFiles(t, live.Root), mediaFiles(t, cold.Root)); twice > 0 {
			half++
		}
		if rng.IntN(6) == 0 {
			for _, f := range []string{"catalogue.db", "catalogue.db-wal", "catalogue.db-shm"} {
				os.Remove(filepath.Join(data, f))
			}
		}
		if rng.IntN(3) > 0 {
			continue
		}
		// What does the next process see?
		epoch++
		o := tiered(data, epoch, storagetest.New(live.Root), storagetest.New(cold.Root))
		o.MoveEvery = time.Hour
		h := open(t, o)
		eventually(t, "listed", func() bool {
			r, g, err := h.a.Ranges("gate", all)
			return err == nil && len(r) == 1 && len(g) == 0 && r[0].Span.Duration() == time.Minute
		})
		if !bytes.Equal(whole(t, h.a, "gate"), before) {
			t.Fatalf("epoch %d: other bytes", epoch)
		}
		audit(t, h.a, cam, 0, to)
		h.close()
	}
	h = open(t, tiered(data, epoch+1, live, cold))
	defer func() { t.Logf("%+v; live %d", h.a.Moves(), len(mediaFiles(t, live.Root))) }()
	eventually(t, "all moved", func() bool { return len(mediaFiles(t, live.Root)) == 0 && h.a.Moves()[0].State == "idle" })
	if err := h.a.Rebuild(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	audit(t, h.a, cam, 0, to)
	if got := mediaFiles(t, cold.Root); fmt.Sprint(got) != fmt.Sprint(files) {
		t.Fatalf("cold holds\n%v, want\n%v", got, files)
	}
	t.Log("killed", epoch-2, "times,", half, "of them with a file in both spaces")
}

// both counts the files that are in two folders.
func both(a, b []string) (n int) {
	for _, x := range a {
		if slices.Contains(b, x) {
			n++
		}
	}
	return n
}

// killedChild kills a child some time after it has come up and written so many
// bytes more.
func killedChild(t *testing.T, env, arg string, more int, after time.Duration) {
	t.Helper()
	c := exec.Command(os.Args[0])
	c.Env = append(os.Environ(), env+"="+arg)
	c.Stderr = os.Stderr
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	b := make([]byte, len("ready")+more)
	if _, err := io.ReadFull(out, b); err != nil {
		t.Fatal("the child did not come up: ", err)
	}
	time.Sleep(after)
	c.Process.Kill()
	c.Wait()
}
