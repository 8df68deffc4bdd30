package archive

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"sync"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/media"
)

const (
	groomEvery   = 15 * time.Second
	groomBatch   = 16               // files whose intents and rows are written together
	groomPick    = 256              // files that are chosen at once
	groomAgain   = 10 * time.Minute // a file that could not be read is tried again
	groomReaders = 10 * time.Minute // a reader of the original is waited for so long; then it is cut, as by a deletion
	groomTell    = 10 * time.Minute // between two events of a long pass
)

// groomer reduces old footage of one pool to its key frames, some files at a
// time:
//
//	intents (state.db) → read the originals whole, write what stays, read it back → rows swapped (catalogue.db) → ledger → originals deleted → intents go
//
// Whatever it is killed at, the intents tell the next one how to go on; each
// span is listed once at every instant. One goroutine, run.
type groomer struct {
	a    *Archive
	pool *Pool
	stop context.CancelFunc // nil until it runs
	ends sync.WaitGroup

	mu     sync.Mutex
	st     GroomStatus
	skip   map[FileID]time.Time // when it is tried again; zero = not before the next start
	told   bool                 // that it does not work
	sum    groomSum
	every  time.Duration    // between two passes
	grace  time.Duration    // how long an original can be read once it is not listed any more
	later  []replaced       // of the goroutine alone
	failed map[FileID]int64 // could not be read when they were tried last, and space.breaks then; of the goroutine alone
	away   string           // a space with work that cannot be used now; of the goroutine alone
}

// groomSum is what the next event tells.
type groomSum struct {
	files         int
	before, after int64
	streams       map[string]bool
	since         time.Time
}

// GroomStatus is how the grooming of a pool goes.
type GroomStatus struct {
	Pool  string
	After time.Duration
	State string // idle, grooming, waiting, failing
	Why   string // of waiting and failing

	Files    int64 // groomed since the start
	Bytes    int64 // freed by it
	Failures int64
	Damaged  int64 // originals found damaged: they stay as they are

	DueFiles, DueBytes int64 // that are old enough and not groomed yet, when last looked
	DueGain            int64 // bytes of them that will go, estimated

	UID  string // of the file that is read; "" = none
	File FileID
	Done int64 // bytes of it that are read
	Size int64
}

func newGroomer(a *Archive, p *Pool) *groomer {
	every, grace := groomEvery, pinGrace
	if a.o.MoveEvery > 0 {
		every, grace = a.o.MoveEvery, a.o.MoveEvery
	}
	return &groomer{every: every, grace: grace, a: a, pool: p, st: GroomStatus{Pool: p.Name, After: p.GroomAfter, State: "idle"},
		skip: map[FileID]time.Time{}}
}

// Groomings tells how the grooming of pools goes.
func (a *Archive) Groomings() (out []GroomStatus) {
	for _, g := range a.places.Load().groomers {
		g.mu.Lock()
		out = append(out, g.st)
		g.mu.Unlock()
	}
	return out
}

func (g *groomer) set(f func(*GroomStatus)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	f(&g.st)
}

func (g *groomer) run(ctx context.Context) {
	if g.a.Opened(ctx) != nil {
		return
	}
	for sleep(ctx, g.every) {
		why := ""
		switch {
		case g.a.cat.incomplete.Load(): // what is listed where is not known
			why = "the catalogue is being rebuilt"
		case !g.a.knowsLocks.Load():
			why = "it is not known yet what is locked"
		}
		if why != "" {
			g.set(func(s *GroomStatus) { s.State, s.Why = "waiting", why })
			continue
		}
		g.away = ""
		err := g.finish(ctx)
		if err == nil {
			err = g.release(ctx)
		}
		if err == nil {
			err = g.pass(ctx)
		}
		g.tell(true)
		g.ended(ctx, err)
	}
}

// pass grooms what is due.
func (g *groomer) pass(ctx context.Context) error {
	now := media.WallOf(time.Now())
	if err := g.countDue(now); err != nil {
		return err
	}
	for ctx.Err() == nil {
		due, err := g.due(now)
		if err != nil || len(due) == 0 {
			return err
		}
		begun := 0
		for some := range slices.Chunk(due, groomBatch) {
			n, err := g.some(ctx, some)
			if err != nil {
				return err
			}
			begun += n
			if err := g.release(ctx); err != nil {
				return err
			}
			g.tell(false)
		}
		if begun == 0 { // what is due is busy: the next pass looks again
			return nil
		}
	}
	return ctx.Err()
}

// countDue sums what is due.
func (g *groomer) countDue(now media.Wall) error {
	facts, err := g.a.groomFacts(g.pool, now, g.pool.GroomAfter, 0)
	if err != nil {
		return err
	}
	all := retain.Groom(now, facts.Groomable, nil)
	g.set(func(s *GroomStatus) {
		s.DueFiles, s.DueBytes, s.DueGain = int64(len(all)), 0, 0
		for i := range all {
			s.DueBytes, s.DueGain = s.DueBytes+all[i].Size, s.DueGain+all[i].Gain
		}
	})
	return nil
}

// due chooses files to groom, oldest first.
func (g *groomer) due(now media.Wall) (out []retain.Grooming, err error) {
	g.mu.Lock()
	for id, at := range g.skip {
		if !at.IsZero() && time.Now().After(at) {
			delete(g.skip, id)
		}
	}
	skip := maps.Clone(g.skip)
	g.mu.Unlock()
	facts, err := g.a.groomFacts(g.pool, now, g.pool.GroomAfter, groomPick+len(skip))
	if err != nil {
		return nil, err
	}
	g.a.cat.markWhole(facts.whole)
	for _, x := range retain.Groom(now, facts.Groomable, nil) {
		_, skipped := skip[FileID(x.ID)]
		switch s := g.a.space(x.Space); {
		case skipped || len(out) == groomPick || g.a.asked.holds(x.Stream):
		case s == nil || !s.readable(): // a full one may be just what grooming helps
			g.away = x.Space
		default:
			out = append(out, x)
		}
	}
	return out, nil
}

// some grooms a few files and tells how many of them it began with: the others
// went, or are busy. An error means that nothing else of the pool is
// worth trying now; what was begun is finished, or undone, by the next pass.
func (g *groomer) some(ctx context.Context, due []retain.Grooming) (begun int, err error) {
	var ins []*grooming
	began := media.WallOf(time.Now())
	for i := range due {
		r, err := g.a.cat.get(FileID(due[i].ID))
		if err != nil || r.Flags&(rowOpen|rowGoing|rowGroomed) != 0 {
			continue // it went meanwhile
		}
		if busy, err := g.isBusy(r); err != nil || busy {
			g.skipUntil(r.ID, time.Now().Add(g.every))
			continue
		}
		id := g.a.nextFile()
		ins = append(ins, &grooming{space: r.Space, name: r.Name, old: r.ID, final: finalName(r.UID, id, r.Span.From), file: id, began: began})
	}
	if len(ins) == 0 {
		return 0, nil
	}
	if err := g.a.state.beginGrooms(ctx, ins); err != nil {
		return 0, fmt.Errorf("write down what is groomed: %w", err)
	}
	rows, sizes := map[FileID]*row{}, map[FileID]int64{}
	var made []*grooming
	for _, in := range ins {
		r, size, err := g.make(ctx, in)
		if err = g.settle(ctx, in, err); err != nil {
			if ctx.Err() == nil { // what is made already is not thrown away
				err = errors.Join(err, g.swapAll(ctx, made, rows, sizes))
			}
			return 0, err
		}
		if r != nil {
			rows[in.file], sizes[in.file] = r, size
			made = append(made, in)
		}
	}
	return len(ins), g.swapAll(ctx, made, rows, sizes)
}

// isBusy tells whether a file is being moved, or whether an earlier pass left
// something of it that finish could not end: its space answers only now.
func (g *groomer) isBusy(r *row) (bool, error) {
	moving, err := g.a.state.isMoving(r.Space, r.Name)
	if moving || err != nil {
		return moving, err
	}
	return g.a.state.isGrooming(r.Space, r.Name)
}

// swapAll lists what was made, and lets the originals go.
func (g *groomer) swapAll(ctx context.Context, made []*grooming, rows map[FileID]*row, sizes map[FileID]int64) error {
	done, err := g.a.swap(ctx, made, rows)
	if err != nil {
		return err // perhaps it is swapped later than we waited: the intents stay
	}
	for _, in := range made {
		if !slices.Contains(done, in) {
			g.skipUntil(in.old, time.Now().Add(g.every)) // it is read, or locked
			if err := g.undo(ctx, in); err != nil {
				return err
			}
		}
	}
	for _, in := range done {
		g.count(rows[in.file].UID, sizes[in.file], rows[in.file].Size)
		g.set(func(s *GroomStatus) {
			s.DueFiles, s.DueBytes = max(0, s.DueFiles-1), max(0, s.DueBytes-sizes[in.file])
			s.DueGain = max(0, s.DueGain-sizes[in.file]+rows[in.file].Size)
		})
	}
	bySpace := map[string][]*grooming{}
	for _, in := range done {
		bySpace[in.space] = append(bySpace[in.space], in)
	}
	for name, ins := range bySpace {
		if err := g.after(ctx, g.a.space(name), ins, time.Now()); err != nil {
			return err
		}
	}
	return nil
}

// make writes the groomed file of an intent beside its original, and tells how
// long that is.
func (g *groomer) make(ctx context.Context, in *grooming) (out *row, size int64, err error) {
	ctx, over := untilStalled(ctx, moveMost)
	defer func() { err = over(err) }()
	r, err := g.a.cat.get(in.old)
	if err != nil {
		return nil, 0, errNotSwapped
	}
	g.set(func(s *GroomStatus) {
		s.State, s.Why, s.UID, s.File, s.Done, s.Size = "grooming", "", r.UID, r.ID, 0, r.Size
	})
	defer g.set(func(s *GroomStatus) { s.UID, s.File, s.Done, s.Size = "", 0, 0, 0 })
	s := g.a.space(in.space)
	if s == nil {
		return nil, 0, ErrNoSpace
	}
	f, err := s.open(ctx, in.name)
	if err != nil {
		return nil, 0, g.openError(r, err)
	}
	defer f.Close()
	src := &pacedFile{ctx: ctx, s: s, f: f, pace: newPace(g.pool.ArchiveRate), size: r.Size, block: blockAll, tell: func(n int64) { g.set(func(s *GroomStatus) { s.Done += n }) }}
	o, err := readOriginal(src, r.Size, g.a.o.Signer)
	if err != nil {
		return nil, 0, err
	}
	if o.header.UID != r.UID {
		return nil, 0, damaged("it is footage of stream %s, not of %s", o.header.UID, r.UID)
	}
	n, err := o.plan(in.file, in.began, g.a.o.Program, g.a.o.Signer)
	if err != nil {
		return nil, 0, err
	}
	if n.size >= r.Size {
		return nil, 0, errWhole // tiny: what a file says of itself is most of it
	}
	src.block, src.tell = blockSome, nil
	if err := g.store(ctx, s, in.final, n, src); err != nil {
		return nil, 0, err
	}
	g.a.cat.init(n.init, n.tracks)
	out = n.row(in.space, in.final)
	if out.Span != r.Span {
		return nil, 0, damaged("its index says %v, the catalogue %v", out.Span, r.Span)
	}
	return out, r.Size, nil
}

func (g *groomer) openError(r *row, err error) error {
	if !errors.Is(err, os.ErrNotExist) {
		return &storageError{err}
	}
	if err = g.a.gone(r, err); errors.Is(err, ErrGone) {
		return errNotSwapped
	}
	return &storageError{err}
}

// settle decides what a failure means: of this file (nil), or of the pool.
func (g *groomer) settle(ctx context.Context, in *grooming, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	again := groomAgain
	if g.isUnreadable(ctx, in, err) {
		err = errNotSwapped
		if _, first := g.failed[in.old]; first {
			again = g.every // the next pass
		}
	}
	var bad *damagedError
	switch {
	case errors.Is(err, errWhole):
		g.a.cat.markWhole([]FileID{in.old})
		g.skipUntil(in.old, time.Now().Add(groomAgain)) // until that is written
	case errors.Is(err, errNotSwapped):
		g.skipUntil(in.old, time.Now().Add(again))
	case errors.As(err, &bad):
		g.skipUntil(in.old, time.Time{})
		g.set(func(s *GroomStatus) { s.Damaged++ })
		g.reportDamage(in, err)
	default:
		return errors.Join(fmt.Errorf("groom %s in space %s: %w", in.name, in.space, err), g.undo(ctx, in))
	}
	return g.undo(ctx, in)
}

// isUnreadable tells whether an error means that this one original cannot be
// read, while its space answers, and says so: the others can be groomed. One that
// is not there at all is taken off the lists.
func (g *groomer) isUnreadable(ctx context.Context, in *grooming, err error) bool {
	var own *sourceError
	if !errors.As(err, &own) || errors.Is(err, context.DeadlineExceeded) {
		return false
	}
	s := g.a.space(in.space)
	if s == nil {
		return false
	}
	sctx, cancel := context.WithTimeout(ctx, readTime)
	defer cancel()
	r, listed := g.a.cat.get(in.old)
	_, there := s.st.Stat(sctx, in.name)
	switch {
	case errors.Is(there, os.ErrNotExist):
		if listed == nil {
			_ = g.a.gone(r, there) // says what it means
		}
	case there != nil:
		return false
	case listed == nil && g.failedBefore(in.old, s):
		g.set(func(s *GroomStatus) { s.Failures++ })
		g.a.notify(Notice{Type: "archive.groom_failed", UID: r.UID, Level: "warning", Message: fmt.Sprintf("%s in space %s is not groomed, it cannot be read: %v", in.name, in.space, err),
			Data: map[string]any{"pool": g.pool.Name, "space": in.space, "file": in.name, "error": err.Error()}})
	}
	return true
}

// failedBefore tells whether a file could not be read when it was tried last
// either, over the same connection to its space: a storage that dies takes
// whatever is being read with it, and answers again a moment later. The first
// time nothing is said, and the next pass tries again.
func (g *groomer) failedBefore(id FileID, s *space) bool {
	now := s.breaks.Load()
	if at, known := g.failed[id]; known && at == now {
		delete(g.failed, id)
		return true
	}
	if g.failed == nil {
		g.failed = map[FileID]int64{}
	}
	g.failed[id] = now
	return false
}

func (g *groomer) reportDamage(in *grooming, err error) {
	n := Notice{Type: "archive.damaged", Level: "error", Message: fmt.Sprintf("%s in space %s is not groomed, it is damaged: %v", in.name, in.space, err),
		Data: map[string]any{"space": in.space, "file": in.name}}
	if r, e := g.a.cat.get(in.old); e == nil {
		n.UID = r.UID
		n.Data["from_ms"], n.Data["to_ms"] = r.Span.From.Milli(), r.Span.To.Milli()
	}
	g.a.notify(n)
}

func (g *groomer) skipUntil(id FileID, at time.Time) {
	g.mu.Lock()
	g.skip[id] = at
	g.mu.Unlock()
}

// undo removes a groomed file that is not listed, and the intent.
func (g *groomer) undo(ctx context.Context, in *grooming) error {
	if s := g.a.space(in.space); s != nil {
		dctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		if err := s.st.Delete(dctx, []string{in.final}); err != nil {
			return fmt.Errorf("delete what was made of %s in space %s: %w", in.name, in.space, err)
		}
	}
	g.a.state.endGroom(in)
	return nil
}

// ended says how a pass went, and tells once when grooming stops to work, and
// when it does again.
func (g *groomer) ended(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	g.mu.Lock()
	first, again := err != nil && !g.told, err == nil && g.told
	g.told = err != nil
	switch {
	case err != nil:
		g.st.State, g.st.Why = "failing", err.Error()
		g.st.Failures++
	case g.away != "":
		g.st.State, g.st.Why = "waiting", "space "+g.away+" cannot be used at present"
	default:
		g.st.State, g.st.Why = "idle", ""
	}
	g.mu.Unlock()
	switch {
	case first:
		g.a.notify(Notice{Type: "archive.groom_failed", Level: "warning", Message: fmt.Sprintf("footage of pool %s cannot be groomed, it stays whole and is tried again: %v", g.pool.Name, err),
			Data: map[string]any{"pool": g.pool.Name, "error": err.Error()}})
	case again:
		g.a.notify(Notice{Type: "archive.groomed", Level: "info", Message: "footage of pool " + g.pool.Name + " is groomed again", Data: map[string]any{"pool": g.pool.Name, "files": 0}})
	}
}

// tell says what was groomed, once a pass and every ten minutes.
func (g *groomer) tell(over bool) {
	g.mu.Lock()
	s := g.sum
	if s.files == 0 || !over && time.Since(s.since) < groomTell {
		g.mu.Unlock()
		return
	}
	g.sum = groomSum{}
	g.mu.Unlock()
	g.a.notify(Notice{Type: "archive.groomed", Level: "info",
		Message: fmt.Sprintf("%d files of %d streams in pool %s keep their key frames only: %d of %d MB are free", s.files, len(s.streams), g.pool.Name, (s.before-s.after)>>20, s.before>>20),
		Data:    map[string]any{"pool": g.pool.Name, "files": s.files, "streams": len(s.streams), "bytes_before": s.before, "bytes_after": s.after}})
}
