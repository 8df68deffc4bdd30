package archive_test

import (
	"testing"
	"time"

	"media-server/core/archive"
)

// TestFullNoMore: a space that takes data again is not said to be full until the next
// pass of retention, which may be a minute away.
func TestFullNoMore(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	o := options(t.TempDir(), 1, dir)
	o.Pools[0].Overwrite = false
	h := open(t, o)
	defer h.close()
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: 2 * time.Second})
	if err != nil {
		t.Fatal(err)
	}
	defer rec.Close()
	dir.Limit(50_000)
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(25 * 20); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the space to be full", func() bool { return stateOf(h).State == archive.SpaceFull })
	dir.Limit(1)
	eventually(t, "nothing to be free", func() bool { return stateOf(h).Usage.Free <= 0 })
	dir.Limit(1 << 30)
	if err := f.feed(25 * 30); err != nil {
		t.Fatal(err)
	}
	eventually(t, "it to be so no more", func() bool { return stateOf(h).State == archive.SpaceNormal })
}
