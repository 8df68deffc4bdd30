package archive

import (
	"database/sql"
	"errors"
)

// execer is a transaction, or one that keeps its statements.
type execer interface {
	Exec(query string, args ...any) (sql.Result, error)
	QueryRow(query string, args ...any) *sql.Row
}

// kept is a transaction that parses each statement once: of the 125 µs that a
// row of a rebuild took, half was parsing the same four again.
type kept struct {
	tx    *sql.Tx
	stmts map[string]*sql.Stmt
}

func keep(tx *sql.Tx) *kept { return &kept{tx: tx, stmts: map[string]*sql.Stmt{}} }

// stmt is closed by the end of the transaction.
func (k *kept) stmt(query string) (*sql.Stmt, error) {
	st := k.stmts[query]
	if st != nil {
		return st, nil
	}
	st, err := k.tx.Prepare(query)
	if err == nil {
		k.stmts[query] = st
	}
	return st, err
}

func (k *kept) Exec(query string, args ...any) (sql.Result, error) {
	st, err := k.stmt(query) //nolint:sqlclosecheck // closed with its transaction
	if err != nil {
		return nil, err
	}
	return st.Exec(args...)
}

func (k *kept) QueryRow(query string, args ...any) *sql.Row {
	st, err := k.stmt(query) //nolint:sqlclosecheck // closed with its transaction
	if err != nil {
		return k.tx.QueryRow(query, args...) // which says the same
	}
	return st.QueryRow(args...)
}

const (
	insertRow = "INSERT OR FAIL INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
	upsertRow = `INSERT INTO files VALUES (?,?,?,?,?,?,?,?,?,?,?,?,?,?) ON CONFLICT (id) DO UPDATE SET
		stream=excluded.stream, space=excluded.space, t0=excluded.t0, t1=excluded.t1, size=excluded.size,
		flags=excluded.flags | (flags & 66), gen=max(gen,excluded.gen), init=excluded.init, zero=excluded.zero,
		run=excluded.run, name=excluded.name, segs=excluded.segs, shape=excluded.shape`
)

// put inserts or replaces the row of one file, in the writer.
func (c *catalogue) put(tx execer, r *row, fresh func() FileID) error {
	stream, err := c.putRow(tx, r, fresh)
	if err != nil || r.Twin != nil || r.Flags&rowOpen != 0 {
		return err
	}
	return c.counted(tx, stream, r.Last, r.Disc)
}

// putAll is put of many rows of a scan.
func (c *catalogue) putAll(tx *sql.Tx, rows []*row, fresh func() FileID) error {
	type numbers struct{ last, disc uint64 }
	k, ends := keep(tx), map[int64]numbers{}
	for _, r := range rows {
		stream, err := c.putRow(k, r, fresh)
		if err != nil {
			return err
		}
		if r.Twin != nil || r.Flags&rowOpen != 0 {
			continue
		}
		if n, ok := ends[stream]; !ok || r.Last > n.last {
			ends[stream] = numbers{r.Last, max(n.disc, r.Disc)}
		}
	}
	for stream, n := range ends {
		if err := c.counted(k, stream, n.last, n.disc); err != nil {
			return err
		}
	}
	return nil
}

// counted remembers the numbers of a stream's last segment.
func (c *catalogue) counted(tx execer, stream int64, last, disc uint64) error {
	_, err := tx.Exec("UPDATE streams SET last = ?, disc = max(disc, ?) WHERE id = ? AND last < ?", int64(last), int64(disc), stream, int64(last))
	return err
}

// putRow inserts or replaces a row. With fresh it is one that a scan found: a
// row of another file with the same number (a space of an earlier
// installation) is given a new number.
func (c *catalogue) putRow(tx execer, r *row, fresh func() FileID) (stream int64, err error) {
	if stream, err = c.streamID(tx, r.UID); err != nil {
		return 0, err
	}
	space, gen, err := c.spaceID(tx, r.Space)
	if err != nil {
		return 0, err
	}
	how := upsertRow
	if fresh != nil {
		isNew, copied, err := c.number(tx, r, stream, space, fresh)
		if err != nil || copied {
			return stream, err
		}
		if isNew {
			// Not ABORT: that, with triggers, has SQLite copy each page aside
			// that the statement changes, a quarter of the time of a row.
			how = insertRow
		}
	}
	if r.Enc != nil {
		r.Flags |= rowEncrypted
	}
	length := int64(r.Span.To - r.Span.From)
	_, err = tx.Exec(how, int64(r.ID), stream, space, int64(r.Span.From), int64(r.Span.To), r.Size, r.Flags, gen,
		int64(r.Init), int64(r.Zero), r.Run[:], r.Name, r.Segs, notNil(r.Shape))
	if err != nil {
		return 0, err
	}
	if err := putCipher(tx, r); err != nil {
		return 0, err
	}
	if err := c.putStream(tx, r, stream, length); err != nil {
		return 0, err
	}
	c.committed(r.UID, stream, r.Space, space, length)
	return stream, nil
}

// putStream brings what a row tells of its stream into the stream's own.
func (c *catalogue) putStream(tx execer, r *row, stream, length int64) error {
	c.mu.Lock()
	longer, unruled := length > c.longest[stream], r.Rules != "" && !c.ruled[stream]
	c.mu.Unlock()
	if longer {
		if _, err := tx.Exec("UPDATE streams SET longest = ? WHERE id = ? AND longest < ?", length, stream, length); err != nil {
			return err
		}
	}
	if !unruled {
		return nil
	}
	if _, err := tx.Exec("UPDATE streams SET rules = ? WHERE id = ? AND rules = ''", r.Rules, stream); err != nil {
		return err
	}
	c.mu.Lock()
	c.ruled[stream] = true
	c.mu.Unlock()
	return nil
}

// number keeps the number a file has under its name, and gives it a new one
// when another file holds its own. A file that is listed in another space
// already is a copy: nothing is to be written then, r.Twin names the one
// listed. isNew tells that no row has the number.
func (c *catalogue) number(tx execer, r *row, stream, space int64, fresh func() FileID) (isNew, copied bool, err error) {
	var id int64
	err = tx.QueryRow("SELECT id FROM files WHERE space = ? AND name = ?", space, r.Name).Scan(&id)
	if err == nil {
		r.ID = FileID(id)
		return false, false, nil
	}
	if !errors.Is(err, sql.ErrNoRows) {
		return false, false, err
	}
	if r.Twin, err = pairOf(tx, stream, r); err != nil || r.Twin != nil {
		return false, r.Twin != nil, err
	}
	old, err := scanRow(tx.QueryRow("SELECT "+rowColumns+rowTables+"WHERE f.id = ?", int64(r.ID)))
	switch {
	case errors.Is(err, sql.ErrNoRows):
		if r.Unminted {
			r.ID = fresh()
		}
		return true, false, nil
	case err != nil:
		return false, false, err
	case old.Flags&rowOpen != 0: // it grows in this process, or was sealed meanwhile
		if old.Name != r.Name || old.Space != r.Space {
			r.ID = fresh()
		}
		return false, false, nil
	case old.Space != r.Space && r.sameFile(old):
		r.Twin = old
		return false, true, nil
	case old.Name != r.Name || old.Space != r.Space:
		r.ID, err = c.unused(tx, fresh)
		return true, false, err
	}
	return false, false, nil
}

// unused mints a number that no row has: an earlier installation may have
// reached the same epoch.
func (c *catalogue) unused(tx execer, fresh func() FileID) (FileID, error) {
	for {
		id := fresh()
		var n int
		if err := tx.QueryRow("SELECT count(*) FROM files WHERE id = ?", int64(id)).Scan(&n); err != nil || n == 0 {
			return id, err
		}
	}
}
