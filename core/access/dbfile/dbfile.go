package dbfile

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"

	"modernc.org/sqlite"

	"media-server/core/fault"
)

// DB is an open file.
type DB struct {
	Path  string
	Write *sql.DB // one connection; transactions begin immediate
	Read  *sql.DB
}

// Open opens or makes the file at path and brings it to version len(steps).
// The file and its folder are readable by their owner only.
func Open(ctx context.Context, path string, steps []string) (*DB, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
		return nil, fmt.Errorf("make the folder of %s: %w", path, err)
	}
	// Made here, so that SQLite does not make it readable to others; the -wal
	// and -shm files get its mode.
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open %s: %w", path, err)
	}
	f.Close()
	dsn := (&url.URL{Scheme: "file", Opaque: (&url.URL{Path: path}).EscapedPath()}).String() +
		"?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(NORMAL)&_pragma=cache_size(-4000)"
	d := &DB{Path: path}
	if d.Write, err = sql.Open("sqlite", dsn+"&_txlock=immediate"); err != nil {
		return nil, err
	}
	d.Write.SetMaxOpenConns(1)
	if d.Read, err = sql.Open("sqlite", dsn+"&_pragma=query_only(1)"); err != nil {
		d.Write.Close()
		return nil, err
	}
	d.Read.SetMaxOpenConns(4)
	if err := d.migrate(ctx, steps); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func (d *DB) migrate(ctx context.Context, steps []string) error {
	var have int
	if err := d.Write.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		return fmt.Errorf("open %s: %w", d.Path, err)
	}
	name := filepath.Base(d.Path)
	switch {
	case have > len(steps):
		return fault.New(name, fmt.Sprintf("%s has schema version %d, this server knows %d", name, have, len(steps)),
			"run the newer server, or restore the copy made before the upgrade ("+d.Path+".vN)")
	case have == len(steps):
		return nil
	case have > 0:
		copied := fmt.Sprintf("%s.v%d", d.Path, have)
		os.Remove(copied)
		if _, err := d.Write.ExecContext(ctx, "VACUUM INTO ?", copied); err != nil {
			return fmt.Errorf("copy %s before its upgrade: %w", d.Path, err)
		}
		if err := os.Chmod(copied, 0o600); err != nil {
			return err
		}
	}
	tx, err := d.Write.BeginTx(ctx, nil)
	if err != nil {
		return fmt.Errorf("upgrade %s: %w", d.Path, err)
	}
	defer tx.Rollback()
	for i := have; i < len(steps); i++ {
		if _, err := tx.ExecContext(ctx, steps[i]); err != nil {
			return fmt.Errorf("upgrade %s to version %d: %w", d.Path, i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d", len(steps))); err != nil {
		return fmt.Errorf("upgrade %s: %w", d.Path, err)
	}
	return tx.Commit()
}

// Close closes both sides.
func (d *DB) Close() error { return errors.Join(d.Read.Close(), d.Write.Close()) }

// IsDamaged tells whether an error says that the file itself is broken, rather
// than busy or full.
func IsDamaged(err error) bool {
	var se *sqlite.Error
	if !errors.As(err, &se) {
		return false
	}
	code := se.Code() & 0xff
	return code == 11 || code == 26 // SQLITE_CORRUPT, SQLITE_NOTADB
}
