package archive

import (
	"database/sql"
	"errors"
	"log/slog"
	"sync"
	"testing"

	"media-server/core/media"
)

// TestPreparedSurvivesMending: questions prepared before the catalogue was
// found damaged and made anew are answered from the new one, also when some are
// asked just then; and none keeps a reader's view of the database open.
func TestPreparedSurvivesMending(t *testing.T) {
	c, err := openCatalogue(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	put := func(id FileID) {
		t.Helper()
		r := &row{ID: id, UID: "a", Space: "main", Span: media.Span{From: 1000, To: 2000}, Name: id.String(), Segs: []byte{}}
		c.later(func(tx *sql.Tx) error { return c.put(tx, r, nil) }, func(err error) {
			if err != nil {
				t.Fatal(err)
			}
		})
		c.flush(nil)
	}
	put(7)
	if _, err := c.get(7); err != nil {
		t.Fatal(err)
	}
	for round := range 10 {
		ask, asking := make(chan struct{}), sync.WaitGroup{}
		for range 2 * readers {
			asking.Go(func() {
				for {
					select {
					case <-ask:
						return
					default:
						_, _ = c.get(7) // an error while it is being made anew is no wonder
						_, _ = c.bounds("a")
					}
				}
			})
		}
		c.close()
		if err := errors.Join(c.putAside(), c.connect(t.Context()), c.load()); err != nil {
			t.Fatal(err)
		}
		close(ask)
		asking.Wait()
		if _, err := c.get(7); !errors.Is(err, sql.ErrNoRows) {
			t.Fatalf("round %d: a file of the old catalogue is found in the new one: %v", round, err)
		}
		put(7)
		if r, err := c.get(7); err != nil || r.UID != "a" {
			t.Fatalf("round %d: what came after is not found: %v", round, err)
		}
		if b, ok := c.bounds("a"); !ok || b.To != 2000 {
			t.Fatalf("round %d: bounds %v %v", round, b, ok)
		}
		// Nothing reads: the log of writes can be taken over and cut.
		var busy, pages, done int
		if err := c.w.QueryRow("PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &pages, &done); err != nil || busy != 0 {
			t.Fatalf("round %d: a prepared question still reads: %d, %v", round, busy, err)
		}
	}
}
