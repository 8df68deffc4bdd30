package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"
)

// Rebuild scans a space ("" = all) and brings the catalogue and state.db in
// line with what lies there, while recording goes on. progress, which may be
// nil, is called now and then; total is 0 while it is not known. Where spaces
// of all cannot be read, the others count as read: what is left is to rebuild
// those, one by one.
func (a *Archive) Rebuild(ctx context.Context, space string, progress func(done, total int)) error {
	a.rebuild.Lock()
	defer a.rebuild.Unlock()
	if space != "" && a.space(space) == nil {
		return fmt.Errorf("there is no space %q", space)
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	if space == "" {
		a.mu.Lock()
		a.toMend = slices.DeleteFunc(a.toMend, func(s string) bool { return s == "" }) // this is it
		a.mu.Unlock()
	}
	var failed error
	var twins []*row
	unread := map[string]bool{}
	for _, s := range a.allSpaces() {
		if space != "" && s.cfg.Name != space {
			continue
		}
		stranger, err := a.isStranger(s)
		if err == nil && stranger && s.isLost() && space == "" {
			continue // none of ours, and not to be listed before somebody says so
		}
		if err = errors.Join(err, a.mayScan(s)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("rebuild space %s: %w", s.cfg.Name, err))
			unread[s.cfg.Name] = true
			continue
		}
		start := time.Now()
		n, reads, found, err := a.scan(ctx, s, progress)
		twins = append(twins, found...)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("rebuild space %s: %w", s.cfg.Name, err))
			unread[s.cfg.Name] = true
			continue
		}
		a.notify(Notice{Type: "archive.rebuild", Level: "info", Message: fmt.Sprintf("%d files of space %s were read in %s", n, s.cfg.Name, time.Since(start).Round(time.Millisecond)),
			Data: map[string]any{"space": s.cfg.Name, "files": n, "reads": reads}})
	}
	a.settleDoubles(ctx, twins)
	failed = errors.Join(failed, ctx.Err()) // what is not settled is found again
	a.forgetUsage()
	if space == "" {
		a.mu.Lock()
		a.toRead = unread
		a.mu.Unlock()
	}
	switch {
	case failed == nil && space == "":
		failed = a.allRead(ctx)
	case failed == nil:
		failed = a.hasRead(ctx, space)
	}
	if failed == nil {
		failed = a.cat.makeAllPages(ctx)
	}
	return failed
}

// allRead says that the catalogue is whole and that all ledgers were read.
func (a *Archive) allRead(ctx context.Context) error {
	a.mu.Lock()
	again := slices.Contains(a.toMend, "")
	a.mu.Unlock()
	if again {
		return nil // the catalogue was made anew meanwhile: that rebuild will say so
	}
	if err := a.cat.setIncomplete(ctx, false); err != nil {
		return err
	}
	err := a.state.atOnce(ctx, func(tx *sql.Tx) error { // behind what the ledgers brought
		_, err := tx.Exec("DELETE FROM pending WHERE what = 'ledgers'")
		return err
	})
	if err == nil {
		a.knowsLocks.Store(true)
	}
	return err
}

// hasRead notes that a space was read, or is gone. With the last of those that a
// rebuild of all could not read, that one is over.
func (a *Archive) hasRead(ctx context.Context, space string) error {
	a.mu.Lock()
	last := len(a.toRead) == 1 && a.toRead[space]
	a.mu.Unlock()
	if last {
		if err := a.allRead(ctx); err != nil {
			return err
		}
	}
	a.mu.Lock()
	delete(a.toRead, space)
	a.mu.Unlock()
	return nil
}

// leftToRead lists the spaces that the last rebuild of all could not read.
func (a *Archive) leftToRead() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Sorted(maps.Keys(a.toRead))
}

// nextGen begins a scan: rows that it does not see again go at its end.
func (c *catalogue) nextGen(ctx context.Context, space string) (int64, error) {
	var gen int64
	err := c.atOnce(ctx, func(tx *sql.Tx) error {
		id, _, err := c.spaceID(tx, space)
		if err != nil {
			return err
		}
		if err := tx.QueryRow("UPDATE spaces SET gen = gen + 1 WHERE id = ? RETURNING gen", id).Scan(&gen); err != nil {
			return err
		}
		c.mu.Lock()
		c.spaces[space], c.gens[space] = id, gen
		c.mu.Unlock()
		return nil
	})
	if err != nil {
		return 0, err // the change may still be under way: gen is not ours to read
	}
	return gen, nil
}

// openRows finds the rows of a space's growing files, by files_open.
const openRows = "SELECT " + rowColumns + rowTables + "WHERE f.flags & 1 AND p.name = ?"

func (a *Archive) openRows(s *space) (rows []*row, err error) {
	err = each(a.cat.reader(), openRows, func(q *sql.Rows) error {
		r, err := scanRow(q)
		rows = append(rows, r)
		return err
	}, s.cfg.Name)
	return rows, err
}

// settleRows compares the rows of files of a space that were open when the last
// process ended with what lies there: what was sealed meanwhile gets its row,
// what is gone loses it. Until then nobody can tell where a stream's last file
// ends, so it is one change, however many rows there are: fifty, each waiting
// for the writer, once took longer than the streams waited, and two of them
// asked their drivers for units that the archive had.
func (a *Archive) settleRows(ctx context.Context, s *space) {
	if !s.isKnown() {
		return
	}
	rows, err := a.openRows(s)
	if err != nil {
		a.log.Warn("rows of open files cannot be read", "space", s.cfg.Name, "err", err)
		return
	}
	var sealed []*row
	var gone []FileID
	for _, r := range rows {
		if a.file(r.ID) != nil {
			continue
		}
		switch now, err := a.sealedMeanwhile(ctx, s, r); {
		case errors.Is(err, os.ErrNotExist) && s.has(ctx, r.growingName()): // it could not be recovered
		case errors.Is(err, os.ErrNotExist):
			gone = append(gone, r.ID)
		case err != nil:
			a.log.Warn("a file that was open at the end of the last process cannot be settled", "space", s.cfg.Name, "file", r.Name, "err", err)
		default:
			sealed = append(sealed, now)
		}
	}
	if len(sealed)+len(gone) == 0 {
		return
	}
	err = a.recounted(ctx, func(tx *sql.Tx) error {
		for _, r := range sealed {
			if err := a.cat.put(tx, r, nil); err != nil {
				return err
			}
		}
		return removeRows(tx, gone)
	})
	if err != nil {
		a.log.Warn("files that were open at the end of the last process cannot be settled", "space", s.cfg.Name, "err", err)
	}
}

// growingName is what a file is called while it grows: by the number in its
// header, which it may not be listed under.
func (r *row) growingName() string {
	id, ok := idOf(r.Name)
	if !ok {
		id = r.ID
	}
	return openName(r.UID, id)
}

// sealedMeanwhile reads what a file that its row calls open has become.
func (a *Archive) sealedMeanwhile(ctx context.Context, s *space, r *row) (*row, error) {
	e, err := s.st.Stat(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	now, err := a.readRow(ctx, s, e)
	if err == nil && now == nil {
		err = os.ErrNotExist
	}
	if err == nil {
		now.ID = r.ID
	}
	return now, err
}

// lastRow finds the newest file of a stream: in the catalogue, or, while that
// is being rebuilt, in the spaces themselves.
func (a *Archive) lastRow(uid string) (*row, error) {
	r, err := a.cat.newest(uid, a.o.Epoch)
	if err == nil && !a.cat.incomplete.Load() {
		return r, nil // complete: what lies in the spaces says nothing else
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if !a.cat.incomplete.Load() {
		return nil, nil
	}
	var newest *row
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	for _, s := range a.allSpaces() {
		if !s.isKnown() {
			continue
		}
		// The last one by its name, which is its time, and the youngest: another, if
		// the clock was set back.
		var last, young Entry
		var id FileID
		err := s.st.List(ctx, uid+"/", "", func(es []Entry) error {
			for _, e := range es {
				last = e
				if n, ok := idOf(e.Name); ok && n >= id && uint64(n>>32) <= a.o.Epoch {
					young, id = e, n
				}
			}
			return nil
		})
		if err != nil || last.Name == "" {
			continue
		}
		for _, e := range slices.Compact([]Entry{last, young}) {
			if e.Name == "" {
				continue
			}
			r, err := a.readRow(ctx, s, e)
			if err == nil && r != nil && (newest == nil || r.after(newest)) {
				newest = r
			}
		}
	}
	return newest, nil
}
