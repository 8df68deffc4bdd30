package archive

import (
	"database/sql"
	"fmt"
	"maps"
	"slices"
	"time"

	"media-server/core/archive/retain"
)

// stateConfirms: what somebody has allowed rules to take, though it is a lot at once.
const stateConfirms = `
CREATE TABLE confirms (
  kind  TEXT NOT NULL,              -- stream or space
  name  TEXT NOT NULL,
  rules TEXT NOT NULL,              -- that were confirmed, in words
  goes  INTEGER NOT NULL,           -- bytes that they wanted then
  at    INTEGER NOT NULL,           -- ns
  PRIMARY KEY (kind, name)
) WITHOUT ROWID`

// confirmation is that of a person, and of what the rules said when it was given: a
// limit that is typed wrongly while a confirmed deletion goes on asks again, and so
// does a clock that is set ahead, by which more is old at once.
type confirmation struct {
	rules string
	goes  int64
	at    time.Time
}

// confirmFor is how long a confirmation is good: 500 files of a stream go in a
// minute.
const confirmFor = 7 * 24 * time.Hour

// confirmMore is how much more may be wanted than was confirmed: what ages or comes
// while the rest goes.
func confirmMore(goes int64) int64 { return goes/10 + 64<<20 }

// confirmations are those of streams, or of spaces, by name. They outlive the process:
// a deletion of hours goes on after a restart. asked.mu guards them.
type confirmations struct {
	kind string
	m    map[string]confirmation
	db   *stateStore
}

// holds tells whether what the rules want was confirmed.
func (c *confirmations) holds(name string, w wanted) bool {
	x, ok := c.m[name]
	age := time.Now().Round(0).Sub(x.at)
	return ok && x.rules == w.rules && w.goes <= x.goes+confirmMore(x.goes) && age >= 0 && age < confirmFor
}

// wanted is what rules want to take, in bytes.
type wanted struct {
	rules string
	goes  int64
}

// give notes that somebody confirmed what the rules want.
func (c *confirmations) give(name string, w wanted) {
	x := confirmation{w.rules, w.goes, time.Now().Round(0)} // by the wall clock
	c.m[name] = x
	c.db.later(func(tx *sql.Tx) error {
		_, err := tx.Exec("INSERT OR REPLACE INTO confirms VALUES (?,?,?,?,?)", c.kind, name, x.rules, x.goes, x.at.UnixNano())
		return err
	}, nil)
}

// drop ends a confirmation.
func (c *confirmations) drop(name string) {
	if _, ok := c.m[name]; !ok {
		return
	}
	delete(c.m, name)
	c.db.later(func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM confirms WHERE kind = ? AND name = ?", c.kind, name)
		return err
	}, nil)
}

// expire ends a confirmation that is not of what is wanted now, or too old. One of the
// future stays: the clock is not set yet.
func (c *confirmations) expire(name string, w wanted) {
	if x, ok := c.m[name]; ok && !x.at.After(time.Now()) && !c.holds(name, w) {
		c.drop(name)
	}
}

// loadConfirms reads what was confirmed before.
func (a *Archive) loadConfirms() error {
	a.asked.yes = confirmations{"stream", map[string]confirmation{}, a.state}
	a.asked.yesSpaces = confirmations{"space", map[string]confirmation{}, a.state}
	return each(a.state.reader(), "SELECT kind, name, rules, goes, at FROM confirms", func(rows *sql.Rows) error {
		var kind, name string
		var x confirmation
		var at int64
		err := rows.Scan(&kind, &name, &x.rules, &x.goes, &at)
		x.at = time.Unix(0, at)
		switch kind {
		case a.asked.yes.kind:
			a.asked.yes.m[name] = x
		case a.asked.yesSpaces.kind:
			a.asked.yesSpaces.m[name] = x
		}
		return err
	})
}

// wantedOf is what the limits of a stream want.
func wantedOf(s *retain.Stream) wanted {
	w := wanted{rulesOf(s), s.Overdue.Bytes}
	if s.Capacity > 0 {
		w.goes = max(w.goes, s.Bytes-s.Capacity)
	}
	return w
}

// rulesOf are the limits of a stream in words.
func rulesOf(s *retain.Stream) string {
	b := fmt.Appendf(nil, "dvr-duration=%s dvr-capacity=%d days=%s", s.Duration, s.Capacity, s.Days)
	for _, space := range slices.Sorted(maps.Keys(s.DaysIn)) {
		b = fmt.Appendf(b, " days in %s=%s", space, s.DaysIn[space])
	}
	return string(b)
}

// rulesIn are the limits of a space, and the thresholds of its pools, in words.
func (a *Archive) rulesIn(s *space, w wish) string {
	l := s.wished(w)
	b := fmt.Appendf(nil, "size-limit=%v reserve=%v", l.Size, l.Reserve)
	for _, p := range a.allPools() {
		if p = w.poolOf(p); p.Overwrite && slices.Contains(p.Spaces, s.cfg.Name) {
			b = fmt.Appendf(b, " overwrite-free of %s=%v", p.Name, p.OverwriteFree)
		}
	}
	return string(b)
}
