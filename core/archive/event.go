package archive

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"time"

	"media-server/core/media"
)

// EventMark is something that happened before a camera.
type EventMark struct {
	UID  string
	Kind string     // motion, input, …; at most 64 bytes
	From media.Wall // when it began
	To   media.Wall // when it ended; 0 = it goes on; From = it was an instant

	// Footage from Pre before it to Post after it is kept because of it.
	Recorded  bool
	Pre, Post time.Duration
}

// mostKind bounds Kind.
const mostKind = 64

// window is the time whose footage is kept because of the event.
func (m *EventMark) window() media.Span {
	to := m.To
	if to == 0 {
		to = endOfTime - media.Wall(m.Post)
	}
	return media.Span{From: m.From.Add(-m.Pre), To: to.Add(m.Post)}
}

// MarkEvent keeps a mark, or the end of one kept before (the same stream, kind
// and From). It returns when the mark is on disk.
func (a *Archive) MarkEvent(ctx context.Context, m EventMark) error {
	if len(m.Kind) == 0 || len(m.Kind) > mostKind {
		return fmt.Errorf("the kind of an event has 1 to %d bytes", mostKind)
	}
	f := &fact{Type: factEvent, UID: m.UID, At: m.From, Until: m.To, File: FileID(m.Pre), Size: int64(m.Post), Cause: GapCause(m.Kind)}
	if m.Recorded {
		f.Flags = eventRecorded
	}
	if err := a.state.now(ctx, func(tx *sql.Tx) error { return insertFact(tx, f) }); err != nil {
		return fmt.Errorf("keep the mark of an event: %w", err)
	}
	st := a.stream(m.UID)
	st.mu.Lock()
	sp := a.pick(st)
	if st.cur != nil {
		sp = st.cur.sp
	}
	st.mu.Unlock()
	if sp != nil {
		sp.note(f)
	}
	return nil
}

const eventRecorded = 1

// insertEvent adds a mark to state.db. Its end may come first: ledgers are read
// in any order.
func insertEvent(tx *sql.Tx, f *fact) error {
	_, err := tx.Exec(`INSERT INTO events VALUES (?,?,?,?,?,?,?) ON CONFLICT (uid, at, kind) DO UPDATE SET
		until = max(until, excluded.until), recorded = max(recorded, excluded.recorded)`,
		f.UID, int64(f.At), string(f.Cause), int64(f.Until), int64(f.File), f.Size, f.Flags&eventRecorded)
	return err
}

// Events lists the marks of a stream that share time with s, their Pre and Post
// included, oldest first.
func (a *Archive) Events(uid string, s media.Span) (out []EventMark, err error) {
	from := floorSub(int64(s.From), int64(longestEvent))
	err = each(a.state.reader(), "SELECT at, until, kind, pre, post, recorded FROM events WHERE uid = ? AND at >= ? AND at - pre < ? ORDER BY at, kind", func(rows *sql.Rows) error {
		m := EventMark{UID: uid}
		var at, until, pre, post int64
		err := rows.Scan(&at, &until, &m.Kind, &pre, &post, &m.Recorded)
		m.From, m.To, m.Pre, m.Post = media.Wall(at), media.Wall(until), time.Duration(pre), time.Duration(post)
		if w := m.window(); w.From < s.To && w.To > s.From || w.Empty() && w.From >= s.From {
			out = append(out, m)
		}
		return err
	}, uid, from, int64(s.To))
	return out, err
}

// longestEvent is how far back a question looks for an event that still goes on.
const longestEvent = 24 * time.Hour

// EventsUnderWay lists the recorded marks of a stream whose time is not over at
// now: what a new process has to go on with.
func (a *Archive) EventsUnderWay(uid string, now media.Wall) ([]EventMark, error) {
	all, err := a.Events(uid, media.Span{From: now, To: now + 1})
	return slices.DeleteFunc(all, func(m EventMark) bool { return !m.Recorded }), err
}

// edge is how far footage may reach beyond the time that an event asks for:
// whole groups of pictures are kept.
const edge = 12 * time.Second

// kinds says which ranges, or which stretches of them, are there because of
// events.
func kinds(rs []Range, marks []EventMark) []Range {
	var windows []media.Span
	for i := range marks {
		if marks[i].Recorded {
			windows = append(windows, marks[i].window())
		}
	}
	if len(windows) == 0 {
		return rs
	}
	slices.SortFunc(windows, byFrom)
	var out []Range
	for _, r := range rs {
		at := r.Span.From
		for _, w := range windows {
			w = w.Intersect(media.Span{From: at, To: r.Span.To})
			if w.Empty() {
				continue
			}
			if w.From.Sub(at) <= edge {
				w.From = at
			}
			if r.Span.To.Sub(w.To) <= edge {
				w.To = r.Span.To
			}
			if w.From > at {
				out = append(out, Range{Span: media.Span{From: at, To: w.From}, Kind: r.Kind})
			}
			if n := len(out); n > 0 && out[n-1].Kind == kindEvent && out[n-1].Span.To == w.From && w.From > r.Span.From {
				out[n-1].Span.To = w.To
			} else {
				out = append(out, Range{Span: w, Kind: kindEvent})
			}
			at = w.To
		}
		if at < r.Span.To {
			out = append(out, Range{Span: media.Span{From: at, To: r.Span.To}, Kind: r.Kind})
		}
	}
	return out
}

const kindEvent = "event"
