package archive

import (
	"cmp"
	"context"
	"database/sql"
	"path/filepath"
	"slices"
	"sync"
	"time"

	"media-server/core/media"
)

// stateSchema is that of state.db. Steps are only added, never changed.
var stateSchema = schema{steps: []string{stateFacts, stateLocks, stateEvents, stateSigned, stateSpaces, stateMoves, stateGrooms, stateMoveTargets, stateSpaceEpochs, stateSpaceDue, statePending, stateTolls, stateBirths, stateExpired, stateConfirms}}

const stateFacts = `
CREATE TABLE facts (
  uid   TEXT NOT NULL,
  at    INTEGER NOT NULL,           -- ns
  until INTEGER NOT NULL,           -- ns, 0 = open
  type  INTEGER NOT NULL,
  cause TEXT NOT NULL,
  PRIMARY KEY (uid, at, until, type)
) WITHOUT ROWID;
CREATE TABLE cuts (file INTEGER PRIMARY KEY, size INTEGER NOT NULL)`

const stateLocks = `
CREATE TABLE locks (
  id       INTEGER PRIMARY KEY,
  uid      TEXT NOT NULL,
  t0       INTEGER NOT NULL,        -- ns
  t1       INTEGER NOT NULL,
  reason   TEXT NOT NULL,
  who      TEXT NOT NULL,
  made     INTEGER NOT NULL,        -- ns
  until    INTEGER NOT NULL,        -- ns, 0 = for ever
  released INTEGER NOT NULL         -- ns, 0 = in force; the row stays, for ledgers that are read again
)`

const stateEvents = `
CREATE TABLE events (
  uid      TEXT NOT NULL,
  at       INTEGER NOT NULL,        -- ns
  kind     TEXT NOT NULL,
  until    INTEGER NOT NULL,        -- ns, 0 = goes on
  pre      INTEGER NOT NULL,        -- ns
  post     INTEGER NOT NULL,
  recorded INTEGER NOT NULL,        -- 1 = footage is kept because of it
  PRIMARY KEY (uid, at, kind)
) WITHOUT ROWID`

const stateSigned = `
CREATE TABLE signed (uid TEXT PRIMARY KEY, file INTEGER NOT NULL, link BLOB NOT NULL) WITHOUT ROWID   -- the newest signed file`

const stateSpaces = `
CREATE TABLE spaces (name TEXT PRIMARY KEY, id BLOB NOT NULL) WITHOUT ROWID   -- which id a space had, from its marker`

// stateSpaceEpochs: the newest epoch that a space has told to be noted in it. A
// disk that knows an older one is a copy from before, or lay in a drawer since.
const stateSpaceEpochs = `ALTER TABLE spaces ADD COLUMN epoch INTEGER NOT NULL DEFAULT 0`

// stateSpaceDue: what is still to be done with a space that was taken over, also
// after a restart: the bits of spaceDue.
const stateSpaceDue = `ALTER TABLE spaces ADD COLUMN due INTEGER NOT NULL DEFAULT 0`

// statePending: what is still to be done before this file says all that there
// is. "ledgers": it was made anew, and those of the spaces were not all read.
const statePending = `
CREATE TABLE pending (what TEXT PRIMARY KEY) WITHOUT ROWID;
INSERT INTO pending SELECT 'ledgers' WHERE NOT EXISTS (SELECT 1 FROM spaces) AND NOT EXISTS (SELECT 1 FROM facts) AND NOT EXISTS (SELECT 1 FROM locks)`

// stateTolls: what thresholds and limits took from a space lately, and whether
// they wait for a person (tollRow).
const stateTolls = `
CREATE TABLE tolls (
  space   TEXT PRIMARY KEY,
  since   INTEGER NOT NULL,         -- ns
  took    INTEGER NOT NULL,         -- bytes since then
  used    INTEGER NOT NULL,         -- bytes that the space held at most since then
  holding INTEGER NOT NULL
) WITHOUT ROWID`

// stateBirths: what was missing of a stream before its first footage (birth).
const stateBirths = `
CREATE TABLE births (
  uid   TEXT PRIMARY KEY,
  since INTEGER NOT NULL,           -- ns
  first INTEGER NOT NULL,           -- ns
  why   TEXT NOT NULL
) WITHOUT ROWID`

// isDue tells whether something is still to be done.
func (s *stateStore) isDue(what string) (bool, error) {
	var n int
	err := s.reader().QueryRow("SELECT count(*) FROM pending WHERE what = ?", what).Scan(&n)
	return n > 0, err
}

// stateStore is state.db: facts that no media file holds. The ledgers in the
// spaces hold them too.
type stateStore struct {
	*database
	mu     sync.Mutex
	queued map[*fact]struct{} // not committed yet
	locked func()             // called after a lock, or its end, was read from a ledger; may be nil
}

func openState(ctx context.Context, o *Options) (*stateStore, error) {
	d, err := openDatabase(ctx, filepath.Join(o.DataDir, "state.db"), stateSchema, o.Log)
	if err != nil {
		return nil, err
	}
	return &stateStore{database: d, queued: map[*fact]struct{}{}}, nil
}

// add queues a fact. Adding one again changes nothing.
func (s *stateStore) add(f *fact) { s.addThen(f, func() {}) }

// addThen calls done once the fact is there, or cannot be.
func (s *stateStore) addThen(f *fact, done func()) {
	s.mu.Lock()
	s.queued[f] = struct{}{}
	s.mu.Unlock()
	s.later(func(tx *sql.Tx) error { return insertFact(tx, f) }, func(error) {
		s.mu.Lock()
		delete(s.queued, f)
		s.mu.Unlock()
		done()
		if f.Type == factLock && s.locked != nil {
			s.locked()
		}
	})
}

func insertFact(tx *sql.Tx, f *fact) error {
	switch f.Type {
	case factLock:
		return insertLock(tx, f)
	case factSigned:
		return insertSigned(tx, f)
	case factEvent:
		return insertEvent(tx, f)
	case factBirth:
		return insertBirth(tx, f)
	case factExpired:
		return insertExpired(tx, f)
	case factCut:
		_, err := tx.Exec("INSERT OR REPLACE INTO cuts VALUES (?,?)", int64(f.File), f.Size)
		return err
	}
	_, err := tx.Exec("INSERT OR REPLACE INTO facts VALUES (?,?,?,?,?)", f.UID, int64(f.At), int64(f.Until), f.Type, string(f.Cause))
	return err
}

// facts lists what is known of a stream in s, and the last mark before it.
func (s *stateStore) facts(uid string, sp media.Span) ([]fact, error) {
	out := s.pending(uid, sp)
	rows, err := s.reader().Query(`SELECT at, until, type, cause FROM facts WHERE uid = ? AND at < ? AND
		at >= ifnull((SELECT max(at) FROM facts WHERE uid = ? AND at <= ? AND type = 1), ?) ORDER BY at, until`,
		uid, int64(sp.To), uid, int64(sp.From), int64(sp.From.Add(-24*time.Hour)))
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		f := fact{UID: uid}
		var at, until int64
		if err := rows.Scan(&at, &until, &f.Type, (*string)(&f.Cause)); err != nil {
			return nil, err
		}
		f.At, f.Until = media.Wall(at), media.Wall(until)
		out = append(out, f)
	}
	slices.SortStableFunc(out, func(a, b fact) int {
		return cmp.Or(compare(a.At, b.At), compare(a.Until, b.Until), cmp.Compare(a.Type, b.Type))
	})
	return slices.CompactFunc(out, func(a, b fact) bool { // a moment after its commit one is told twice
		return a.At == b.At && a.Until == b.Until && a.Type == b.Type
	}), rows.Err()
}

// pending lists facts of a stream before the end of sp that are on their way
// to the database.
func (s *stateStore) pending(uid string, sp media.Span) (out []fact) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for f := range s.queued {
		if f.UID == uid && f.At < sp.To && f.Type < factCut {
			out = append(out, *f)
		}
	}
	return out
}

// ended tells whether a stream's recording was ended on purpose at or after at.
func (s *stateStore) ended(uid string, at media.Wall) bool {
	from, to := at.Add(-time.Millisecond), at.Add(endedWithin)
	for _, f := range s.pending(uid, media.Span{To: 1 << 62}) {
		if f.Type == factMark && f.At >= from && f.At < to {
			return true
		}
	}
	var n int
	err := s.reader().QueryRow("SELECT count(*) FROM facts WHERE uid = ? AND type = 1 AND at >= ? AND at < ?", uid, int64(from), int64(to)).Scan(&n)
	return err == nil && n > 0
}

// endedWithin is how much later than what is left of a run its end may have been
// noted: what came in between was not durable. Later ones are of a time that a clock
// set back showed before.
const endedWithin = 10 * time.Minute

// cut tells up to where a file that was abandoned is good.
func (s *stateStore) cut(id FileID) (int64, bool) {
	s.mu.Lock()
	for f := range s.queued {
		if f.Type == factCut && f.File == id {
			s.mu.Unlock()
			return f.Size, true
		}
	}
	s.mu.Unlock()
	var size int64
	err := s.reader().QueryRow("SELECT size FROM cuts WHERE file = ?", int64(id)).Scan(&size)
	return size, err == nil
}
