package archive

import (
	"context"
	"io"
	"slices"
	"time"

	"media-server/core/media"
	"media-server/core/mux"
)

// recall fills what the next part follows on from a recovered file.
func (a *Archive) recall(st *stream, f *file) {
	l := lastPart{known: true, resumable: !f.header.Unreadable, run: f.header.Run, zero: f.header.Zero, tracks: f.header.Tracks}
	for i := range f.frags {
		fr := &f.frags[i]
		l.track(fr.Track, f.marks[i].LastSeq+1, fr.BaseTime+fr.Duration, lastDuration(fr.Samples))
		l.ended(fr.Track, fr.BaseTime, fr.Samples)
	}
	seg := f.segs[len(f.segs)-1]
	l.segment, l.discontinuity, l.segmentStart, l.end = seg.Number, seg.Discontinuity, seg.Span.From, seg.Span.To
	l.partIndex = f.frags[len(f.frags)-1].Part
	l.clock, l.sequence = f.tail.clock, f.tail.sequence
	st.last, st.recalled = l, true
	st.prev = f.header.Previous
	st.rules, st.home = f.header.Rules, f.sp
	if f.state == sealing {
		st.prev, st.prevSum = f.id, f.indexSum
	}
	// What was recovered may not have been synced: it counts as durable when
	// the next sync of this file is reported, which covers it.
}

// fillFromPrevious adds the positions of tracks that have no unit in the last
// file yet: after a roll, audio may be a part behind.
func (a *Archive) fillFromPrevious(st *stream) {
	st.mu.Lock()
	defer st.mu.Unlock()
	l := &st.last
	if st.cur == nil {
		return
	}
	prev := st.cur.header.Previous
	for range 4 {
		if len(l.next) >= len(l.tracks) || prev == 0 {
			return
		}
		have := map[int]bool{}
		for _, p := range l.next {
			have[p.Track] = true
		}
		tracks, zero, before, err := a.sumOf(prev, l.run)
		if err != nil {
			a.log.Warn("where a track ended cannot be told", "stream", st.uid, "file", prev, "err", err)
			return
		}
		for i := range tracks {
			switch t := &tracks[i]; {
			case have[t.ID]:
			case zero != l.zero: // the clock was set between them
				l.position(t.ID, t.LastSeq+1)
			default:
				l.track(t.ID, t.LastSeq+1, t.End, 0)
				l.endedAt(t.ID, t.End)
			}
		}
		prev = before
	}
}

// sumOf gives the track sums of a file of the run, in memory or in storage,
// the zero of their times and the file before it.
func (a *Archive) sumOf(id FileID, run media.RunID) ([]IndexTrack, media.Wall, FileID, error) {
	if f := a.file(id); f != nil {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.sumTracks(), f.header.Zero, f.header.Previous, nil
	}
	x, err := a.indexOf(id)
	if err != nil || x.Layout.Run != run {
		return nil, 0, 0, err
	}
	return x.Tracks, x.Layout.Zero, 0, nil
}

// stepNumbers is how many segment numbers are left out for a file that is there
// and cannot be read now: more than any file has segments.
const stepNumbers = 10_000

func (st *stream) setUnread(id FileID) {
	st.mu.Lock()
	st.unread = max(st.unread, id)
	st.mu.Unlock()
}

// noneUnread notes that all of the stream's files have been read.
func (st *stream) noneUnread() {
	st.mu.Lock()
	st.unread = 0
	st.mu.Unlock()
}

// recallLast tells a stream where it ended: its numbers go on, and its run may.
// Where a younger file of it cannot be read now, neither goes on where the
// youngest that was read ends: what that one has would be recorded twice, under
// the same numbers.
func (a *Archive) recallLast(st *stream) error {
	if err := a.recallRead(st); err != nil {
		return err
	}
	st.mu.Lock()
	last := st.prev
	if st.cur != nil {
		last = st.cur.id
	}
	st.mu.Unlock()
	if away, err := a.unreadAfter(st, last); err != nil || !away {
		return err
	}
	st.mu.Lock()
	defer st.mu.Unlock()
	st.last.known, st.last.resumable = true, false
	if !st.stepped {
		st.stepped, st.last.segment = true, st.last.segment+stepNumbers
	}
	return nil
}

// unreadAfter tells whether a file of a stream that is younger than one could not
// be recovered, or lies in a space that could not be opened.
func (a *Archive) unreadAfter(st *stream, id FileID) (bool, error) {
	st.mu.Lock()
	unread := st.unread
	st.mu.Unlock()
	if unread > id {
		return true, nil
	}
	for _, s := range a.allSpaces() {
		if s.isKnown() {
			continue
		}
		rows, err := a.openRows(s)
		if err != nil {
			return false, err
		}
		if slices.ContainsFunc(rows, func(r *row) bool { return r.UID == st.uid && r.ID > id && a.file(r.ID) == nil }) {
			return true, nil
		}
	}
	return false, nil
}

// recallRead is recallLast as far as files were read.
func (a *Archive) recallRead(st *stream) error {
	st.mu.Lock()
	known := st.last.known
	st.mu.Unlock()
	if known {
		a.fillFromPrevious(st)
		return nil
	}
	r, err := a.lastRow(st.uid)
	if err != nil {
		return err
	}
	last, disc, counted := a.cat.lastNumbers(st.uid)
	if r == nil { // nothing left of it, but its numbers go on
		st.mu.Lock()
		if counted && !st.last.known {
			st.last.known, st.last.segment, st.last.discontinuity = true, last, disc
		}
		st.mu.Unlock()
		return nil
	}
	x, err := a.indexOfRow(r)
	if err != nil {
		return err
	}
	if len(x.Layout.Segments) == 0 || len(x.Layout.Fragments) == 0 {
		return nil
	}
	seg := x.Layout.Segments[len(x.Layout.Segments)-1]
	l := lastPart{known: true, run: r.Run, zero: r.Zero, segment: seg.Number, discontinuity: seg.Discontinuity, segmentStart: seg.Span.From, end: r.Span.To}
	for i := range x.Tracks {
		t := &x.Tracks[i]
		l.track(t.ID, t.LastSeq+1, t.End, lastDuration(x.Layout.Fragments[lastOf(x.Layout.Fragments, t.ID)].Samples))
	}
	frag := &x.Layout.Fragments[len(x.Layout.Fragments)-1]
	l.partIndex = frag.Part
	l.tracks, _ = a.cat.tracks(r.Init)
	for i := range x.Layout.Fragments {
		fr := &x.Layout.Fragments[i]
		l.ended(fr.Track, fr.BaseTime, fr.Samples)
	}
	recent := media.WallOf(time.Now()).Sub(l.end) < 10*time.Minute
	if recent && len(l.tracks) > 0 && !a.state.ended(st.uid, l.end) {
		l.resumable = a.tailOfRow(r, x, &l) == nil
	}
	if counted && !l.resumable { // what came behind it may be gone; its numbers are used
		l.segment, l.discontinuity = max(l.segment, last), max(l.discontinuity, disc)
	}
	st.mu.Lock()
	if !st.last.known {
		st.last, st.recalled = l, !a.state.ended(st.uid, l.end)
		st.prev, st.home = r.ID, a.space(r.Space)
	}
	st.mu.Unlock()
	return nil
}

// readTail reads the clock state and the last moof's number from the headers
// of the last part.
func readTail(r io.ReaderAt, l *Layout, size int64) (t tailInfo, err error) {
	for i := len(l.Fragments) - 1; i >= 0; i-- {
		info, _, err := mux.ParseFragment(r, l.Fragments[i].Offset, size)
		if err != nil {
			return t, err
		}
		t.sequence = max(t.sequence, info.Sequence)
		if info.Header.First {
			t.clock = info.Header.Clock
			return t, nil
		}
	}
	return t, nil
}

func (a *Archive) tailOfRow(r *row, x *Index, l *lastPart) error {
	s := a.space(r.Space)
	if s == nil {
		return ErrNoSpace
	}
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	f, err := s.open(ctx, r.Name)
	if err != nil {
		return err
	}
	defer f.Close()
	t, err := readTail(f, &x.Layout, r.Size)
	l.clock, l.sequence = t.clock, t.sequence
	return err
}
