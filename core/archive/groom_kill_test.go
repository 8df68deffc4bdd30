package archive_test

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// groomChild is a process that grooms until it is killed.
const groomChildEnv = "ARCHIVE_GROOM_CHILD"

func killOptions(data string, epoch uint64, after time.Duration, d *storagetest.Dir) archive.Options {
	o := groomOptions(data, epoch, after, d)
	o.Signer, o.Pools[0].Sign = signerOf(1), true
	return o
}

func groomChild(arg string) {
	var data, root string
	var epoch uint64
	if _, err := fmt.Sscan(arg, &epoch, &data, &root); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	o := killOptions(data, epoch, time.Hour, storagetest.New(root))
	o.Spaces[0].Storage = slow{o.Spaces[0].Storage}
	a, err := archive.Open(context.Background(), o)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(3)
	}
	fmt.Println("ready")
	a.Run(context.Background())
}

// auditMixed checks that every segment of the camera is listed once, and holds
// either all of its units or its key frames and nothing else. It returns how
// many segments are groomed.
func auditMixed(t testing.TB, a *archive.Archive, cam *camera, to uint64) (groomed int) {
	t.Helper()
	segs, err := a.Segments(cam.name, all)
	if err != nil {
		t.Fatal(err)
	}
	next := map[int]uint64{}
	for i, s := range segs {
		if i > 0 && s.Number != segs[i-1].Number+1 {
			t.Fatalf("segment %d of file %s follows %d of file %s", s.Number, s.File, segs[i-1].Number, segs[i-1].File)
		}
		l, err := a.Layout(s.File)
		if err != nil {
			t.Fatal(err)
		}
		sl := l.Segments[s.Index]
		sound := false
		for _, fr := range l.Fragments[sl.First:sl.Last] {
			if fr.Track == 2 && !sound && next[2] < fr.FirstSeq { // behind a groomed segment
				next[2] = fr.FirstSeq
			}
			sound = sound || fr.Track == 2
		}
		if sound {
			auditSegment(t, a, cam, s, next)
			continue
		}
		groomed++
		next[1] = auditGroomed(t, a, cam, s, next[1])
	}
	if next[1] != to {
		t.Fatalf("pictures up to %d instead of %d", next[1], to)
	}
	return groomed
}

func auditGroomed(t testing.TB, a *archive.Archive, cam *camera, s archive.Segment, next uint64) uint64 {
	t.Helper()
	l, err := a.Layout(s.File)
	if err != nil {
		t.Fatal(err)
	}
	pin, err := a.Pin(s.File)
	if err != nil {
		t.Fatal(err)
	}
	defer pin.Release()
	sl := l.Segments[s.Index]
	for _, fr := range l.Fragments[sl.First:sl.Last] {
		b := make([]byte, fr.DataSize)
		if _, err := pin.ReadAt(b, fr.DataOffset); err != nil {
			t.Fatal(err)
		}
		at := fr.BaseTime
		for _, smp := range fr.Samples {
			u, wall := cam.unit(1, next)
			if !u.Key || !bytes.Equal(b[:smp.Size], u.Payload) || l.Zero.Add(media.DurationOf(at+int64(smp.CTO), 90000)).Sub(wall).Abs() > time.Millisecond {
				t.Fatalf("key frame %d is not there, or not at its time", next)
			}
			at += int64(smp.Duration)
			b = b[smp.Size:]
			next += 25
		}
	}
	return next
}

// TestGroomKilled kills the process that grooms at seeded instants, over and
// over, also with its databases lost: each span is listed once, with every key
// frame; nothing is left over in the end; what is locked stays; and it verifies.
func TestGroomKilled(t *testing.T) {
	t.Parallel()
	rounds := uint64(3)
	if testing.Short() {
		rounds = 1
	}
	for seed := range rounds {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { groomKilled(t, seed) })
	}
}

func groomKilled(t *testing.T, seed uint64) {
	rng := rand.New(rand.NewPCG(seed, 10))
	d, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	h := open(t, killOptions(data, 1, 0, d))
	const to = 25 * 120
	record(t, h, cam, "", to)
	from := cam.born.Add(60 * time.Second)
	if _, err := h.a.AddLock(t.Context(), archive.Lock{UID: "gate", Span: media.Span{From: from, To: from.Add(5 * time.Second)}, Reason: "r", Who: "w"}); err != nil {
		t.Fatal(err)
	}
	ranges, _, _ := h.a.Ranges("gate", all)
	kept := map[string][]byte{}
	for _, f := range mediaFiles(t, d.Root) {
		kept[f], _ = os.ReadFile(filepath.Join(d.Root, f))
	}
	files := len(kept)
	h.close()

	epoch, kills, half := uint64(2), 0, 0
	for ; kills < 14; epoch++ {
		killedChild(t, groomChildEnv, fmt.Sprint(epoch, " ", data, " ", d.Root), 0, time.Duration(rng.IntN(700))*time.Millisecond)
		kills++
		if len(mediaFiles(t, d.Root)) > files {
			half++
		}
		lose := []string{}
		switch rng.IntN(8) {
		case 0:
			lose = []string{"catalogue.db"}
		case 1:
			lose = []string{"catalogue.db", "state.db"}
		}
		for _, f := range lose {
			for _, suffix := range []string{"", "-wal", "-shm"} {
				os.Remove(filepath.Join(data, f+suffix))
			}
		}
		if rng.IntN(3) > 0 && len(lose) == 0 {
			continue
		}
		epoch++
		o := killOptions(data, epoch, 24*time.Hour, storagetest.New(d.Root)) // grooms nothing, but ends what was begun
		h := open(t, o)
		eventually(t, "listed", func() bool {
			r, g, err := h.a.Ranges("gate", all)
			return err == nil && len(g) == 0 && fmt.Sprint(joined(r)) == fmt.Sprint(joined(ranges))
		})
		auditMixed(t, h.a, cam, to)
		h.close()
	}
	h = open(t, killOptions(data, epoch+1, time.Hour, d))
	defer func() {
		if t.Failed() {
			t.Logf("%+v\n%v", h.a.Groomings(), mediaFiles(t, d.Root))
		}
	}()
	eventually(t, "all groomed", func() bool {
		st := h.a.Groomings()[0]
		left := 0
		for _, f := range mediaFiles(t, d.Root) {
			if kept[f] != nil {
				left++
			}
		}
		return st.State == "idle" && left <= 4 && len(mediaFiles(t, d.Root)) == files
	})
	if err := h.a.Rebuild(t.Context(), "", nil); err != nil {
		t.Fatal(err)
	}
	groomed := auditMixed(t, h.a, cam, to)
	h.close()
	whole := 0
	for _, f := range mediaFiles(t, d.Root) {
		if was := kept[f]; was != nil {
			whole++
			if now, err := os.ReadFile(filepath.Join(d.Root, f)); err != nil || !bytes.Equal(now, was) {
				t.Errorf("locked %s changed: %v", f, err)
			}
		}
	}
	if whole < 3 || whole > 4 || groomed != files-whole {
		t.Errorf("%d files are whole, %d segments groomed", whole, groomed)
	}
	if left := putLeft(d.Root); len(left) > 0 {
		t.Errorf("left over: %v", left)
	}
	out := verify(t, d.Root, signerOf(1).public())
	if len(out.Findings) != 0 || out.Signed != files || out.Groomed != files-whole {
		t.Errorf("%d files, %d whole: %+v", files, whole, out)
	}
	t.Log("killed", kills, "times,", half, "of them with a file beside its original")
}

// putLeft lists what a killed process left of files it was writing.
func putLeft(root string) []string {
	m, _ := filepath.Glob(filepath.Join(root, ".space-put-*"))
	return m
}

// TestGroomStorageDies: the storage process dies at seeded instants while
// footage is groomed; at each instant every span is listed once.
func TestGroomStorageDies(t *testing.T) {
	t.Parallel()
	rng := rand.New(rand.NewPCG(7, 7))
	d, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	d.Descriptors = false
	h := open(t, killOptions(data, 1, 0, d))
	const to = 25 * 60
	record(t, h, cam, "", to)
	files := len(mediaFiles(t, d.Root))
	h.close()
	o := killOptions(data, 2, time.Hour, d)
	o.Spaces[0].Storage = slow{d}
	h = open(t, o)
	defer func() {
		if t.Failed() {
			t.Logf("%+v", h.a.Groomings())
		}
	}()
	eventually(t, "it to begin", func() bool { return h.a.Groomings()[0].DueFiles > 0 })
	for range 30 {
		time.Sleep(time.Duration(rng.IntN(40)) * time.Millisecond)
		d.Kill()
		time.Sleep(time.Duration(rng.IntN(10)) * time.Millisecond)
		once(t, h.a, cam.name)
		d.Revive()
	}
	// Something that is written tells the space that it works again.
	if err := h.a.MarkEvent(t.Context(), archive.EventMark{UID: "gate", Kind: "motion", From: cam.born, To: cam.born.Add(time.Second)}); err != nil {
		t.Fatal(err)
	}
	eventually(t, "all groomed", func() bool {
		once(t, h.a, cam.name)
		return h.a.Groomings()[0].State == "idle" && auditMixed(t, h.a, cam, to) == files
	})
	eventually(t, "nothing left", func() bool { return len(mediaFiles(t, d.Root)) == files })
	h.close()
	out := verify(t, d.Root, signerOf(1).public())
	if len(out.Findings) != 0 || out.Groomed != files {
		t.Errorf("%d files: %+v", files, out)
	}
}

// once checks that every span of a stream is listed once.
func once(t testing.TB, a *archive.Archive, uid string) {
	t.Helper()
	es, err := a.Extents(uid, all)
	if err != nil {
		t.Fatal(err)
	}
	segs, err := a.Segments(uid, all)
	if err != nil {
		t.Fatal(err)
	}
	for i := 1; i < len(segs); i++ {
		if segs[i].Number != segs[i-1].Number+1 {
			t.Fatalf("segment %d follows %d", segs[i].Number, segs[i-1].Number)
		}
	}
	for i := 1; i < len(es); i++ {
		if es[i].Span.From < es[i-1].Span.To-media.Wall(100*time.Millisecond) {
			t.Fatalf("files %v and %v overlap", es[i-1], es[i])
		}
	}
}
