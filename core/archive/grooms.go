package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"media-server/core/media"
)

// stateGrooms: what is being groomed. A row stands from before the first byte
// of the new file is written until the original is gone; a crash between finds
// here what to finish, or to undo.
const stateGrooms = `
CREATE TABLE grooms (
  space  TEXT NOT NULL,
  name   TEXT NOT NULL,             -- of the original
  old    INTEGER NOT NULL,          -- its number in the catalogue
  final  TEXT NOT NULL,             -- name of the groomed file
  file   INTEGER NOT NULL,          -- its number
  began  INTEGER NOT NULL,          -- ns
  PRIMARY KEY (space, name)
) WITHOUT ROWID`

// grooming is a file that is being groomed.
type grooming struct {
	space string
	name  string
	old   FileID
	final string
	file  FileID
	began media.Wall
}

// beginGrooms writes down what will be done, durably. None of the originals is
// being groomed: an intent that another one replaced would leave its file to
// nobody.
func (s *stateStore) beginGrooms(ctx context.Context, gs []*grooming) error {
	return s.now(ctx, func(tx *sql.Tx) error {
		for _, g := range gs {
			_, err := tx.Exec("INSERT INTO grooms VALUES (?,?,?,?,?,?)", g.space, g.name, int64(g.old), g.final, int64(g.file), int64(g.began))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// endGroom forgets one that is finished, or undone; soon: what is found again
// after a crash is finished again, which changes nothing.
func (s *stateStore) endGroom(g *grooming) {
	s.later(func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM grooms WHERE space = ? AND name = ? AND began = ?", g.space, g.name, int64(g.began))
		return err
	}, nil)
}

// allGrooms lists what is being groomed, or what an earlier process, or an earlier
// pass, left.
func (s *stateStore) allGrooms() (out []*grooming, err error) {
	err = each(s.reader(), "SELECT space, name, old, final, file, began FROM grooms ORDER BY began", func(rows *sql.Rows) error {
		g := &grooming{}
		var old, file, began int64
		err := rows.Scan(&g.space, &g.name, &old, &g.final, &file, &began)
		g.old, g.file, g.began = FileID(old), FileID(file), media.Wall(began)
		out = append(out, g)
		return err
	})
	return out, err
}

// grooms lists those in some spaces.
func (s *stateStore) grooms(spaces []string) ([]*grooming, error) {
	all, err := s.allGrooms()
	return slices.DeleteFunc(all, func(g *grooming) bool { return !slices.Contains(spaces, g.space) }), err
}

// isGrooming tells whether a file is the original, or the result, of a grooming
// that is not finished.
func (s *stateStore) isGrooming(space, name string) (bool, error) {
	var n int
	err := s.reader().QueryRow("SELECT count(*) FROM grooms WHERE space = ? AND (name = ? OR final = ?)", space, name, name).Scan(&n)
	return n > 0, err
}

// errNotSwapped: the original is gone, going, elsewhere, locked or being read.
var errNotSwapped = errors.New("the file is no longer there to be groomed, or is kept")

// swap lists groomed files in place of their originals, all in one change of
// the catalogue: each span is listed once before, and once after. The originals
// are marked as going, and stay readable for those who had planned to. It returns those that were swapped; no lock is made
// meanwhile: one that comes later holds the groomed file.
func (a *Archive) swap(ctx context.Context, gs []*grooming, rows map[FileID]*row) (done []*grooming, err error) {
	a.locks.mu.RLock()
	defer a.locks.mu.RUnlock()
	todo := slices.DeleteFunc(slices.Clone(gs), func(g *grooming) bool {
		r := rows[g.file]
		return a.locks.holds(r.UID, r.Span) || a.isPinned(g.old)
	})
	if len(todo) == 0 {
		return nil, nil
	}
	ok := make([]bool, len(todo))
	var uids []string
	for _, g := range todo {
		if uid := rows[g.file].UID; !slices.Contains(uids, uid) {
			uids = append(uids, uid)
		}
	}
	err = a.booked(ctx, uids, func(tx *sql.Tx) (by []usage, err error) {
		for i, g := range todo {
			var size int64
			err := tx.QueryRow("SELECT f.size FROM files f JOIN spaces p ON p.id = f.space WHERE f.id = ? AND p.name = ? AND f.name = ? AND f.flags & 3 = 0",
				int64(g.old), g.space, g.name).Scan(&size)
			if errors.Is(err, sql.ErrNoRows) {
				continue
			}
			if err != nil {
				return nil, err
			}
			if err := a.cat.put(tx, rows[g.file], nil); err != nil {
				return nil, err
			}
			if _, err := tx.Exec("UPDATE files SET flags = flags | ? WHERE id = ?", rowGoing|rowReplaced, int64(g.old)); err != nil {
				return nil, err
			}
			ok[i] = true
			by = append(by, usage{rows[g.file].UID, rows[g.file].Size - size})
		}
		return by, nil
	})
	if err != nil {
		return nil, fmt.Errorf("list groomed files: %w", err)
	}
	for i, g := range todo {
		if ok[i] {
			done = append(done, g)
		}
	}
	return done, nil
}

// restoreOriginal lists an original again in place of what was made of it.
func (a *Archive) restoreOriginal(ctx context.Context, listed *row, original *row) error {
	return a.booked(ctx, []string{original.UID}, func(tx *sql.Tx) ([]usage, error) {
		return difference(tx, original.UID, []FileID{listed.ID, original.ID}, func() error {
			if err := removeRows(tx, []FileID{listed.ID}); err != nil {
				return err
			}
			return a.cat.put(tx, original, a.nextFile)
		})
	})
}

// isPinned tells whether somebody reads a file.
func (a *Archive) isPinned(id FileID) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pins[id] != nil
}

// markWhole remembers that nothing can be groomed in some files, so that they
// are not looked at again.
func (c *catalogue) markWhole(ids []FileID) {
	if len(ids) == 0 {
		return
	}
	c.later(func(tx *sql.Tx) error {
		for _, id := range ids {
			if _, err := tx.Exec("UPDATE files SET flags = flags | 32 WHERE id = ? AND flags & 48 = 0", int64(id)); err != nil {
				return err
			}
		}
		return nil
	}, nil)
}

// pairOf finds the listed file that r is the groomed state of, or the other way
// round, or another groomed state of the same: the same stretch of the same run.
// nil = there is none.
func pairOf(tx execer, stream int64, r *row) (*row, error) {
	other, err := scanRow(tx.QueryRow("SELECT "+rowColumns+rowTables+"WHERE f.stream = ? AND f.t0 = ? AND f.t1 = ? AND f.id <> ? AND f.flags & 3 = 0 AND (f.flags | ?) & 16 AND f.run = ?",
		stream, int64(r.Span.From), int64(r.Span.To), int64(r.ID), r.Flags, r.Run[:]))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return other, err
}
