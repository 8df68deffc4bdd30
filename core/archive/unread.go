package archive

import (
	"errors"
	"slices"

	"media-server/core/fault"
)

// ErrUnread: not all files, or not all ledgers, have been read, so that it is not
// known what is locked. Nothing that cannot be undone is done until then.
var ErrUnread = errors.New("it is not known yet what is locked")

// unread refuses to delete what locks may keep while that is not known: state.db
// was lost, or the catalogue, or a space was taken over and has not been read.
// of is the space that it is about; nil = any may hold some of it.
func (a *Archive) unread(where string, of *space) error {
	if a.knowsLocks.Load() && !a.cat.incomplete.Load() && !slices.ContainsFunc(a.allSpaces(), func(s *space) bool { return (of == nil || s == of) && a.isUnread(s) }) {
		return nil
	}
	return &fault.Problem{Where: where, What: ErrUnread.Error(), Hint: "wait until the ledgers of all spaces are read; see problems", Err: ErrUnread}
}

// isUnread tells whether a space is still to be read, or is being read.
func (a *Archive) isUnread(s *space) bool {
	s.mu.Lock()
	unread := s.restoring || s.scanning
	s.mu.Unlock()
	a.mu.Lock()
	defer a.mu.Unlock()
	return unread || slices.Contains(a.toMend, s.cfg.Name)
}
