package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"media-server/core/fault"
)

// UnconfirmedError: initialising a space would delete footage, and nobody has
// said that it may.
type UnconfirmedError struct {
	Space    string
	Contents SpaceContents
	Locked   bool // it was confirmed, but not for what is locked
}

func (e *UnconfirmedError) Error() string { return e.Problem().Error() }

// Problem says what would be deleted and how to confirm it.
func (e *UnconfirmedError) Problem() *fault.Problem {
	if e.Locked {
		return &fault.Problem{Where: "space " + e.Space, What: fmt.Sprintf("%d MB in it are locked", e.Contents.Locked>>20), Hint: "remove the locks first, or confirm that too: \"locked\": true"}
	}
	return &fault.Problem{Where: "space " + e.Space, What: "it would delete " + e.Contents.String(), Hint: "send \"confirm\": \"" + e.Contents.Confirm + "\" to delete it; nothing was changed"}
}

// InitializeSpace empties a space: what it holds of ours is deleted, what it
// does not know stays. Without the Confirm that Contents tells it is refused
// with an UnconfirmedError, and once more for what is locked; with ErrUnread as
// long as it is not known what is. A lost space is
// taken over, as RestoreSpace does. The work goes on in the background, the
// state of the space tells how far it is; a storage.initialized follows.
//
// The plan stands in the catalogue before the first file goes, so that a crash
// half way finishes it. What a lost space holds is in no catalogue: after a
// crash it is lost still, and asked for again.
func (a *Archive) InitializeSpace(ctx context.Context, name, confirm string, locked bool) (*SpaceContents, error) {
	s := a.space(name)
	if s == nil {
		return nil, ErrNoSuchSpace
	}
	if err := s.take(&s.wiping); err != nil {
		return nil, err
	}
	was := s.disk()
	if !was.lost {
		if err := a.unread("space "+name, s); err != nil { // of a lost one its own ledgers tell
			s.give(&s.wiping)
			return nil, err
		}
	}
	c, err := a.mayWipe(ctx, s, confirm, locked)
	if err == nil {
		err = s.isStill(was) // what was confirmed is of this disk
	}
	if err != nil {
		s.give(&s.wiping)
		return c, err
	}
	job := func(ctx context.Context) {
		err := a.wipe(ctx, s, was, locked)
		s.give(&s.wiping)
		switch {
		case ctx.Err() != nil:
		case err != nil:
			a.notify(Notice{Type: "storage.failed", Level: "error", Message: fmt.Sprintf("space %s could not be initialised: %v", name, err), Data: map[string]any{"space": name, "error": err.Error()}})
		default:
			a.notify(Notice{Type: "storage.initialized", Level: "warning", Message: fmt.Sprintf("space %s was initialised: %d files were deleted", name, c.Files),
				Data: map[string]any{"space": name, "files": c.Files, "bytes": c.Bytes}})
		}
	}
	select {
	case a.jobs <- job:
		return c, nil
	case <-ctx.Done():
	}
	s.give(&s.wiping)
	return c, ctx.Err()
}

func (a *Archive) mayWipe(ctx context.Context, s *space, confirm string, locked bool) (*SpaceContents, error) {
	c, err := a.contents(ctx, s)
	switch {
	case err != nil:
		return nil, fault.Wrap(err, "space "+s.cfg.Name, "it cannot be told what is in it", "see problems")
	case c.Confirm != "" && confirm != c.Confirm:
		return c, &UnconfirmedError{Space: s.cfg.Name, Contents: *c}
	case c.Locked > 0 && !locked:
		return c, &UnconfirmedError{Space: s.cfg.Name, Contents: *c, Locked: true}
	case s.isLost():
		return c, nil
	}
	return c, a.vacate(ctx, s)
}

// disk is what lies at the path of a space.
type disk struct {
	id   [16]byte // of its marker; zero = there is none
	lost bool     // it is not the space
}

func (s *space) disk() disk {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.lost {
		return disk{s.strange, true}
	}
	return disk{s.info.ID, false}
}

// isStill refuses to go on when another disk lies at the path of a space than
// the one that somebody wanted to be emptied.
func (s *space) isStill(was disk) error {
	if s.disk() == was {
		return nil
	}
	return fault.New("space "+s.cfg.Name, "meanwhile another disk lies at its path, or the right one is back: nothing more of it is deleted", "see what is in it now, and initialise it again if that may go")
}

// wipe deletes what is ours in a space that nothing new comes to. It may have
// waited long for its turn, and disks come and go: only the one that somebody
// was asked about is touched.
func (a *Archive) wipe(ctx context.Context, s *space, was disk, locked bool) error {
	a.rebuild.Lock() // nobody lists anew what goes
	defer a.rebuild.Unlock()
	if err := s.isStill(was); err != nil {
		return err
	}
	if was.lost {
		// What is listed under its name lies on another disk: it leaves the lists.
		if err := a.disown(ctx, s, GapDiskError); err != nil {
			return err
		}
	} else {
		if err := a.unread("space "+s.cfg.Name, s); err != nil {
			return err // the catalogue was lost meanwhile
		}
		if err := a.wipeListed(ctx, s, was, locked); err != nil {
			return err
		}
	}
	if !was.lost || was.id != [16]byte{} {
		if err := a.wipeFiles(ctx, s, was); err != nil {
			return err
		}
	}
	if !s.takeOver() && s.disk().id != was.id {
		a.wantRebuild(s.cfg.Name) // its disk came back while it left the lists
	}
	return nil // not lost: empty as it is, it was taken for a new one already
}

// wipeListed deletes what the catalogue lists in a space.
func (a *Archive) wipeListed(ctx context.Context, s *space, was disk, locked bool) (err error) {
	rows, err := a.planWipe(ctx, s, locked)
	if err != nil {
		return err
	}
	defer func() {
		if err != nil {
			a.unfinished.Store(true) // what is marked goes later
		}
	}()
	a.noteGone(rows, GapDeleted)
	s.tellScan(0, len(rows))
	done := 0
	for some := range slices.Chunk(rows, retainBatch) {
		ids, why := make([]FileID, len(some)), map[FileID]string{}
		for i, r := range some {
			ids[i], why[r.ID] = r.ID, "initialized"
		}
		if err := s.isStill(was); err != nil {
			return err
		}
		if err := a.deleteFiles(ctx, ids, deleting{why: why}).err; err != nil {
			return err
		}
		done += len(some)
		s.tellScan(done, len(rows))
	}
	return ctx.Err()
}

// planWipe marks what is listed in a space as going. A lock that was made since
// somebody confirmed keeps what it keeps, unless locked.
func (a *Archive) planWipe(ctx context.Context, s *space, locked bool) ([]*row, error) {
	// Rows that are on their way come first.
	if err := a.cat.now(ctx, func(*sql.Tx) error { return nil }); err != nil {
		return nil, fmt.Errorf("wait for the catalogue: %w", err)
	}
	a.hurryDeletions(ctx, s, 0)
	if !a.plan.take(ctx) {
		return nil, ctx.Err()
	}
	defer a.plan.give()
	if !a.hurryDeletions(ctx, s, deleteWait) { // those of a plan that came before
		return nil, fault.New("space "+s.cfg.Name, "it takes long to delete", "see what ails its disk, then ask again")
	}
	a.locks.mu.RLock()
	defer a.locks.mu.RUnlock()
	rows, err := a.rowsIn(s.cfg.Name)
	if err != nil {
		return nil, err
	}
	if !locked {
		rows = slices.DeleteFunc(rows, func(r *row) bool { return a.locks.holds(r.UID, r.Span) })
	}
	ids := make(map[FileID]string, len(rows))
	for _, r := range rows {
		ids[r.ID] = s.cfg.Name
	}
	size := make(map[FileID]usage, len(rows))
	for _, r := range rows {
		size[r.ID] = usage{r.UID, r.Size}
	}
	marked, err := a.markGoing(ctx, ids, size)
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(rows, func(r *row) bool { return !marked[r.ID] }), nil // the others were moved meanwhile
}

// wipeFiles deletes files of ours that no list has: set aside, of an earlier
// installation, left growing, and the ledgers. Of a lost space all of them are
// another one's; else what this process is writing stays.
func (a *Archive) wipeFiles(ctx context.Context, s *space, was disk) error {
	var names []string
	err := s.st.List(ctx, "", "", func(es []Entry) error {
		for _, e := range es {
			if a.ours(e.Name, was.lost) {
				names = append(names, e.Name)
			}
		}
		return ctx.Err()
	})
	if err != nil {
		return fmt.Errorf("list space %s: %w", s.cfg.Name, err)
	}
	keep, err := a.inUse(s)
	if err != nil {
		return err
	}
	names = slices.DeleteFunc(names, func(n string) bool { return keep[n] })
	for some := range slices.Chunk(names, retainBatch) {
		// One that was lost and is empty by now may have become the space.
		if err := s.isStill(was); err != nil && (!was.lost || s.disk().id != was.id) {
			return err
		}
		dctx, cancel := context.WithTimeout(ctx, time.Minute)
		err := s.st.Delete(dctx, some)
		cancel()
		if err != nil {
			return fmt.Errorf("delete in space %s: %w", s.cfg.Name, err)
		}
	}
	return nil
}

// inUse are the names of files of a space that are listed, locked meanwhile, or
// being recorded: where there is no other space a stream that begins while this
// one is emptied goes here. Asked behind a list of the space it knows all of that
// list; memory comes first, because it is left for the catalogue.
func (a *Archive) inUse(s *space) (map[string]bool, error) {
	names := map[string]bool{}
	for _, f := range a.filesIn(s) {
		f.mu.Lock()
		names[f.openName], names[f.final] = true, true
		f.mu.Unlock()
	}
	rows, err := a.rowsIn(s.cfg.Name)
	for _, r := range rows {
		names[r.Name] = true
	}
	return names, err
}

// ours tells whether a name is one that this program gives to files.
func (a *Archive) ours(name string, strange bool) bool {
	id, numbered := idOf(name)
	if !strange && numbered && uint64(id)>>32 == a.o.Epoch && strings.HasSuffix(name, ledgerSuffix) {
		return false
	}
	name = strings.TrimPrefix(name, asidePrefix)
	if strings.HasSuffix(name, ledgerSuffix) {
		return numbered && (strings.HasPrefix(name, ledgerPrefix) || strings.HasPrefix(name, openPrefix))
	}
	_, _, is := startOf(name)
	return is
}

// tellScan shows how far something is that goes through all files of a space.
func (s *space) tellScan(done, total int) {
	s.mu.Lock()
	s.scanDone, s.scanTotal = int64(done), int64(total)
	s.mu.Unlock()
}

// rowsIn lists what the catalogue has of a space, by stream and time.
func (a *Archive) rowsIn(space string) (out []*row, err error) {
	err = each(a.cat.reader(), "SELECT "+rowColumns+rowTables+"WHERE f.space = (SELECT id FROM spaces WHERE name = ?) AND f.flags & 3 = 0 ORDER BY s.uid, f.t0", func(rows *sql.Rows) error {
		r, err := scanRow(rows)
		r.Segs = nil
		out = append(out, r)
		return err
	}, space)
	return out, err
}

// noteGone notes why footage is missing that was there. rows are in order.
func (a *Archive) noteGone(rows []*row, cause GapCause) {
	var f *fact
	for _, r := range rows {
		if f != nil && f.UID == r.UID && r.Span.From.Sub(f.Until) < holeTolerance {
			f.Until = max(f.Until, r.Span.To)
			continue
		}
		if f != nil {
			a.state.add(f)
		}
		f = &fact{Type: factGap, UID: r.UID, At: r.Span.From, Until: r.Span.To, Cause: cause}
	}
	if f != nil {
		a.state.add(f)
	}
}

// disown takes what is listed in a space from the lists; no file is touched.
func (a *Archive) disown(ctx context.Context, s *space, cause GapCause) error {
	// Rows that are on their way come first.
	if err := a.cat.now(ctx, func(*sql.Tx) error { return nil }); err != nil {
		return fmt.Errorf("wait for the catalogue: %w", err)
	}
	rows, err := a.rowsIn(s.cfg.Name)
	if err != nil {
		return err
	}
	a.noteGone(rows, cause)
	err = a.recounted(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM files WHERE space = (SELECT id FROM spaces WHERE name = ?)", s.cfg.Name)
		return err
	})
	if err != nil {
		return fmt.Errorf("take the files of space %s from the lists: %w", s.cfg.Name, err)
	}
	return nil
}

// removedPrefix keeps the id of a removed space: attached again under another
// name, it is known to be ours. No space can have such a name.
const removedPrefix = "removed/"

// forgetSpace lets the name of a space be given to another one.
func (a *Archive) forgetSpace(ctx context.Context, name string) error {
	id, _, seen, err := a.spaceID(name)
	if err != nil || !seen {
		return err
	}
	a.asked.doneSpace(name)
	return a.state.now(ctx, func(tx *sql.Tx) error {
		_, err := tx.Exec("DELETE FROM spaces WHERE name = ?", name)
		_, err2 := tx.Exec("DELETE FROM tolls WHERE space = ?", name)
		_, err3 := tx.Exec("INSERT OR REPLACE INTO spaces (name, id) VALUES (?,?)", removedPrefix+fmt.Sprintf("%x", id), id[:])
		return errors.Join(err, err2, err3)
	})
}
