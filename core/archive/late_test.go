package archive_test

import (
	"context"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
)

// late is a backend that does not answer for a while at start: a plugin that is
// not there yet, a mount that hangs.
type late struct {
	archive.Storage
	come chan struct{}
}

func (l *late) Open(ctx context.Context, epoch, least uint64, create bool) (archive.SpaceInfo, error) {
	select {
	case <-l.come:
		return l.Storage.Open(ctx, epoch, least, create)
	case <-ctx.Done():
		return archive.SpaceInfo{}, ctx.Err()
	}
}

// TestLateSpace: a space that answers late holds up its own pool only, and what
// it holds is resumed when it has come.
func TestLateSpace(t *testing.T) {
	data := t.TempDir()
	good, slow := storagetest.New(t.TempDir()), storagetest.New(t.TempDir())
	pools := func(o archive.Options) archive.Options {
		o.Pools = []archive.Pool{{Name: "good", Spaces: []string{"s0"}, Overwrite: true}, {Name: "slow", Spaces: []string{"s1"}, Overwrite: true}}
		return o
	}
	h := open(t, pools(options(data, 1, good, slow)))
	rec, err := h.a.Recorder("gate", archive.Rules{Pool: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	cam := newCamera("gate", 1)
	f := start(t, cam, rec, archive.GapNone)
	f.feed(100)
	rec.Close() // as a killed core leaves it
	h.close()

	come := make(chan struct{})
	o := pools(options(data, 2, good, slow))
	o.Spaces[1].Storage = &late{slow, come}
	h = open(t, o) // returns though the slow space has not come
	defer h.close()
	if !h.a.PoolReady("good") || h.a.PoolReady("slow") {
		t.Fatalf("ready: good %v, slow %v", h.a.PoolReady("good"), h.a.PoolReady("slow"))
	}
	other, err := h.a.Recorder("yard", archive.Rules{Pool: "good"})
	if err != nil {
		t.Fatal(err)
	}
	start(t, newCamera("yard", 2), other, archive.GapNone).feed(50)
	other.Close()
	close(come)
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := h.a.Opened(ctx); err != nil {
		t.Fatal(err)
	}
	if !h.a.PoolReady("slow") {
		t.Fatal("the slow pool is not ready")
	}
	rec, err = h.a.Recorder("gate", archive.Rules{Pool: "slow"})
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	if res, ok := rec.Resume(); !ok || res.Positions.Run != cam.run || res.Positions.Next(1) == 0 {
		t.Errorf("resume %+v, %v", res.Positions, ok)
	}
	if _, ok := h.a.Bounds("gate"); !ok {
		t.Error("the footage of the slow space is not listed")
	}
}
