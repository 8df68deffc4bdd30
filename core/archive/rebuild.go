package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"media-server/core/media"
)

// Rebuild scans a space ("" = all) and brings the catalogue and state.db in
// line with what lies there, while recording goes on. progress, which may be
// nil, is called now and then; total is 0 while it is not known.
func (a *Archive) Rebuild(ctx context.Context, space string, progress func(done, total int)) error {
	a.rebuild.Lock()
	defer a.rebuild.Unlock()
	if space != "" && a.space(space) == nil {
		return fmt.Errorf("there is no space %q", space)
	}
	if progress == nil {
		progress = func(int, int) {}
	}
	var failed error
	var twins []*row
	for _, s := range a.spaces {
		if space != "" && s.cfg.Name != space {
			continue
		}
		start := time.Now()
		n, found, err := a.scan(ctx, s, progress)
		twins = append(twins, found...)
		if err != nil {
			failed = errors.Join(failed, fmt.Errorf("rebuild space %s: %w", s.cfg.Name, err))
			continue
		}
		a.notify(Notice{Type: "archive.rebuild", Level: "info", Message: fmt.Sprintf("%d files of space %s were read in %s", n, s.cfg.Name, time.Since(start).Round(time.Millisecond)),
			Data: map[string]any{"space": s.cfg.Name, "files": n}})
	}
	a.settleDoubles(ctx, twins)
	a.mu.Lock()
	clear(a.usage)
	a.mu.Unlock()
	if failed == nil && space == "" {
		failed = a.cat.setIncomplete(ctx, false)
	}
	if failed == nil && space == "" { // behind what the ledgers brought
		if failed = a.state.now(ctx, func(*sql.Tx) error { return nil }); failed == nil {
			a.knowsLocks.Store(true)
		}
	}
	if failed == nil {
		failed = a.cat.makeAllPages(ctx)
	}
	return failed
}

// scan reads the tail of each sealed file of a space. twins are those that are
// listed in another space.
func (a *Archive) scan(ctx context.Context, s *space, progress func(done, total int)) (n int, twins []*row, err error) {
	gen, err := a.cat.nextGen(ctx, s.cfg.Name)
	if err != nil {
		return 0, nil, err
	}
	var total, done atomic.Int64
	s.mu.Lock()
	s.scanning, s.scanDone, s.scanTotal = true, 0, 0
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		s.scanning = false
		s.mu.Unlock()
	}()
	tell := progress
	progress = func(d, t int) {
		s.mu.Lock()
		s.scanDone, s.scanTotal = int64(d), int64(t)
		s.mu.Unlock()
		tell(d, t)
	}
	names := make(chan Entry, 1024)
	rows := make(chan *row, 1024)
	var listErr error
	var list, read sync.WaitGroup
	list.Go(func() {
		defer close(names)
		listErr = s.st.List(ctx, "", "", func(es []Entry) error {
			for _, e := range es {
				if strings.HasPrefix(e.Name, openPrefix) || strings.HasPrefix(e.Name, "aside/") {
					continue
				}
				total.Add(1)
				select {
				case names <- e:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
			return nil
		})
	})
	// As many readers as help a disk to order its work; a few on one that does not.
	for range min(8, 2*runtime.GOMAXPROCS(0)) {
		read.Go(func() {
			for e := range names {
				r, err := a.readRow(ctx, s, e)
				if err != nil && ctx.Err() == nil {
					a.counters.setAside.Add(1)
					a.notify(Notice{Type: "archive.set_aside", Level: "warning", Message: fmt.Sprintf("%s is not listed: %v", e.Name, err),
						Data: map[string]any{"space": s.cfg.Name, "file": e.Name}})
				}
				done.Add(1)
				if r != nil {
					rows <- r
				}
			}
		})
	}
	go func() { read.Wait(); close(rows) }()
	twins, err = a.storeRows(ctx, rows, func() { progress(int(done.Load()), int(total.Load())) })
	list.Wait()
	read.Wait()
	if err = errors.Join(err, listErr, ctx.Err()); err != nil {
		return int(done.Load()), twins, err
	}
	progress(int(done.Load()), int(total.Load()))
	return int(done.Load()), twins, a.cat.sweep(ctx, s.cfg.Name, gen)
}

// storeRows writes rows in batches through the catalogue's writer, waiting for
// each, so that recording's own rows get their turn.
func (a *Archive) storeRows(ctx context.Context, rows <-chan *row, tick func()) (twins []*row, failed error) {
	type result struct {
		err   error
		twins []*row
	}
	var batch []*row
	results := make(chan result, 2) // batches on their way
	inFlight := 0
	wait := func() {
		r := <-results
		if failed == nil {
			failed = r.err
		}
		twins = append(twins, r.twins...)
		inFlight--
		tick()
	}
	flush := func() {
		todo := batch
		batch = make([]*row, 0, cap(todo))
		if inFlight == cap(results) {
			wait()
		}
		inFlight++
		a.cat.later(func(tx *sql.Tx) error {
			for _, r := range todo {
				if err := a.cat.put(tx, r, a.nextFile); err != nil {
					return err
				}
			}
			return nil
		}, func(err error) {
			out := result{err: err}
			for _, r := range todo {
				if r.Twin != nil {
					out.twins = append(out.twins, r)
				}
			}
			results <- out
		})
	}
	for r := range rows {
		if batch = append(batch, r); len(batch) >= 1000 && failed == nil {
			flush()
		}
	}
	if failed == nil {
		flush()
	}
	for inFlight > 0 {
		wait()
	}
	return twins, failed
}

// readRow reads what the catalogue needs of one stored file: one read of its
// tail, and its head where the track parameters are not known yet.
func (a *Archive) readRow(ctx context.Context, s *space, e Entry) (*row, error) {
	switch {
	case strings.HasPrefix(e.Name, ledgerPrefix):
		_, err := a.readLedger(ctx, s, e)
		return nil, err
	case !strings.HasSuffix(e.Name, ".mp4"):
		return nil, nil // the backend's own: its marker
	}
	f, err := s.open(ctx, e.Name)
	if errors.Is(err, os.ErrNotExist) {
		return nil, nil // deleted by rule since it was listed
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := readIndexBox(f, e.Size)
	if err != nil {
		return nil, err
	}
	x, err := ParseIndex(b, false)
	if err != nil {
		return nil, err
	}
	l := &x.Layout
	if len(l.Segments) == 0 || !validName(l.UID) {
		return nil, fmt.Errorf("index names no stream or no segment")
	}
	if _, err := a.cat.tracks(l.Init); err != nil {
		h, init, _, err := parseHead(f, e.Size)
		if err != nil {
			return nil, err
		}
		l.Init = init
		a.cat.init(init, h.Tracks)
	}
	segs := rowsOf(l)
	r := &row{ID: l.File, UID: l.UID, Space: s.cfg.Name, Size: e.Size, Init: l.Init, Zero: l.Zero, Run: l.Run, Name: e.Name, Rules: x.Rules.text()}
	r.Span = media.Span{From: segs[0].Span.From, To: segs[0].Span.To}
	for i := range segs {
		r.Span.To = max(r.Span.To, segs[i].Span.To)
	}
	r.describe(segs)
	if x.Shape != nil {
		r.Shape = appendShape(nil, x.Shape)
	}
	return r, nil
}

// nextGen begins a scan: rows that it does not see again go at its end.
func (c *catalogue) nextGen(ctx context.Context, space string) (int64, error) {
	var gen int64
	err := c.now(ctx, func(tx *sql.Tx) error {
		id, _, err := c.spaceID(tx, space)
		if err != nil {
			return err
		}
		if err := tx.QueryRow("UPDATE spaces SET gen = gen + 1 WHERE id = ? RETURNING gen", id).Scan(&gen); err != nil {
			return err
		}
		c.mu.Lock()
		c.spaces[space], c.gens[space] = id, gen
		c.mu.Unlock()
		return nil
	})
	if err != nil {
		return 0, err // the change may still be under way: gen is not ours to read
	}
	return gen, nil
}

// sweep removes rows of sealed files that the scan did not see. Rows written
// meanwhile carry its number.
func (c *catalogue) sweep(ctx context.Context, space string, gen int64) error {
	return c.now(ctx, func(tx *sql.Tx) error {
		id, _, err := c.spaceID(tx, space)
		if err == nil {
			_, err = tx.Exec("DELETE FROM files WHERE space = ? AND gen < ? AND flags & 1 = 0", id, gen)
		}
		return err
	})
}

// settleRows compares the rows of files of a space that were open when the last
// process ended with what lies there: what was sealed meanwhile gets its row,
// what is gone loses it. Until then nobody can tell where a stream's last file
// ends, so it is one change, however many rows there are: fifty, each waiting
// for the writer, once took longer than the streams waited, and two of them
// asked their drivers for units that the archive had.
func (a *Archive) settleRows(ctx context.Context, s *space) {
	if !s.usable() {
		return
	}
	var rows []*row
	err := each(a.cat.reader(), "SELECT "+rowColumns+rowTables+"WHERE f.flags & 1 AND p.name = ?", func(q *sql.Rows) error {
		r, err := scanRow(q)
		rows = append(rows, r)
		return err
	}, s.cfg.Name)
	if err != nil {
		a.log.Warn("rows of open files cannot be read", "space", s.cfg.Name, "err", err)
		return
	}
	var sealed []*row
	var gone []FileID
	for _, r := range rows {
		if a.file(r.ID) != nil {
			continue
		}
		switch now, err := a.sealedMeanwhile(ctx, s, r); {
		case errors.Is(err, os.ErrNotExist):
			gone = append(gone, r.ID)
		case err != nil:
			a.log.Warn("a file that was open at the end of the last process cannot be settled", "space", s.cfg.Name, "file", r.Name, "err", err)
		default:
			sealed = append(sealed, now)
		}
	}
	if len(sealed)+len(gone) == 0 {
		return
	}
	err = a.cat.now(ctx, func(tx *sql.Tx) error {
		for _, r := range sealed {
			if err := a.cat.put(tx, r, nil); err != nil {
				return err
			}
		}
		return removeRows(tx, gone)
	})
	if err != nil {
		a.log.Warn("files that were open at the end of the last process cannot be settled", "space", s.cfg.Name, "err", err)
	}
}

// sealedMeanwhile reads what a file that its row calls open has become.
func (a *Archive) sealedMeanwhile(ctx context.Context, s *space, r *row) (*row, error) {
	e, err := s.st.Stat(ctx, r.Name)
	if err != nil {
		return nil, err
	}
	now, err := a.readRow(ctx, s, e)
	if err == nil && now == nil {
		err = os.ErrNotExist
	}
	if err == nil {
		now.ID = r.ID
	}
	return now, err
}

// lastRow finds the newest file of a stream: in the catalogue, or, while that
// is being rebuilt, in the spaces themselves.
func (a *Archive) lastRow(uid string) (*row, error) {
	r, err := a.cat.newest(uid)
	if err == nil && !a.cat.incomplete.Load() {
		return r, nil // complete: what lies in the spaces says nothing else
	}
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return nil, err
	}
	if !a.cat.incomplete.Load() {
		return nil, nil
	}
	var newest *row
	ctx, cancel := context.WithTimeout(context.Background(), readTime)
	defer cancel()
	for _, s := range a.spaces {
		if !s.usable() {
			continue
		}
		var last Entry
		err := s.st.List(ctx, uid+"/", "", func(es []Entry) error {
			if len(es) > 0 {
				last = es[len(es)-1]
			}
			return nil
		})
		if err != nil || last.Name == "" {
			continue
		}
		r, err := a.readRow(ctx, s, last)
		if err == nil && r != nil && (newest == nil || r.Span.To > newest.Span.To) {
			newest = r
		}
	}
	return newest, nil
}
