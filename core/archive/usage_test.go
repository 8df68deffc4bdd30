package archive

import (
	"database/sql"
	"log/slog"
	"testing"

	"media-server/core/media"
)

// TestUsageBetween sums what a stream takes at the worst moments: a file is listed, and
// is not in the books yet. It was counted twice then, for as long as the server ran, and
// dvr-space took footage that had room.
func TestUsageBetween(t *testing.T) {
	c, err := openCatalogue(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	go c.run(t.Context(), nil)
	a := &Archive{cat: c, usage: map[string]*account{}}
	put := func(n int) *row {
		t0 := media.Wall(1e18 + int64(n)*6e10)
		return &row{ID: FileID(n), UID: "gate", Space: "one", Span: media.Span{From: t0, To: t0 + 6e10}, Size: 1000, Name: string(rune('a' + n)), Segs: []byte{1}}
	}
	use := func() int64 {
		t.Helper()
		id, _, ok := c.id("gate")
		if !ok {
			return 0
		}
		n, err := a.usageOf("gate", id)
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	add := func(n int, between func()) {
		t.Helper()
		// Both are one transaction, and what is done behind it is done in this order.
		a.book(nil, func(*sql.Tx) ([]usage, error) { return nil, nil }, func(error) { between() })
		r := put(n)
		err := a.booked(t.Context(), []string{r.UID}, func(tx *sql.Tx) ([]usage, error) {
			return []usage{{r.UID, r.Size}}, c.put(tx, r, nil)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	add(1, func() {
		if n := use(); n != 1000 {
			t.Errorf("%d bytes of one file that is listed", n)
		}
	})
	if n := use(); n != 1000 {
		t.Errorf("%d bytes of one file", n)
	}
	add(2, func() {})
	if n := use(); n != 2000 {
		t.Errorf("%d bytes of two files", n)
	}
	a.forgetUsage()
	add(3, func() { use() })
	ids := map[FileID]string{1: "one", 2: "one"}
	marked, err := a.markGoing(t.Context(), ids, map[FileID]usage{1: {"gate", 1000}, 2: {"gate", 1000}})
	if err != nil || len(marked) != 2 {
		t.Fatal(marked, err)
	}
	// What is going is in no sum, summed anew or kept up to date.
	for range 2 {
		if n := use(); n != 1000 {
			t.Errorf("%d bytes of the one file that stays", n)
		}
	}
	// Sealed again, its answer having been lost, a file is listed already.
	again := put(3)
	again.Size = 1500
	seal := func(tx *sql.Tx) ([]usage, error) {
		return difference(tx, "gate", []FileID{3}, func() error { return c.put(tx, again, nil) })
	}
	if err := a.booked(t.Context(), []string{"gate"}, seal); err != nil || use() != 1500 {
		t.Errorf("%d bytes of a file of 1500 that is listed again, %v", use(), err)
	}
	whole := put(4)
	whole.Size = 50_000
	if err := a.restoreOriginal(t.Context(), again, whole); err != nil || use() != 50_000 {
		t.Errorf("%d bytes of an original of 50000 that is listed again, %v", use(), err)
	}
	if err := a.recounted(t.Context(), func(tx *sql.Tx) error { return removeRows(tx, []FileID{4}) }); err != nil || use() != 0 {
		t.Errorf("%d bytes of nothing, %v", use(), err)
	}
	// A sum is kept though a file of another stream is on its way.
	a.forgetUsage()
	a.account("yard").booking++
	use()
	if !a.account("gate").known {
		t.Error("it is summed again and again while others record")
	}
}
