package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"
)

// settleGroomed deals with a file that a scan found beside what it was groomed
// to, or was groomed from, without an intent that tells which of them counts
// (state.db lost). As long as the original lies there, it does: nothing is lost
// by grooming it again. Of two groomed states the one listed does.
func (a *Archive) settleGroomed(ctx context.Context, r *row) error {
	for _, x := range []*row{r, r.Twin} {
		if busy, err := a.state.isGrooming(x.Space, x.Name); busy || err != nil {
			return err // the groomer ends it
		}
	}
	listed, err := listedRow(a.cat.get(r.Twin.ID))
	if err != nil {
		return err
	}
	if listed == nil || listed.Flags&rowGoing != 0 {
		if _, err := a.space(r.Space).st.Stat(ctx, r.Name); err != nil {
			return noFile(err)
		}
		r.Twin = nil
		return a.cat.now(ctx, func(tx *sql.Tx) error { return a.cat.put(tx, r, a.nextFile) })
	}
	original, made := listed, r
	if r.Flags&rowGroomed == 0 {
		original, made = r, listed
	}
	s := a.space(original.Space)
	if s == nil {
		return nil // it may come back
	}
	_, err = s.st.Stat(ctx, original.Name)
	switch {
	case err != nil && !errors.Is(err, os.ErrNotExist):
		return err
	case err != nil && original == r:
		return nil // the scan saw it before it was groomed
	case err != nil:
		return a.restoreOriginal(ctx, listed, made)
	case original == r:
		if err := a.restoreOriginal(ctx, listed, r); err != nil {
			return err
		}
	}
	return a.dropMade(ctx, made)
}

// dropMade deletes a groomed file whose original is listed.
func (a *Archive) dropMade(ctx context.Context, made *row) error {
	s := a.space(made.Space)
	if s == nil {
		return nil
	}
	if err := s.said(ctx, a.attestGone(s, []*row{made}, map[FileID]string{made.ID: causeNotUsed})); err != nil {
		return err
	}
	dctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if err := s.st.Delete(dctx, []string{made.Name}); err != nil {
		return fmt.Errorf("delete %s in space %s: %w", made.Name, made.Space, err)
	}
	a.layouts.drop(made.ID)
	return nil
}

// noFile: that there is no file is no error.
func noFile(err error) error {
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	return err
}
