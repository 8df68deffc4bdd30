package archive

import (
	"database/sql"
	"errors"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/media"
)

// stateExpired: where footage of a stream stays that is older than what rules took
// (it is locked, or another pool keeps it longer), the end of the newest that they
// took. What is missing before is old, and nobody need look for a cause.
const stateExpired = `
CREATE TABLE expired (
  uid   TEXT PRIMARY KEY,
  until INTEGER NOT NULL            -- ns
) WITHOUT ROWID`

// tookMiddle notes of deletions that were decided up to where rules took footage of
// streams that keep older.
func (a *Archive) tookMiddle(dels []retain.Deletion) {
	took, in := map[string]media.Span{}, map[string]string{}
	for i := range dels {
		d := &dels[i]
		in[d.Stream] = d.Space
		s, ok := took[d.Stream]
		if !ok {
			s = d.Span
		}
		took[d.Stream] = media.Span{From: min(s.From, d.Span.From), To: max(s.To, d.Span.To)}
	}
	for uid, s := range took {
		if b, ok := a.Bounds(uid); !ok || b.From >= s.To { // as nearly always: the oldest went
			continue
		}
		f := &fact{Type: factExpired, UID: uid, Until: s.To}
		a.state.add(f)
		if sp := a.space(in[uid]); sp != nil && a.notedExpired(uid, s.To) {
			sp.note(f)
		}
	}
}

// expiredEvery is how far what rules took must have come for a ledger to be told
// again: a pass of each minute would fill it.
const expiredEvery = time.Hour

// notedExpired tells whether it is time to note up to where rules took.
func (a *Archive) notedExpired(uid string, until media.Wall) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if until.Sub(a.expiredTo[uid]) < expiredEvery {
		return false
	}
	a.expiredTo[uid] = until
	return true
}

func insertExpired(tx *sql.Tx, f *fact) error {
	_, err := tx.Exec("INSERT INTO expired VALUES (?,?) ON CONFLICT (uid) DO UPDATE SET until = max(until, excluded.until)", f.UID, int64(f.Until))
	return err
}

// expired gives the gaps of a stream that lie before the newest footage that a rule
// took the cause expired: of what was there, and what was missing even then, nothing
// is known any more. What was left out on purpose, or was taken by somebody, keeps
// its cause.
func (a *Archive) expired(uid string, gs []Gap) ([]Gap, error) {
	if len(gs) == 0 {
		return gs, nil
	}
	var until media.Wall
	err := a.state.reader().QueryRow("SELECT until FROM expired WHERE uid = ?", uid).Scan((*int64)(&until))
	if errors.Is(err, sql.ErrNoRows) {
		return gs, nil
	}
	if err != nil {
		return nil, err
	}
	var out []Gap
	for _, g := range gs {
		if g.Span.From >= until || g.Why.taken() || g.Why == GapOffSchedule || g.Why == GapDisabled {
			out = append(out, g)
			continue
		}
		behind := g
		if behind.Span.From = until; behind.Span.Duration() <= time.Duration(holeTolerance) {
			behind.Span.From = g.Span.To
		}
		g.Span.To, g.Why = behind.Span.From, GapExpired
		if n := len(out); n > 0 && out[n-1].Why == GapExpired && out[n-1].Span.To == g.Span.From {
			out[n-1].Span.To = g.Span.To
		} else {
			out = append(out, g)
		}
		if !behind.Span.Empty() {
			out = append(out, behind)
		}
	}
	return out, nil
}
