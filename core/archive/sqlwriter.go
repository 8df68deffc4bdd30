package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	sqlite "modernc.org/sqlite"
)

// database is an SQLite file with one writer goroutine, which gathers changes
// into transactions, and a few readers.
type database struct {
	path   string
	schema schema
	log    *slog.Logger

	mu    sync.Mutex
	w, r  *sql.DB
	hot   map[string]*sql.Stmt // of r, by query (prepared.go)
	ops   []dbOp
	wake  chan struct{}
	hurry chan struct{} // somebody waits: nothing more is gathered
	fresh bool          // made now: there was none, or a damaged one

	undone func() // called in the writer after a transaction was rolled back

	changes atomic.Uint64 // transactions and openings so far: what was read at one count is true while it stands
}

// schema is the form of a database: its version is before + len(steps), and
// each step brings it one version further. A cache is made anew from the media
// files instead; of any other database a copy is kept beside it first.
type schema struct {
	steps  []string
	before int // versions older than the first step
	cache  bool
}

func (s *schema) version() int { return s.before + len(s.steps) }

// dbOp is a change. done, which may be nil, is called after the commit.
type dbOp struct {
	do   func(*sql.Tx) error
	done func(error)
}

const (
	batchWait  = 100 * time.Millisecond // well under the 250 ms promised
	batchMost  = 2000
	maxDBQueue = 200_000
)

// errNewSchema: the database was written by a newer version.
var errNewSchema = errors.New("was written by a newer version of this program")

// openDatabase opens or makes the file. One that is damaged is put aside under
// another name; of a cache also one of another version.
func openDatabase(ctx context.Context, path string, form schema, log *slog.Logger) (*database, error) {
	d := &database{path: path, schema: form, log: log, wake: make(chan struct{}, 1), hurry: make(chan struct{}, 1)}
	err := d.connect(ctx)
	if err == nil || !form.cache && !isCorrupt(err) {
		return d, err
	}
	d.close()
	log.Warn("database cannot be used, a new one is made", "path", path, "err", err)
	if err := d.putAside(); err != nil {
		return nil, err
	}
	return d, d.connect(ctx)
}

// putAside renames the damaged file, so that nothing of it is lost for good.
func (d *database) putAside() error {
	for _, suffix := range []string{"-wal", "-shm"} {
		if err := os.Remove(d.path + suffix); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	if err := os.Rename(d.path, d.path+".damaged"); err != nil && !errors.Is(err, os.ErrNotExist) {
		return err
	}
	return nil
}

func (d *database) connect(ctx context.Context) error {
	if err := os.MkdirAll(filepath.Dir(d.path), 0o750); err != nil {
		return err
	}
	// FULL: a row that is committed stays, so that a file sealed afterwards is
	// never unlisted.
	dsn := "file:" + d.path + "?_pragma=busy_timeout(5000)&_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=cache_size(-8000)"
	w, err := sql.Open("sqlite", dsn+"&_txlock=immediate")
	if err != nil {
		return err
	}
	w.SetMaxOpenConns(1)
	r, err := sql.Open("sqlite", dsn+"&_pragma=query_only(1)")
	if err != nil {
		w.Close()
		return err
	}
	r.SetMaxOpenConns(readers)
	r.SetMaxIdleConns(readers)
	d.mu.Lock()
	d.forgetPrepared()
	d.w = w
	d.mu.Unlock()
	// Nobody reads before it is whole: a reader that opens the file meanwhile keeps
	// it from becoming a WAL, or finds no tables in it.
	var have int
	if err := w.QueryRowContext(ctx, "PRAGMA user_version").Scan(&have); err != nil {
		r.Close()
		return fmt.Errorf("open %s: %w", d.path, err)
	}
	d.fresh = have == 0
	if err := d.migrate(ctx, have); err != nil {
		r.Close()
		return err
	}
	d.mu.Lock()
	d.forgetPrepared() // one of the file of before may have come in since, and would stay for good
	d.r = r
	d.mu.Unlock()
	d.changes.Add(1)
	return nil
}

// migrate brings the database from the version it has to this program's, in
// one transaction.
func (d *database) migrate(ctx context.Context, have int) error {
	version, first := d.schema.version(), 0
	switch {
	case have > version:
		return fmt.Errorf("%s %w (schema %d, this one knows %d)", d.path, errNewSchema, have, version)
	case have == version:
		return nil
	case have > 0 && (d.schema.cache || have < d.schema.before):
		return fmt.Errorf("%s has schema %d, this one needs %d", d.path, have, version)
	case have > 0:
		first = have - d.schema.before
		copied := fmt.Sprintf("%s.v%d", d.path, have)
		if err := os.Remove(copied); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
		if _, err := d.w.ExecContext(ctx, "VACUUM INTO ?", copied); err != nil {
			return fmt.Errorf("copy %s before its upgrade: %w", d.path, err)
		}
		if err := os.Chmod(copied, 0o600); err != nil {
			return err
		}
	}
	tx, err := d.w.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer tx.Rollback()
	for i, step := range d.schema.steps[first:] {
		if _, err := tx.ExecContext(ctx, step); err != nil {
			return fmt.Errorf("bring %s to schema %d: %w", d.path, d.schema.before+first+i+1, err)
		}
	}
	if _, err := tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d", version)); err != nil {
		return fmt.Errorf("bring %s to schema %d: %w", d.path, version, err)
	}
	return tx.Commit()
}

// close ends it once those who still read have ended, or ten seconds later: a
// connection that is closed behind its file was moved away takes the log of the next
// one with it, by its name.
func (d *database) close() {
	d.mu.Lock()
	d.forgetPrepared()
	r, w := d.r, d.w
	d.mu.Unlock()
	for _, db := range []*sql.DB{r, w} {
		if db == nil {
			continue
		}
		db.Close()
		for end := time.Now().Add(10 * time.Second); db.Stats().OpenConnections > 0 && time.Now().Before(end); {
			time.Sleep(time.Millisecond)
		}
	}
}

func (d *database) reader() *sql.DB {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.r
}

// isCorrupt tells whether the file itself is broken, rather than busy or full.
func isCorrupt(err error) bool {
	var se *sqlite.Error
	if errors.As(err, &se) {
		code := se.Code() & 0xff
		return code == 11 || code == 26 // SQLITE_CORRUPT, SQLITE_NOTADB
	}
	return err != nil && strings.Contains(err.Error(), "malformed")
}

// later queues a change; it never blocks.
func (d *database) later(do func(*sql.Tx) error, done func(error)) {
	d.mu.Lock()
	full := len(d.ops) >= maxDBQueue
	if !full {
		d.ops = append(d.ops, dbOp{do, done})
	}
	d.mu.Unlock()
	if full && done != nil {
		done(errors.New("too many changes wait for the database"))
		return
	}
	poke(d.wake)
}

// soon is later for large changes: the writer takes them up at once, instead of
// waiting for what else may come.
func (d *database) soon(do func(*sql.Tx) error, done func(error)) {
	d.later(do, done)
	poke(d.hurry)
}

// now carries a change out and waits for it.
func (d *database) now(ctx context.Context, do func(*sql.Tx) error) error {
	return await(ctx, d.later, do)
}

// atOnce is now by way of soon.
func (d *database) atOnce(ctx context.Context, do func(*sql.Tx) error) error {
	return await(ctx, d.soon, do)
}

func await[F any](ctx context.Context, queue func(F, func(error)), do F) error {
	c := make(chan error, 1)
	queue(do, func(err error) { c <- err })
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// run is the writer. On corruption it calls broken, which may mend the
// database, and tries the batch once more. It drains the queue before it ends.
func (d *database) run(ctx context.Context, broken func(error)) {
	for {
		select {
		case <-ctx.Done():
			d.flush(broken)
			return
		case <-d.wake:
		}
		d.gather(ctx)
		d.flush(broken)
	}
}

// gather gives others time to join the transaction.
func (d *database) gather(ctx context.Context) {
	t := time.NewTimer(batchWait)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-d.hurry:
	case <-t.C:
	}
}

func (d *database) flush(broken func(error)) {
	for {
		d.mu.Lock()
		n := min(len(d.ops), batchMost)
		batch := d.ops[:n:n]
		d.ops = d.ops[n:]
		d.mu.Unlock()
		if n == 0 {
			return
		}
		err := d.commit(batch)
		if isCorrupt(err) && broken != nil {
			broken(err)
			err = d.commit(batch)
		}
		if err != nil && n > 1 {
			// One bad change must not take the others with it.
			for i := range batch {
				e := d.commit(batch[i : i+1])
				d.finish(batch[i:i+1], e)
			}
			continue
		}
		d.finish(batch, err)
	}
}

func (d *database) finish(batch []dbOp, err error) {
	if err != nil {
		d.log.Error("database change failed", "path", filepath.Base(d.path), "err", err)
	}
	for _, op := range batch {
		if op.done != nil {
			op.done(err)
		}
	}
}

func (d *database) commit(batch []dbOp) error {
	d.mu.Lock()
	w := d.w
	d.mu.Unlock()
	tx, err := w.Begin()
	if err != nil {
		return err
	}
	for _, op := range batch {
		if err = op.do(tx); err != nil {
			break
		}
	}
	if err == nil {
		err = tx.Commit()
	}
	d.changes.Add(1)
	if err != nil {
		tx.Rollback()
		if d.undone != nil {
			d.undone()
		}
	}
	return err
}
