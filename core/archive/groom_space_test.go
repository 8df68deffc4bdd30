package archive_test

import (
	"context"
	"io"
	"sync"
	"testing"
	"time"

	"media-server/core/archive"
	"media-server/core/archive/storagetest"
	"media-server/core/media"
)

// TestGroomInArchive: footage that was moved to a space that takes whole files
// only, and gives no descriptors, is groomed there, as the pool it lies in says.
func TestGroomInArchive(t *testing.T) {
	t.Parallel()
	live, cold, cam := newDir(t), newDir(t), aged("gate", 1, 3*time.Hour)
	o := tiered(t.TempDir(), 1, live, cold)
	o.Signer = signerOf(1)
	o.Pools[0].Sign, o.Pools[1].Sign, o.Pools[1].GroomAfter = true, true, 2*time.Hour
	h := open(t, o)
	const to = 25 * 20
	record(t, h, cam, "live", to)
	eventually(t, "all moved and groomed", func() bool {
		return len(mediaFiles(t, live.Root)) == 0 && groomedFiles(h.a) == 10 && len(mediaFiles(t, cold.Root)) == 10
	})
	auditKeys(t, h.a, cam, 0, to)
	if st := h.a.Groomings(); len(st) != 1 || st[0].Pool != "cold" || st[0].Failures+st[0].Damaged != 0 {
		t.Errorf("%+v", st)
	}
	eventually(t, "the ledger is written", func() bool {
		out := verify(t, cold.Root, signerOf(1).public())
		return len(out.Findings) == 0 && out.Groomed == 10
	})
}

// during calls do once, in the middle of the first Put.
type during struct {
	*storagetest.Dir
	once sync.Once
	do   func()
}

func (d *during) Put(ctx context.Context, name string, size int64, r io.Reader) error {
	d.once.Do(d.do)
	return d.Dir.Put(ctx, name, size, r)
}

// TestGroomLockedMeanwhile: a lock that is made while a file is being groomed
// keeps the file whole; what was made of it goes.
func TestGroomLockedMeanwhile(t *testing.T) {
	t.Parallel()
	d, cam, data := newDir(t), aged("gate", 1, 3*time.Hour), t.TempDir()
	h := open(t, groomOptions(data, 1, 0, d))
	const to = 25 * 12
	record(t, h, cam, "", to)
	h.close()
	o := groomOptions(data, 2, time.Hour, d)
	st := &during{Dir: d}
	locked := make(chan error, 1)
	var a *archive.Archive
	ready := make(chan struct{})
	st.do = func() {
		<-ready
		from := cam.born.Add(time.Second)
		_, err := a.AddLock(context.Background(), archive.Lock{UID: "gate", Span: media.Span{From: from, To: from.Add(time.Millisecond)}, Reason: "r", Who: "w"})
		locked <- err
	}
	o.Spaces[0].Storage = st
	h = open(t, o)
	a = h.a
	close(ready)
	if err := <-locked; err != nil {
		t.Fatal(err)
	}
	eventually(t, "the others groomed", func() bool {
		return groomedFiles(h.a) == 5 && h.a.Groomings()[0].State == "idle" && len(mediaFiles(t, d.Root)) == 6
	})
	rs, _, err := h.a.Ranges("gate", all)
	if err != nil || len(rs) != 2 || rs[0].Groomed || !rs[1].Groomed {
		t.Fatalf("%+v, %v", rs, err)
	}
	if n := auditMixed(t, h.a, cam, to); n != 5 {
		t.Errorf("%d segments are groomed, want 5", n)
	}
}
