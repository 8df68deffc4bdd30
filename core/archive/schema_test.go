package archive

import (
	"database/sql"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestDatabaseMigrates(t *testing.T) {
	path := filepath.Join(t.TempDir(), "some.db")
	open := func(form schema) (*database, error) {
		d, err := openDatabase(t.Context(), path, form, slog.New(slog.DiscardHandler))
		if d != nil {
			t.Cleanup(d.close)
		}
		return d, err
	}
	one := schema{steps: []string{"CREATE TABLE a (x INTEGER); INSERT INTO a VALUES (7)"}}
	two := schema{steps: append(one.steps[:1:1], "ALTER TABLE a ADD COLUMN y INTEGER NOT NULL DEFAULT 8")}
	d, err := open(one)
	if err != nil || !d.fresh {
		t.Fatal(err, "a new database is not called fresh")
	}
	d.close()
	if d, err = open(two); err != nil || d.fresh {
		t.Fatal(err, "an older database is called fresh")
	}
	var x, y int
	if err := d.reader().QueryRow("SELECT x, y FROM a").Scan(&x, &y); err != nil || x != 7 || y != 8 {
		t.Fatalf("after the migration: %d %d %v", x, y, err)
	}
	d.close()
	if _, err := os.Stat(path + ".v1"); err != nil {
		t.Error("no copy was kept:", err)
	}
	if _, err := open(one); !errors.Is(err, errNewSchema) {
		t.Errorf("a newer database: %v", err)
	}
	cache := two
	cache.cache, cache.steps = true, append(two.steps[:2:2], "CREATE TABLE b (z)")
	if d, err = open(cache); err != nil || !d.fresh {
		t.Errorf("a cache of an older version was not made anew: %v", err)
	}
}

// TestOpenRowsAreIndexed: what a start asks for must not take longer the more
// is recorded.
func TestOpenRowsAreIndexed(t *testing.T) {
	c, err := openCatalogue(t.Context(), &Options{DataDir: t.TempDir(), Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	defer c.close()
	var plan []string
	err = each(c.reader(), "EXPLAIN QUERY PLAN "+openRows, func(rows *sql.Rows) error {
		var id, parent, unused int
		var what string
		err := rows.Scan(&id, &parent, &unused, &what)
		plan = append(plan, what)
		return err
	}, "main")
	if err != nil {
		t.Fatal(err)
	}
	if !slices.ContainsFunc(plan, func(s string) bool { return strings.Contains(s, "files_open") }) {
		t.Errorf("%q", plan)
	}
}
