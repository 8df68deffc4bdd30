package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"strings"
	"time"

	"media-server/core/fault"
)

// undeletable is what a space cannot delete. A space that deletes nothing at all,
// because its disk is read-only, the keys to its bucket may not, it hangs, is
// another thing than files that stay in one that deletes others: there room is
// made by what is left, and here nothing that is marked would make any. s.mu.
type undeletable struct {
	stays map[FileID]int64 // size of files that stay while others go
	again time.Time        // when each of them is tried by itself again
	first string           // one of them, as it was found
	why   string           // and what its storage said
}

const (
	// deleteTest is written and deleted where a deletion failed, to see whether
	// any works. No scan looks there.
	deleteTest = asidePrefix + "delete-test"
	stayAgain  = time.Hour // a file that stays is tried by itself again; with all that stay it is in each pass
	stayGiveUp = 10        // so many files fail, and none goes: it deletes nothing
)

// stayError tells of files that a space could not delete though it deletes others.
type stayError struct {
	space string
	files []string
	err   error // of the first
	again bool  // all of it was told before
}

func (e *stayError) Error() string {
	const most = 10
	names := strings.Join(e.files[:min(len(e.files), most)], ", ")
	if more := len(e.files) - most; more > 0 {
		names += fmt.Sprintf(" and %d more", more)
	}
	return fault.Wrap(e.err, "space "+e.space, "delete "+names, "see whose they are and whether they are immutable or locked; the other files go, and these are tried again").Error()
}

func (e *stayError) Unwrap() error { return e.err }

// staying are the files of a space that stay though others go, with their sizes.
// What is not in ids any more is forgotten.
func (s *space) staying(ids []FileID) (stay, other []FileID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	left := map[FileID]int64{}
	for _, id := range ids {
		if size, is := s.undeletable.stays[id]; is {
			left[id] = size
			stay = append(stay, id)
		} else {
			other = append(other, id)
		}
	}
	s.undeletable.stays = left
	return stay, other
}

// unsaid are those of rows of which the ledger does not say yet that they go: it is
// not said again each time that a file stays.
func (s *space) unsaid(rows []*row) (out []*row) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		if _, is := s.undeletable.stays[r.ID]; !is {
			out = append(out, r)
		}
	}
	return out
}

// stayingBytes is the size of what stays though others go.
func (s *space) stayingBytes() (sum int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, size := range s.undeletable.stays {
		sum += size
	}
	return sum
}

// goingBytes is the size of what is marked as going in a space and not deleted yet,
// but for files that stay though others go: they will make no room. Nearly always
// nothing is left, and no row is looked at.
func (a *Archive) goingBytes(s *space, id int64) (int64, error) {
	if !a.unfinished.Load() {
		return 0, nil
	}
	var sum sql.NullInt64
	err := a.cat.reader().QueryRow(fmt.Sprintf("SELECT sum(size) FROM files WHERE space = ? AND flags & %d = %d", rowGoing|rowReplaced, rowGoing), id).Scan(&sum)
	return max(sum.Int64-s.stayingBytes(), 0), err
}

// deleteRows deletes files of a space and returns those that are gone. Where the
// space fails, and deletes at all, they are halved until those that stay are found:
// the error is a stayError then.
func (s *space) deleteRows(ctx context.Context, rows []*row) (gone []*row, err error) {
	dctx, cancel := context.WithTimeout(ctx, time.Minute)
	err = s.st.Delete(dctx, namesOf(rows))
	late := dctx.Err() != nil || errors.Is(err, context.DeadlineExceeded)
	cancel()
	if err == nil {
		s.mu.Lock()
		for _, r := range rows {
			delete(s.undeletable.stays, r.ID)
		}
		s.mu.Unlock()
		return rows, nil
	}
	err = fmt.Errorf("delete in space %s: %w", s.cfg.Name, err)
	known, tried := s.knowsStay(rows)
	switch {
	case late || ctx.Err() != nil:
		return nil, err
	case known && tried:
		return nil, &stayError{space: s.cfg.Name, files: namesOf(rows), err: errors.Unwrap(err), again: true}
	}
	dctx, cancel = context.WithTimeout(ctx, time.Minute)
	defer cancel()
	h := halving{s: s}
	if h.works, h.sure = s.canDelete(dctx); h.sure && !h.works {
		return nil, err
	}
	h.delete(dctx, rows, errors.Unwrap(err))
	if len(h.gone) == len(rows) {
		return rows, nil
	}
	if !h.works || len(h.stay) == 0 {
		return h.gone, err // no time was left, or it deletes nothing: it is tried again
	}
	if works, sure := s.canDelete(dctx); sure && !works {
		return h.gone, err // not any more: nothing is known of those that it left
	}
	s.mu.Lock()
	if s.undeletable.stays == nil {
		s.undeletable.stays = map[FileID]int64{}
	}
	for _, r := range h.stay {
		s.undeletable.stays[r.ID] = r.Size
	}
	s.undeletable.again = time.Now().Add(stayAgain)
	s.undeletable.first = h.stay[0].Name
	s.undeletable.why = strings.TrimPrefix(h.err.Error(), h.stay[0].Name+": ")
	s.mu.Unlock()
	return h.gone, &stayError{space: s.cfg.Name, files: namesOf(h.stay), err: h.err, again: known}
}

// knowsStay tells whether all of some files are known to stay though others go, and
// whether each of them was tried by itself lately.
func (s *space) knowsStay(rows []*row) (known, lately bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range rows {
		if _, is := s.undeletable.stays[r.ID]; !is {
			return false, false
		}
	}
	return true, time.Now().Before(s.undeletable.again)
}

// canDelete tells whether the space deletes at all, by a small file; sure is false
// where that could not be written.
func (s *space) canDelete(ctx context.Context) (works, sure bool) {
	if err := s.st.Write(ctx, deleteTest, []byte("deleted at once\n")); err != nil {
		return false, false
	}
	return s.st.Delete(ctx, []string{deleteTest}) == nil, true
}

// halving looks for the files that a space cannot delete.
type halving struct {
	s           *space
	works, sure bool // it deletes, as far as is known
	gone, stay  []*row
	err         error // of the first that stays
}

// delete deletes rows, which failed together with err.
func (h *halving) delete(ctx context.Context, rows []*row, err error) {
	if len(rows) == 1 {
		h.stay = append(h.stay, rows[0])
		if h.err == nil {
			h.err = err
		}
		return
	}
	for _, part := range [][]*row{rows[:len(rows)/2], rows[len(rows)/2:]} {
		if ctx.Err() != nil || !h.works && len(h.stay) >= stayGiveUp {
			return
		}
		err := h.s.st.Delete(ctx, namesOf(part))
		switch {
		case err == nil:
			h.works = true
			h.gone = append(h.gone, part...)
		case ctx.Err() != nil || errors.Is(err, context.DeadlineExceeded):
			return
		default:
			h.delete(ctx, part, err)
		}
	}
}

func namesOf(rows []*row) []string {
	out := make([]string, len(rows))
	for i, r := range rows {
		out[i] = r.Name
	}
	return out
}
