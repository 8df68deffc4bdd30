package archive_test

import (
	"testing"
	"time"

	"media-server/core/archive"
)

// TestSlowSync: syncs that take longer than was promised are told of, once, and
// so is the end of that. A single one is not.
func TestSlowSync(t *testing.T) {
	dir := newDir(t)
	o := options(t.TempDir(), 1, dir)
	o.Spaces[0].Fsync = 500 * time.Millisecond
	h := open(t, o)
	defer h.close()
	eventually(t, "the first scan to end", func() bool { return h.saw("archive.rebuild") > 0 && stateOf(h).State == archive.SpaceNormal })
	r := begin(t, h, "gate", 1, "")
	synced := func(rounds int, each time.Duration) {
		t.Helper()
		dir.SyncsTake(each)
		for range rounds {
			r.on(t, 1) // a part at least, each synced at once
			eventually(t, "all to be durable", func() bool { return h.a.Metrics().Spaces[0].QueueBytes == 0 })
		}
	}
	slow := func() time.Duration { return stateOf(h).Slow }
	synced(3, time.Millisecond)
	told := h.saw("storage.slow")
	if told != 0 || slow() != 0 {
		t.Fatalf("%d notices of a disk that is quick", told)
	}
	synced(4, 2*time.Second)
	if n := h.saw("storage.slow"); n != 1 || slow() != 2*time.Second || stateOf(h).State != archive.SpaceNormal || stateOf(h).SlowSince.IsZero() {
		t.Errorf("%d notices of a slow disk, %+v", n, stateOf(h))
	}
	synced(4, time.Millisecond)
	if n := h.saw("storage.ok"); n != 1 || slow() != 0 {
		t.Errorf("%d notices of its end, %+v", n, stateOf(h))
	}
	if err := h.a.TuneSpace("s0", archive.Limits{}, 5*time.Second); err != nil {
		t.Fatal(err)
	}
	synced(4, 2*time.Second)
	if n := h.saw("storage.slow"); n != 1 {
		t.Errorf("%d notices, though more is allowed now", n)
	}
}
