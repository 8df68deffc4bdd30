package archive

import (
	"context"
	"database/sql"
	"fmt"
)

// sweep removes rows of sealed files that the scan did not see, and writes down
// why their footage is missing. Rows written meanwhile carry the scan's number.
// A space where not one of its files is there is taken for a disk that is away,
// unless somebody said that what lies there is the space now.
func (c *scan) sweep(ctx context.Context, gen int64) error {
	cat, name := c.a.cat, c.s.cfg.Name
	if err := cat.atOnce(ctx, func(*sql.Tx) error { return nil }); err != nil { // what is on its way comes first
		return err
	}
	var rows []*row
	err := each(cat.reader(), "SELECT "+rowColumns+rowTables+"WHERE p.name = ? AND f.gen < ? AND f.flags & 1 = 0 ORDER BY s.uid, f.t0", func(q *sql.Rows) error {
		r, err := scanRow(q)
		r.Segs, r.Shape = nil, nil
		rows = append(rows, r)
		return err
	}, name, gen)
	if err != nil || len(rows) == 0 {
		return err
	}
	c.s.mu.Lock()
	other := c.s.restoring
	c.s.mu.Unlock()
	if !other && c.found.Load() == 0 && len(rows) > 1 {
		return fmt.Errorf("none of its %d files is there: that is taken for a disk that is away, and they stay listed; if they are gone for good: POST /api/v1/spaces/%s/initialize", len(rows), name)
	}
	c.noteMissing(rows, other)
	ids := make([]FileID, len(rows))
	for i, r := range rows {
		ids[i] = r.ID
	}
	return c.a.recounted(ctx, func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec("DELETE FROM files WHERE id = ? AND gen < ? AND flags & 1 = 0 AND space = (SELECT id FROM spaces WHERE name = ?)", int64(id), gen, name); err != nil {
				return err
			}
		}
		return nil
	})
}

// noteMissing writes down why footage is missing; other tells that another
// space lies there now. What was to go, or is listed elsewhere by now, has its
// reason already.
func (c *scan) noteMissing(rows []*row, other bool) {
	var deleted, damaged []*row
	for _, r := range rows {
		c.mu.Lock()
		odd := c.odd[r.Name]
		c.mu.Unlock()
		switch {
		case r.Flags&rowGoing != 0:
		case odd:
			damaged = append(damaged, r)
		default:
			deleted = append(deleted, r)
		}
	}
	why := GapDeleted
	if other {
		why = GapDiskError
	}
	c.a.noteGone(deleted, why)
	c.a.noteGone(damaged, GapDamaged)
}
