package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"time"

	"media-server/core/media"
)

// settleDoubles deals with files that a scan found though they are listed in
// another space: what a move left whose intent was lost, or what somebody
// copied. One copy goes when all bytes are equal; else both stay, and it is
// said.
func (a *Archive) settleDoubles(ctx context.Context, twins []*row) {
	for _, r := range twins {
		if ctx.Err() != nil {
			return
		}
		if err := a.settleDouble(ctx, r); err != nil && ctx.Err() == nil {
			a.log.Warn("a file that lies in two spaces is left as it is", "space", r.Space, "file", r.Name, "err", err)
		}
	}
}

func (a *Archive) settleDouble(ctx context.Context, r *row) error {
	if (r.Flags|r.Twin.Flags)&rowGroomed != 0 && r.ID != r.Twin.ID {
		return a.settleGroomed(ctx, r)
	}
	if busy, err := a.state.isMoving(r.Space, r.Name); busy || err != nil {
		return err // the mover ends it
	}
	listed, err := a.cat.get(r.Twin.ID)
	mine := a.space(r.Space)
	if mine == nil {
		return nil // removed meanwhile
	}
	if errors.Is(err, sql.ErrNoRows) { // the scan of the other space found that it is not there
		if _, err := mine.st.Stat(ctx, r.Name); err != nil {
			return err
		}
		r.Twin = nil
		return a.cat.now(ctx, func(tx *sql.Tx) error { return a.cat.put(tx, r, a.nextFile) })
	}
	if err == nil && (listed.Flags&rowGoing != 0 || listed.Space == r.Space) {
		return nil
	}
	if err != nil {
		return err
	}
	other := a.space(listed.Space)
	if other == nil { // the space is in no settings any more
		return a.preferCopy(ctx, listed, r, false)
	}
	same, err := sameBytes(ctx, other, listed.Name, mine, r.Name, r.Size)
	if errors.Is(err, os.ErrNotExist) {
		if _, e := mine.st.Stat(ctx, r.Name); e != nil {
			return nil //nolint:nilerr // the scan saw it before it was moved away
		}
		return a.preferCopy(ctx, listed, r, false)
	}
	if err != nil {
		return err
	}
	if !same {
		a.notify(Notice{Type: "archive.damaged", UID: r.UID, Level: "error",
			Message: fmt.Sprintf("%s lies in the spaces %s and %s with different bytes; the one in %s is listed, nothing is deleted", r.Name, listed.Space, r.Space, listed.Space),
			Data:    map[string]any{"space": r.Space, "file": r.Name}})
		return nil
	}
	if a.leadsTo(listed.Space, r.Space) {
		return a.preferCopy(ctx, listed, r, true)
	}
	return a.dropCopy(ctx, r, listed)
}

// leadsTo tells whether footage is moved from one space to the other.
func (a *Archive) leadsTo(from, to string) bool {
	p, q := a.poolOf(from), a.poolOf(to)
	if p == nil || q == nil {
		return false
	}
	return p.Name == q.Name && p.Stage == from || p.Name != q.Name && p.ArchiveTo == q.Name
}

// dropCopy deletes a copy of what is listed elsewhere, like a move that is
// nearly done.
func (a *Archive) dropCopy(ctx context.Context, copied, listed *row) error {
	in := &moving{source: copied.Space, name: copied.Name, target: listed.Space, final: listed.Name, size: listed.Size, began: media.WallOf(time.Now())}
	if err := a.state.beginMoves(ctx, []*moving{in}); err != nil {
		return err
	}
	return a.leaveOriginal(ctx, in, listed)
}

// preferCopy lists the copy instead; drop tells whether the other one is there
// to be deleted.
func (a *Archive) preferCopy(ctx context.Context, listed, copied *row, drop bool) error {
	in := &moving{source: listed.Space, name: listed.Name, target: copied.Space, final: copied.Name, size: listed.Size, began: media.WallOf(time.Now())}
	if drop {
		if err := a.state.beginMoves(ctx, []*moving{in}); err != nil {
			return err
		}
	}
	if err := a.cat.relocate(ctx, listed, copied.Space, copied.Name); err != nil {
		return err
	}
	a.moved(listed.ID, a.space(copied.Space), copied.Name)
	if !drop {
		return nil
	}
	return a.leaveOriginal(ctx, in, listed)
}
