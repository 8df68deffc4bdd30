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

// TestCrashes kills the core, the storage, or cuts the power at random
// instants, over and over. A driver that holds what was not acknowledged as
// durable must always be able to go on so that nothing is lost or doubled.
func TestCrashes(t *testing.T) {
	rounds := 12
	if testing.Short() {
		rounds = 4
	}
	for seed := range uint64(rounds) {
		t.Run(fmt.Sprintf("seed %d", seed), func(t *testing.T) { crash(t, seed) })
	}
}

func crash(t *testing.T, seed uint64) {
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
		kill(t, dir, rng)
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
	audit(t, h.a, cam, 0, at+10)
	if n := h.saw("archive.damaged"); n > 0 {
		t.Fatalf("%d files are damaged", n)
	}
	eventually(t, "sealed", func() bool { return openFiles(dir) == 0 })
	h.close()
	rebuilt(t, dir, cam, at+10)
}

// rebuilt forgets both databases and reads everything again.
func rebuilt(t *testing.T, dir *storagetest.Dir, cam *camera, to uint64) {
	h := open(t, options(t.TempDir(), 10, dir))
	defer h.close()
	eventually(t, "rebuilt", func() bool { return h.saw("archive.rebuild") == 1 })
	audit(t, h.a, cam, 0, to)
}

// kill ends what runs in one of the ways things end.
func kill(t *testing.T, dir *storagetest.Dir, rng *rand.Rand) {
	t.Helper()
	switch rng.IntN(4) {
	case 0: // core killed: what it handed over lands
	case 1: // both killed
		dir.Kill()
	default:
		if err := dir.PowerCut(rng); err != nil {
			t.Fatal(err)
		}
	}
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
