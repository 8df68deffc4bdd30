package archive

import (
	"context"
	"database/sql"
	"errors"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
)

const (
	scanOpen  = 32   // files that are opened at a time by each reader
	scanBatch = 1000 // rows a change of the catalogue
)

// scan is one pass over a space:
//
//	List ─▶ 32 names ─▶ readers: open all, ask the kernel for all tails,
//	                    read one after the other ─▶ rows ─▶ 1,000 a change
type scan struct {
	a     *Archive
	s     *space
	tell  func(done, total int)
	total atomic.Int64 // files listed
	done  atomic.Int64 // and read, or found not to be there
	reads atomic.Int64 // from media files

	stop   context.CancelCauseFunc
	mu     sync.Mutex
	failed []Entry         // could not be read
	odd    map[string]bool // not understood
	found  atomic.Int64    // media files that were understood
}

// scan reads the tail of each sealed file of a space. twins are those that are
// listed in another space.
func (a *Archive) scan(ctx context.Context, s *space, progress func(done, total int)) (n, reads int, twins []*row, err error) {
	gen, err := a.cat.nextGen(ctx, s.cfg.Name)
	if err != nil {
		return 0, 0, nil, err
	}
	ctx, stop := context.WithCancelCause(ctx)
	defer stop(nil)
	c := &scan{a: a, s: s, tell: progress, stop: stop, odd: map[string]bool{}}
	s.mu.Lock()
	s.scanning, s.scanDone, s.scanTotal, s.endScan, s.scanEnded = true, 0, 0, stop, make(chan struct{})
	s.mu.Unlock()
	defer func() {
		s.mu.Lock()
		close(s.scanEnded)
		s.scanning, s.endScan = false, nil
		s.restoring = s.restoring && err != nil
		s.mu.Unlock()
	}()
	// What is locked is known before the first file is listed: retention must
	// not find one without its lock.
	if err := c.ledgers(ctx); err != nil {
		return int(c.done.Load()), 0, nil, err
	}
	names, rows := make(chan []Entry, 64), make(chan []*row, 64)
	var listErr error
	var list, read sync.WaitGroup
	list.Go(func() {
		defer close(names)
		listErr = c.list(ctx, names)
	})
	// As many readers as help a disk to order its work; a few on one that does not.
	for range min(8, 2*runtime.GOMAXPROCS(0)) {
		read.Go(func() {
			r := &tailReader{}
			for es := range names {
				rows <- c.read(ctx, r, es)
			}
			c.reads.Add(int64(r.reads))
		})
	}
	go func() { read.Wait(); close(rows) }()
	twins, err = a.storeRows(ctx, rows, c.progress)
	list.Wait()
	read.Wait()
	n, reads = int(c.done.Load()), int(c.reads.Load())
	if err = errors.Join(err, listErr, context.Cause(ctx)); err != nil {
		return n, reads, twins, err
	}
	if len(c.failed) > 0 {
		found, err := c.again(ctx, gen)
		if twins = append(twins, found...); err != nil {
			return n, reads, twins, err
		}
	}
	c.progress()
	if err = c.sweep(ctx, gen); err == nil {
		err = a.dueDone(ctx, s.cfg.Name, dueScan) // all of it is listed: the next process need not begin again
	}
	return n, reads, twins, err
}

func (c *scan) progress() {
	done, total := c.done.Load(), c.total.Load()
	c.s.mu.Lock()
	c.s.scanDone, c.s.scanTotal = done, total
	c.s.mu.Unlock()
	c.tell(int(done), int(total))
}

// ledgers puts the facts of all ledgers of the space into state.db and waits
// until they are there.
func (c *scan) ledgers(ctx context.Context) error {
	err := c.s.st.List(ctx, ledgerPrefix, "", func(es []Entry) error {
		for _, e := range es {
			c.total.Add(1)
			// A lock stands in the ledgers of all spaces: one that is lost with
			// its disk is not the last.
			if _, err := c.a.readLedger(ctx, c.s, e); err != nil && ctx.Err() == nil {
				c.aside(e, err)
			}
			c.done.Add(1)
		}
		return ctx.Err()
	})
	if err != nil {
		return err
	}
	return c.a.state.atOnce(ctx, func(*sql.Tx) error { return nil })
}

// list hands out the names of what is sealed, in their order: a stream's files
// one after the other, which is the order that the catalogue takes them in best.
func (c *scan) list(ctx context.Context, names chan<- []Entry) error {
	part := make([]Entry, 0, scanOpen)
	give := func() error {
		c.total.Add(int64(len(part)))
		select {
		case names <- part:
		case <-ctx.Done():
			return ctx.Err()
		}
		part = make([]Entry, 0, scanOpen)
		return nil
	}
	err := c.s.st.List(ctx, "", "", func(es []Entry) error {
		for _, e := range es {
			if strings.HasPrefix(e.Name, openPrefix) || strings.HasPrefix(e.Name, asidePrefix) || strings.HasPrefix(e.Name, ledgerPrefix) {
				continue
			}
			if part = append(part, e); len(part) == scanOpen {
				if err := give(); err != nil {
					return err
				}
			}
		}
		return nil
	})
	if err != nil || len(part) == 0 {
		return err
	}
	return give()
}

// read makes the rows of some files. What is not understood is reported, what
// cannot be read is tried again at the end.
func (c *scan) read(ctx context.Context, r *tailReader, es []Entry) []*row {
	rows := make([]*row, 0, len(es))
	files := c.s.openAll(ctx, es)
	defer closeFiles(files)
	r.expect(files, es)
	for i, e := range es {
		x, err := c.a.readEntry(ctx, c.s, r, e, &files[i])
		switch {
		case err == nil || ctx.Err() != nil:
		case isReadError(err):
			c.unread(e, err)
		default:
			c.aside(e, err)
		}
		c.done.Add(1)
		if x != nil {
			rows = append(rows, x)
		}
	}
	c.found.Add(int64(len(rows)))
	return rows
}

// storeRows writes rows in batches through the catalogue's writer, never more
// than two on their way, so that recording's own rows get their turn.
func (a *Archive) storeRows(ctx context.Context, rows <-chan []*row, tick func()) (twins []*row, failed error) {
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
		var ended error
		a.cat.soon(func(tx *sql.Tx) error {
			if ended = context.Cause(ctx); ended != nil {
				return nil //nolint:nilerr // others share the transaction
			}
			for _, r := range todo {
				r.Unminted = a.unminted(r.ID)
			}
			return a.cat.putAll(tx, todo, a.nextFile)
		}, func(err error) {
			a.forgetUsage()
			out := result{err: errors.Join(err, ended)}
			for _, r := range todo {
				if r.Twin != nil {
					out.twins = append(out.twins, r)
				}
			}
			results <- out
		})
	}
	for some := range rows {
		if batch = append(batch, some...); len(batch) >= scanBatch && failed == nil {
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
