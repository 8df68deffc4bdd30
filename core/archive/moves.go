package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"

	"media-server/core/media"
)

// stateMoves: what is being moved. A row stands from before the first byte is
// copied until one copy is left; a crash between finds here what to finish.
const stateMoves = `
CREATE TABLE moves (
  source TEXT NOT NULL,             -- space
  name   TEXT NOT NULL,             -- in it
  target TEXT NOT NULL,             -- space
  final  TEXT NOT NULL,             -- name there
  size   INTEGER NOT NULL,
  began  INTEGER NOT NULL,          -- ns
  PRIMARY KEY (source, name)
) WITHOUT ROWID`

// stateMoveTargets lets a file be on its way to two spaces: while the one that
// an earlier try copied it to cannot be asked, it is moved to another, and what
// the first holds of it is remembered until that answers.
const stateMoveTargets = `
CREATE TABLE moves_by_target (
  source TEXT NOT NULL,
  name   TEXT NOT NULL,
  target TEXT NOT NULL,
  final  TEXT NOT NULL,
  size   INTEGER NOT NULL,
  began  INTEGER NOT NULL,
  PRIMARY KEY (source, name, target, final)
) WITHOUT ROWID;
INSERT INTO moves_by_target SELECT * FROM moves;
DROP TABLE moves;
ALTER TABLE moves_by_target RENAME TO moves`

// moving is a file on its way.
type moving struct {
	source, name  string
	target, final string
	size          int64
	began         media.Wall
}

// beginMoves writes down what will be done, durably.
func (s *stateStore) beginMoves(ctx context.Context, ms []*moving) error {
	if len(ms) == 0 {
		return nil
	}
	return s.now(ctx, func(tx *sql.Tx) error {
		for _, m := range ms {
			_, err := tx.Exec("INSERT OR REPLACE INTO moves VALUES (?,?,?,?,?,?)", m.source, m.name, m.target, m.final, m.size, int64(m.began))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// endMove forgets a move that is finished, or undone; soon: what is found again
// after a crash is finished again, which changes nothing.
func (s *stateStore) endMove(m *moving) { s.later(m.forget, nil) }

// endMoveNow is endMove of one that was undone. It waits: who found it still
// there would begin again with what is being forgotten.
func (s *stateStore) endMoveNow(ctx context.Context, m *moving) error { return s.now(ctx, m.forget) }

func (m *moving) forget(tx *sql.Tx) error {
	_, err := tx.Exec("DELETE FROM moves WHERE source = ? AND name = ? AND began = ?", m.source, m.name, int64(m.began))
	return err
}

// allMoves lists the moves that are under way, or that an earlier process, or an
// earlier try, left.
func (s *stateStore) allMoves() (out []*moving, err error) {
	err = each(s.reader(), "SELECT source, name, target, final, size, began FROM moves ORDER BY began", func(rows *sql.Rows) error {
		m := &moving{}
		var began int64
		err := rows.Scan(&m.source, &m.name, &m.target, &m.final, &m.size, &began)
		m.began = media.Wall(began)
		out = append(out, m)
		return err
	})
	return out, err
}

// begun lists those into one of the spaces.
func (s *stateStore) begun(targets []string) ([]*moving, error) {
	all, err := s.allMoves()
	return slices.DeleteFunc(all, func(m *moving) bool { return !slices.Contains(targets, m.target) }), err
}

// movesAlso tells whether a file of a move is on its way to yet another place.
func (s *stateStore) movesAlso(m *moving) (bool, error) {
	var n int
	err := s.reader().QueryRow("SELECT count(*) FROM moves WHERE source = ? AND name = ? AND (target <> ? OR final <> ?)", m.source, m.name, m.target, m.final).Scan(&n)
	return n > 0, err
}

// isMoving tells whether a copy of a file in a space is part of a move.
func (s *stateStore) isMoving(space, name string) (bool, error) {
	var n int
	err := s.reader().QueryRow("SELECT count(*) FROM moves WHERE source = ? AND name = ? OR target = ? AND final = ?", space, name, space, name).Scan(&n)
	return n > 0, err
}

// at finds the file that lies under a name; sql.ErrNoRows when none is listed.
func (c *catalogue) at(space, name string) (*row, error) {
	return scanRow(c.reader().QueryRow("SELECT "+rowColumns+rowTables+"WHERE p.name = ? AND f.name = ?", space, name))
}

// errNotThere: the row that was to be switched is gone, going, or elsewhere.
var errNotThere = errors.New("the file is no longer where it was to be moved from")

// relocate switches a file's row to another place, in one transaction. The
// pages of its hour do not say where files lie: they stay.
func (c *catalogue) relocate(ctx context.Context, r *row, space, name string) error {
	var id, gen int64
	err := c.now(ctx, func(tx *sql.Tx) (err error) {
		if id, gen, err = c.spaceID(tx, space); err != nil {
			return err
		}
		var stream int64
		err = tx.QueryRow("SELECT f.stream FROM files f JOIN spaces p ON p.id = f.space WHERE f.id = ? AND p.name = ? AND f.name = ? AND f.flags & 3 = 0", int64(r.ID), r.Space, r.Name).Scan(&stream)
		if errors.Is(err, sql.ErrNoRows) {
			id = 0 // says so behind the transaction: others share it
			return nil
		}
		if err != nil {
			return err
		}
		k := pageKey(stream, int64(r.Span.From)/pageTime)
		var page []byte
		if err := tx.QueryRow("SELECT body FROM pages WHERE k = ?", k).Scan(&page); err != nil && !errors.Is(err, sql.ErrNoRows) {
			return err
		}
		if _, err := tx.Exec("UPDATE files SET space = ?, name = ?, gen = ? WHERE id = ?", id, name, gen, int64(r.ID)); err != nil {
			return err
		}
		if page == nil {
			return nil
		}
		_, err = tx.Exec("INSERT OR REPLACE INTO pages VALUES (?,?)", k, page)
		return err
	})
	if err != nil {
		return fmt.Errorf("list %s in space %s: %w", name, space, err)
	}
	if id == 0 {
		return errNotThere
	}
	c.mu.Lock()
	c.spaces[space] = id
	c.mu.Unlock()
	return nil
}
