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

// afterAll sorts behind every name a space can have.
const afterAll = "\x7f"

// lookOver compares what is listed of a space with the files in it: those that
// are not there, or have another size, are struck off and reported, one notice
// a stream. Both come sorted by name, so that nothing has to be held in memory.
// Half of the time it rests: the disk has better to do.
func (a *Archive) lookOver(ctx context.Context, s *space) error {
	var odd []FileID
	listed, after := 0, ""
	compare := func(es []Entry, to string) error {
		have := make(map[string]int64, len(es))
		for _, e := range es {
			have[e.Name] = e.Size
		}
		n, some, err := a.cat.differ(s.cfg.Name, after, to, have)
		listed, odd, after = listed+n, append(odd, some...), to
		return err
	}
	begun := time.Now()
	err := s.st.List(ctx, "", "", func(es []Entry) error {
		if len(es) == 0 {
			return nil
		}
		if err := compare(es, es[len(es)-1].Name); err != nil {
			return err
		}
		took := time.Since(begun)
		defer func() { begun = time.Now() }()
		if !sleep(ctx, min(took, time.Second)) {
			return ctx.Err()
		}
		return nil
	})
	if err == nil {
		err = compare(nil, afterAll)
	}
	if err != nil || len(odd) == 0 {
		return err
	}
	if len(odd) == listed && listed > 1 {
		return fmt.Errorf("none of its %d files is there: that is taken for a disk that is away, nothing is struck off", listed)
	}
	return a.strikeOdd(ctx, s, odd)
}

// differ lists the sealed files of a space with names in (after, to] that are
// not in have, or have another size there, and counts all of them.
func (c *catalogue) differ(space, after, to string, have map[string]int64) (n int, odd []FileID, err error) {
	err = each(c.reader(), "SELECT id, name, size FROM files WHERE space = (SELECT id FROM spaces WHERE name = ?) AND name > ? AND name <= ? AND flags & 3 = 0", func(rows *sql.Rows) error {
		var id, size int64
		var name string
		err := rows.Scan(&id, &name, &size)
		if there, ok := have[name]; err == nil && (!ok || there != size) {
			odd = append(odd, FileID(id))
		}
		n++
		return err
	}, space, after, to)
	return n, odd, err
}

// strikeOdd looks at each file once more: it may have been moved, deleted by
// rule or sealed while the space was listed.
func (a *Archive) strikeOdd(ctx context.Context, s *space, odd []FileID) error {
	type loss struct {
		deleted, damaged int
		span             media.Span
	}
	found := map[string]*loss{}
	for _, id := range odd {
		r, err := a.cat.get(id)
		if err != nil || r.Flags&(rowOpen|rowGoing) != 0 || r.Space != s.cfg.Name || a.file(id) != nil {
			continue
		}
		e, err := s.st.Stat(ctx, r.Name)
		why := GapDamaged
		switch {
		case errors.Is(err, os.ErrNotExist):
			why = GapDeleted
		case err != nil:
			return fmt.Errorf("look at %s: %w", r.Name, err)
		case e.Size == r.Size:
			continue
		}
		if !a.strike(r, why) {
			continue
		}
		l := found[r.UID]
		if l == nil {
			l = &loss{span: r.Span}
			found[r.UID] = l
		}
		l.span = media.Span{From: min(l.span.From, r.Span.From), To: max(l.span.To, r.Span.To)}
		if why == GapDeleted {
			l.deleted++
		} else {
			l.damaged++
		}
	}
	for uid, l := range found {
		a.notify(Notice{Type: "archive.damaged", UID: uid, Level: "error",
			Message: fmt.Sprintf("of %s, %d files were deleted and %d cut by somebody else between %s and %s", uid, l.deleted, l.damaged, l.span.From.Time().Format(time.RFC3339), l.span.To.Time().Format(time.RFC3339)),
			Data:    map[string]any{"space": s.cfg.Name, "deleted": l.deleted, "damaged": l.damaged, "from_ms": l.span.From.Milli(), "to_ms": l.span.To.Milli()}})
	}
	return nil
}
