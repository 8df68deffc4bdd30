package archive_test

import (
	"database/sql"
	"path/filepath"
	"testing"
	"time"

	"media-server/core/archive"
)

// TestRecoveredFileHasRow: a core that dies before the row of a new file is
// committed leaves the file to the next, which must write the row before it
// seals the file. Else a second death right after sealing would leave a file
// that is neither growing nor listed.
func TestRecoveredFileHasRow(t *testing.T) {
	dir, cam := newDir(t), newCamera("gate", 1)
	data := t.TempDir()
	rows := func(change string) (n int) {
		t.Helper()
		db, err := sql.Open("sqlite", "file:"+filepath.Join(data, "catalogue.db")+"?_pragma=busy_timeout(5000)")
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		if change != "" {
			if _, err := db.Exec(change); err != nil {
				t.Fatal(err)
			}
		}
		if err := db.QueryRow("SELECT count(*) FROM files WHERE flags & 1").Scan(&n); err != nil {
			t.Fatal(err)
		}
		return n
	}
	h := open(t, options(data, 1, dir))
	rec, err := h.a.Recorder("gate", archive.Rules{Chunk: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	f := start(t, cam, rec, archive.GapNone)
	if err := f.feed(100); err != nil {
		t.Fatal(err)
	}
	eventually(t, "parts in storage", func() bool { return openFiles(dir) == 1 && h.a.Metrics().Spaces[0].QueueBytes == 0 })
	dir.Kill() // both at once: nothing is sealed
	rec.Close()
	h.close()
	dir.Revive()
	if openFiles(dir) != 1 {
		t.Fatalf("%d files are open", openFiles(dir))
	}
	if rows("DELETE FROM files") != 0 { // as if it had never been committed
		t.Fatal("rows are left")
	}
	h = open(t, options(data, 2, dir))
	eventually(t, "the row of the recovered file", func() bool { return rows("") == 1 })
	if segs, err := h.a.Segments("gate", all); err != nil || len(segs) == 0 {
		t.Errorf("%d segments, %v", len(segs), err)
	}
}
