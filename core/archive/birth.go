package archive

import (
	"database/sql"
	"errors"
	"fmt"
	"time"

	"media-server/core/media"
)

// birth is how long a stream was to be recorded before there was anything of it.
// The gap lies in front of the first footage, where no other gap can, and is told
// for as long as that is there.
type birth struct {
	since, first media.Wall
	why          GapCause
}

// leastBirth is how long a camera that was added may take to give its first
// picture: it is asked for, connects, and a key frame comes.
const leastBirth = time.Minute

// Since tells since when the stream is to be recorded, if that is known: should
// it have no footage yet, what is missing until there is some is a gap. It is
// called before Begin.
func (r *Recorder) Since(at media.Wall) {
	r.st.mu.Lock()
	r.st.since = at
	r.st.mu.Unlock()
}

// born notes the first footage of a stream, which begins at first; st.mu is held.
func (a *Archive) born(st *stream, first media.Wall) {
	since := st.since
	st.since = 0
	if since == 0 || first.Sub(since) < leastBirth || a.cat.incomplete.Load() {
		return // or there is footage of it that is not listed yet
	}
	if had, err := a.state.knows(st.uid); had || err != nil {
		return // there was footage of it, and a rule has taken all
	}
	b := &birth{since, first, st.why}
	if b.why == GapNone {
		b.why = st.behindWhy
	}
	if b.why == GapNone {
		b.why = GapUnknown
	}
	st.birth = b
	a.record(st, &fact{Type: factBirth, UID: st.uid, At: b.since, Until: b.first, Cause: b.why})
	st.gapTime.Add(int64(first - since))
	a.notify(Notice{Type: "record.gap", UID: st.uid, Level: "warning", Message: fmt.Sprintf("%s of %s are missing before its first footage: %s", first.Sub(since).Round(time.Millisecond), st.uid, b.why),
		Data: map[string]any{"from_ms": since.Milli(), "to_ms": first.Milli(), "why": string(b.why)}})
}

// insertBirth keeps the one of the latest first footage: ledgers may tell of others,
// whose footage went long ago.
func insertBirth(tx *sql.Tx, f *fact) error {
	_, err := tx.Exec(`INSERT INTO births VALUES (?,?,?,?) ON CONFLICT (uid) DO UPDATE
		SET since = excluded.since, first = excluded.first, why = excluded.why WHERE excluded.first >= first`, f.UID, int64(f.At), int64(f.Until), string(f.Cause))
	return err
}

// knows tells whether anything was ever noted of a stream's footage.
func (s *stateStore) knows(uid string) (known bool, err error) {
	err = s.reader().QueryRow(`SELECT EXISTS(SELECT 1 FROM facts WHERE uid = ?1) OR EXISTS(SELECT 1 FROM signed WHERE uid = ?1)
		OR EXISTS(SELECT 1 FROM births WHERE uid = ?1)`, uid).Scan(&known)
	return known || len(s.pending(uid, media.Span{To: 1<<63 - 1})) > 0, err
}

// birthOf is that of a stream; nil = none is known.
func (a *Archive) birthOf(uid string) (*birth, error) {
	if st := a.known(uid); st != nil {
		st.mu.Lock()
		b := st.birth // which may be on its way to state.db
		st.mu.Unlock()
		if b != nil {
			return b, nil
		}
	}
	b := new(birth)
	err := a.state.reader().QueryRow("SELECT since, first, why FROM births WHERE uid = ?", uid).Scan((*int64)(&b.since), (*int64)(&b.first), (*string)(&b.why))
	if errors.Is(err, sql.ErrNoRows) {
		return nil, nil
	}
	return b, err
}

// unborn is the gap in front of the first footage of a stream, as far as it lies
// in s; nil where that footage has gone, or nothing was missing.
func (a *Archive) unborn(uid string, s media.Span) ([]Gap, error) {
	bounds, ok := a.Bounds(uid)
	if !ok || s.From >= bounds.From {
		return nil, nil
	}
	b, err := a.birthOf(uid)
	if err != nil || b == nil || max(b.first-bounds.From, bounds.From-b.first) > near {
		return nil, err
	}
	sp := media.Span{From: b.since, To: bounds.From}.Intersect(s)
	if sp.Empty() {
		return nil, nil
	}
	return []Gap{{Span: sp, State: "open", Why: b.why}}, nil
}
