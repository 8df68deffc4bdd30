package archive

import (
	"database/sql"
	"errors"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/media"
)

// offMost is how long the server may have been off for what became too old
// meanwhile to go unasked. Behind more than that is rather a clock that was set
// to another month or year, which deletes nothing at once.
const offMost = 4 * 7 * 24 * time.Hour

// off is the time in which no rule was applied, since the server did not run: from
// the last pass of an earlier process to the first of this one. What became too
// old within it did so by the clock, as on every other day, and not because a rule
// was changed: it goes unasked however much it is.
type off struct {
	span   media.Span // To is 0 before the first pass; empty: there was none, or all that aged in it went
	passed media.Wall // the last pass that is noted
}

// loadPass reads when an earlier process applied the rules last.
func (a *Archive) loadPass() error {
	var at int64
	err := a.state.reader().QueryRow("SELECT at FROM passes").Scan(&at)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	a.off.span = media.Span{From: media.Wall(at)}
	return err
}

// wasOff is when the server was off, as far as what aged then may go unasked.
func (a *Archive) wasOff(now media.Wall) media.Span {
	a.mu.Lock()
	defer a.mu.Unlock()
	sp := a.off.span
	if sp.From != 0 && sp.To == 0 {
		sp.To = now
	}
	if sp.To.Sub(sp.From) > offMost {
		return media.Span{}
	}
	return sp
}

// beginPass ends the time that the server was off.
func (a *Archive) beginPass(now media.Wall) {
	sp := a.wasOff(now)
	a.mu.Lock()
	a.off.span = sp
	a.mu.Unlock()
}

// endPass notes a pass that was carried out, every few passes. What aged while the
// server was off is over once a pass had all of it to take.
func (a *Archive) endPass(now media.Wall, streams []retain.Stream, plan *retain.Result) {
	all := len(plan.Held) == 0 && !a.cat.incomplete.Load()
	for i := range streams {
		all = all && len(streams[i].Oldest) < retainBatch
	}
	a.mu.Lock()
	if all {
		a.off.span = media.Span{}
	}
	note := now.Sub(a.off.passed) >= retain.Slack || now < a.off.passed
	if note {
		a.off.passed = now
	}
	a.mu.Unlock()
	if note {
		a.state.later(func(tx *sql.Tx) error {
			_, err := tx.Exec("INSERT OR REPLACE INTO passes VALUES (1, ?)", int64(now))
			return err
		}, nil)
	}
}

// overdueBy sums the files of a stream that a limit should have taken more than
// Slack ago, but for those that became so old while the server was off.
func (a *Archive) overdueBy(uid string, id int64, x area, now media.Wall) (sum retain.Amount, err error) {
	until := now.Add(-x.limit).Add(-retain.Slack)
	sp := a.wasOff(now)
	if sp.Empty() {
		return a.overdue(uid, id, x.where, media.Span{From: -1 << 62, To: until})
	}
	from, to := sp.From.Add(-x.limit).Add(-retain.Slack), min(sp.To.Add(-x.limit), until)
	for _, part := range []media.Span{{From: -1 << 62, To: from}, {From: to, To: until}} {
		n, err := a.overdue(uid, id, x.where, part)
		if err != nil {
			return sum, err
		}
		sum.Files += n.Files
		sum.Bytes += n.Bytes
	}
	return sum, nil
}
