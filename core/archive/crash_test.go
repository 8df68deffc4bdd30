package archive_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// TestCrashes kills the core or the storage at random instants, over and over.
// A driver that holds what was not acknowledged as durable must always be able
// to go on so that nothing is lost or doubled.
func TestCrashes(t *testing.T) {
	rounds := 5
	if testing.Short() {
		rounds = 4
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { crash(t, seed, options) })
	}
}

// optioned makes the options of an archive over some spaces.
type optioned func(data string, epoch uint64, dirs ...*storagetest.Dir) archive.Options

func crash(t *testing.T, seed uint64, options optioned) {
	rng := rand.New(rand.NewPCG(seed, 7))
	dir, cam := newDir(t), newCamera("gate", 1)
	dir.Descriptors = seed%2 == 0
	data := t.TempDir()
	var acked media.RunPosition
	at := uint64(0)
	for epoch := uint64(1); epoch <= 8; epoch++ {
		h := open(t, options(data, epoch, dir))
		rec, err := h.a.Recorder("gate", archive.Rules{Chunk: time.Duration(2+rng.IntN(4)) * time.Second})
		if err != nil {
			t.Fatal(err)
		}
		acks := make(chan media.RunPosition, 10000)
		rec.OnDurable(func(p media.RunPosition) { acks <- p })
		f := start(t, cam, rec, archive.GapServerDown)
		for track := 1; track <= 2; track++ {
			if f.next[track] < acked.Next(track) {
				t.Fatalf("epoch %d: track %d resumes at %d, but %d was durable", epoch, track, f.next[track], acked.Next(track))
			}
		}
		at += uint64(rng.IntN(400))
		for i := range at {
			if i < f.next[1] {
				continue
			}
			if err := f.feed(i); err != nil {
				t.Fatal(err)
			}
			if rng.IntN(40) == 0 {
				time.Sleep(time.Duration(rng.IntN(3)) * time.Millisecond)
			}
		}
		how := kill(t, dir, rng)
		t.Log("epoch", epoch, how, "fed", f.next)
		rec.Close()
		h.close()
		dir.Revive()
		for len(acks) > 0 {
			acked = <-acks
		}
	}
	h := open(t, options(data, 9, dir))
	rec, _ := h.a.Recorder("gate", archive.Rules{})
	f := start(t, cam, rec, archive.GapServerDown)
	if err := f.feed(at + 10); err != nil {
		t.Fatal(err)
	}
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	eventually(t, "everything stored", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
	segs, _ := h.a.Segments("gate", all)
	for _, s := range segs {
		t.Log(s.Number, s.File, s.Span.From.Sub(cam.born), s.Span.To.Sub(cam.born), s.Complete)
	}
	audit(t, h.a, cam, 0, at+10)
	if n := h.saw("archive.damaged"); n > 0 {
		t.Fatalf("%d files are damaged", n)
	}
	eventually(t, "sealed", func() bool { return openFiles(dir) == 0 })
	h.close()
	rebuilt(t, dir, cam, at+10, options)
}

// rebuilt forgets both databases and reads everything again.
func rebuilt(t *testing.T, dir *storagetest.Dir, cam *camera, to uint64, options optioned) {
	h := open(t, options(t.TempDir(), 10, dir))
	defer h.close()
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 })
	audit(t, h.a, cam, 0, to)
}

// kill ends what runs in one of the ways things end.
func kill(t *testing.T, dir *storagetest.Dir, rng *rand.Rand) string {
	t.Helper()
	if rng.IntN(2) == 0 {
		return "core killed" // what it handed over lands
	}
	dir.Kill()
	return "both killed"
}

// TestPowerCut loses any subset of the pages that were not synced. What was
// acknowledged is there; what is there is right; what is missing shows as a gap.
func TestPowerCut(t *testing.T) {
	rounds := 8
	if testing.Short() {
		rounds = 5
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { powerCut(t, seed, options) })
	}
}

func powerCut(t *testing.T, seed uint64, options optioned) {
	rng := rand.New(rand.NewPCG(seed, 9))
	dir, cam := newDir(t), newCamera("gate", 1)
	dir.SyncEvery = time.Duration(1+rng.IntN(8)) * time.Millisecond
	data := t.TempDir()
	h := open(t, options(data, 1, dir))
	rec, _ := h.a.Recorder("gate", archive.Rules{Chunk: 3 * time.Second})
	acks := make(chan media.RunPosition, 10000)
	rec.OnDurable(func(p media.RunPosition) { acks <- p })
	f := start(t, cam, rec, archive.GapNone)
	for i := range uint64(300 + rng.IntN(700)) {
		if err := f.feed(i); err != nil {
			t.Fatal(err)
		}
		if rng.IntN(30) == 0 {
			time.Sleep(time.Millisecond)
		}
	}
	if err := dir.PowerCut(rng); err != nil {
		t.Fatal(err)
	}
	var acked media.RunPosition
	for len(acks) > 0 {
		acked = <-acks
	}
	rec.Close()
	h.close()
	dir.Revive()

	h = open(t, options(data, 2, dir))
	defer h.close()
	rec, _ = h.a.Recorder("gate", archive.Rules{})
	next := *cam
	next.run, next.born = media.RunID{2}, cam.born.Add(time.Minute)
	f = start(t, &next, rec, archive.GapServerDown)
	f.feed(50)
	f.flush()
	rec.End(archive.GapNone)
	rec.Close()
	held := present(t, h.a, cam)
	for track := 1; track <= 2; track++ {
		for seq := range acked.Next(track) {
			if !held[track][seq] {
				t.Fatalf("track %d: unit %d of %d acknowledged is lost", track, seq, acked.Next(track))
			}
		}
	}
	_, gaps, err := h.a.Ranges("gate", all)
	if err != nil || len(gaps) == 0 {
		t.Fatal(gaps, err)
	}
	// The gap begins with the first unit lost: of whichever track at the end of
	// what was written, of the picture where a hole lies between two files.
	var lost [3]media.Wall
	for track := 1; track <= 2; track++ {
		first := uint64(0)
		for held[track][first] {
			first++
		}
		_, lost[track] = cam.unit(track, first)
	}
	if from := gaps[0].Span.From; from < min(lost[1], lost[2])-1e6 || from > lost[1]+1e6 {
		t.Fatalf("the first units are lost at %s and %s, the first gap is %v", lost[1].Time(), lost[2].Time(), gaps[0])
	}
	if last := gaps[len(gaps)-1]; last.Why != archive.GapServerDown || last.Span.To != next.born {
		t.Fatalf("last gap %+v", last)
	}
}

// present reads which units of a camera's run the archive holds, and checks
// their bytes.
func present(t *testing.T, a *archive.Archive, cam *camera) (held [3]map[uint64]bool) {
	t.Helper()
	held[1], held[2] = map[uint64]bool{}, map[uint64]bool{}
	segs, err := a.Segments("gate", all)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range segs {
		if s.Run != cam.run {
			continue
		}
		l, err := a.Layout(s.File)
		if err != nil {
			t.Fatal(err)
		}
		next := map[int]uint64{}
		for i := l.Segments[s.Index].Last - 1; i >= l.Segments[s.Index].First; i-- {
			next[l.Fragments[i].Track] = l.Fragments[i].FirstSeq
		}
		before := map[int]uint64{1: next[1], 2: next[2]}
		auditSegment(t, a, cam, s, next)
		for track, from := range before {
			for seq := from; seq < next[track]; seq++ {
				if held[track][seq] {
					t.Fatalf("track %d: unit %d is there twice", track, seq)
				}
				held[track][seq] = true
			}
		}
	}
	return held
}

// openFiles counts the media files that still grow.
func openFiles(dir *storagetest.Dir) (n int) {
	dir.List(context.Background(), "open/", "", func(es []archive.Entry) error {
		for _, e := range es {
			if len(e.Name) > 4 && e.Name[len(e.Name)-4:] == ".mp4" {
				n++
			}
		}
		return nil
	})
	return n
}
