package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"media-server/core/media"
)

const (
	moveEvery   = 15 * time.Second
	stageEvery  = 2 * time.Second
	moveBatch   = 200
	moveIntents = 16
	moveAgain   = 10 * time.Minute // a file that could not be read is tried again
	moveMost    = 30 * time.Minute // without anything read of a file
)

// mover brings footage into one pool, a file at a time:
//
//	intent (state.db) → copy → read back and compare → row (catalogue.db) → delete the original → intent goes
//
// Whatever it is killed at, the intent tells the next one how to go on, and a
// file is listed once at every instant. One goroutine, run.
type mover struct {
	a     *Archive
	to    *Pool
	tiers []tier
	paces []*pace // one a tier

	mu   sync.Mutex
	st   []MoveStatus // one a tier
	skip map[FileID]time.Time
	told bool // that it does not work

	stop context.CancelFunc // nil until it runs
	ends sync.WaitGroup
}

// MoveStatus is how moving from one pool to another goes.
type MoveStatus struct {
	From, To string // pools; of a stage the same
	Stage    bool
	State    string // idle, moving, waiting, failing
	Why      string // of waiting and failing

	Files, Bytes       int64 // moved since the start
	Failures           int64
	DueFiles, DueBytes int64 // that are old enough and not moved yet, when last looked

	UID  string // of the file being moved; "" = none
	File FileID
	Done int64 // bytes of it that are copied
	Size int64
}

func newMover(a *Archive, tiers []tier) *mover {
	m := &mover{a: a, to: tiers[0].to, tiers: tiers, skip: map[FileID]time.Time{}}
	for _, t := range tiers {
		m.paces = append(m.paces, newPace(t.rate))
		m.st = append(m.st, MoveStatus{From: t.pool, To: t.to.Name, Stage: t.stage, State: "idle"})
	}
	return m
}

// Moves tells how moving between pools goes.
func (a *Archive) Moves() (out []MoveStatus) {
	for _, m := range a.places.Load().movers {
		m.mu.Lock()
		out = append(out, m.st...)
		m.mu.Unlock()
	}
	return out
}

func (m *mover) run(ctx context.Context) {
	every := moveEvery
	if m.tiers[0].stage {
		every = stageEvery
	}
	if m.a.o.MoveEvery > 0 {
		every = m.a.o.MoveEvery
	}
	if m.a.Opened(ctx) != nil {
		return
	}
	for sleep(ctx, every) {
		m.a.endMoves()
		// What is listed where is not known while the catalogue is rebuilt.
		if m.a.cat.incomplete.Load() {
			m.each(func(s *MoveStatus) { s.State, s.Why = "waiting", "the catalogue is being rebuilt" })
			continue
		}
		if err := m.finish(ctx); err != nil {
			m.failed(ctx, 0, err)
			continue
		}
		for i := range m.tiers {
			m.pass(ctx, i)
		}
	}
}

func (m *mover) each(f func(*MoveStatus)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := range m.st {
		f(&m.st[i])
	}
}

func (m *mover) set(i int, f func(*MoveStatus)) {
	m.mu.Lock()
	defer m.mu.Unlock()
	f(&m.st[i])
}

// pass moves what is due of one tier.
func (m *mover) pass(ctx context.Context, i int) {
	t := &m.tiers[i]
	until := media.WallOf(time.Now()).Add(-t.after)
	if err := m.count(i, until); err != nil {
		m.failed(ctx, i, err)
		return
	}
	for ctx.Err() == nil {
		if !t.at.Open(time.Now().In(m.a.o.Zone)) {
			m.set(i, func(s *MoveStatus) { s.State, s.Why = "waiting", "until "+t.at.String() })
			return
		}
		rows, err := m.due(t, until)
		if err != nil {
			m.failed(ctx, i, err)
			return
		}
		if len(rows) == 0 {
			break
		}
		for some := range slices.Chunk(rows, moveIntents) {
			if m.some(ctx, i, some) != nil {
				return
			}
			if ctx.Err() != nil || !t.at.Open(time.Now().In(m.a.o.Zone)) {
				break
			}
		}
	}
	m.set(i, func(s *MoveStatus) { s.State, s.Why = "idle", "" })
}

// due lists files to move, oldest first.
func (m *mover) due(t *tier, until media.Wall) (out []*row, err error) {
	now := time.Now()
	for id, at := range m.skip {
		if now.After(at) {
			delete(m.skip, id)
		}
	}
	for _, space := range t.from {
		if s := m.a.space(space); s == nil || !s.readable() {
			continue
		}
		err = each(m.a.cat.reader(), "SELECT "+rowColumns+rowTables+"WHERE p.name = ? AND f.t0 < ? AND f.t1 <= ? AND f.flags & 3 = 0 ORDER BY f.t0 LIMIT ?", func(rows *sql.Rows) error {
			r, err := scanRow(rows)
			if err == nil && m.a.file(r.ID) == nil && m.skip[r.ID].IsZero() {
				out = append(out, r)
			}
			return err
		}, space, int64(until), int64(until), moveBatch+len(m.skip))
		if err != nil {
			return nil, err
		}
	}
	slices.SortStableFunc(out, func(a, b *row) int { return compare(a.Span.From, b.Span.From) })
	return out, nil
}

// count sums what is due, roughly: from the index alone.
func (m *mover) count(i int, until media.Wall) error {
	var files, bytes int64
	for _, space := range m.tiers[i].from {
		var n, sum sql.NullInt64
		err := m.a.cat.reader().QueryRow("SELECT count(*), sum(f.size) FROM files f WHERE f.space = (SELECT id FROM spaces WHERE name = ?) AND f.t0 < ? AND f.flags & 3 = 0", space, int64(until)).Scan(&n, &sum)
		if err != nil {
			return err
		}
		files, bytes = files+n.Int64, bytes+sum.Int64
	}
	m.set(i, func(s *MoveStatus) { s.DueFiles, s.DueBytes = files, bytes })
	return nil
}

// some moves a few files: what will be done is written down for all of them
// at once, because each wait for a commit takes longer than a small file. An
// error means that nothing else of the tier is worth trying now; what was
// written down is finished, or undone, by the next pass.
func (m *mover) some(ctx context.Context, i int, rows []*row) error {
	var ins []*moving
	var todo []*row
	for _, r := range rows {
		in, err := m.prepare(ctx, r)
		if err = m.settle(ctx, i, r, err); err != nil {
			return err
		}
		if in != nil {
			ins, todo = append(ins, in), append(todo, r)
		}
	}
	if err := m.a.state.beginMoves(ctx, ins); err != nil {
		m.failed(ctx, i, fmt.Errorf("write down what is moved: %w", err))
		return err
	}
	for n, r := range todo {
		m.set(i, func(s *MoveStatus) {
			s.State, s.Why, s.UID, s.File, s.Done, s.Size = "moving", "", r.UID, r.ID, 0, r.Size
		})
		fctx, over := untilStalled(ctx, moveMost)
		err := over(m.carry(fctx, i, r, ins[n]))
		m.set(i, func(s *MoveStatus) { s.UID, s.File, s.Done, s.Size = "", 0, 0, 0 })
		if err := m.settle(ctx, i, r, err); err != nil {
			return err
		}
	}
	return nil
}

// settle decides what a failure means: of this file (nil), or of the tier.
func (m *mover) settle(ctx context.Context, i int, r *row, err error) error {
	var src *sourceError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		return nil
	case errors.Is(err, errLeft): // another space is chosen for it
		return nil
	case errors.Is(err, errNotThere): // deleted by rule meanwhile
		m.skip[r.ID] = time.Now().Add(moveAgain)
		return nil
	case errors.As(err, &src) && !errors.Is(err, context.DeadlineExceeded):
		if errors.Is(err, os.ErrNotExist) {
			err = m.a.gone(r, err)
		}
		m.skip[r.ID] = time.Now().Add(moveAgain)
		m.set(i, func(s *MoveStatus) { s.Failures++ })
		m.a.notify(Notice{Type: "storage.move_failed", UID: r.UID, Level: "warning", Message: fmt.Sprintf("%s is not moved to pool %s: %v", r.Name, m.to.Name, err),
			Data: map[string]any{"space": r.Space, "file": r.Name, "pool": m.to.Name}})
		return nil
	}
	m.failed(ctx, i, err)
	return err
}

// failed and works tell once when moving stops to work, and when it does again.
func (m *mover) failed(ctx context.Context, i int, err error) {
	if ctx.Err() != nil {
		return
	}
	var w *waitError
	waits := errors.As(err, &w)
	m.mu.Lock()
	m.st[i].State, m.st[i].Why = "failing", err.Error()
	if waits {
		m.st[i].State = "waiting"
	} else {
		m.st[i].Failures++
	}
	first := !m.told
	m.told = true
	m.mu.Unlock()
	if first {
		m.a.notify(Notice{Type: "storage.move_failed", Level: "warning", Message: fmt.Sprintf("footage cannot be moved to pool %s, it stays where it is and is tried again: %v", m.to.Name, err),
			Data: map[string]any{"pool": m.to.Name, "error": err.Error()}})
	}
}

func (m *mover) works() {
	m.mu.Lock()
	again := m.told
	m.told = false
	m.mu.Unlock()
	if again {
		m.a.notify(Notice{Type: "storage.archived", Level: "info", Message: "footage is moved to pool " + m.to.Name + " again", Data: map[string]any{"pool": m.to.Name}})
	}
}

// waitError: nothing is broken, but there is nowhere to move to now.
type waitError struct{ why string }

func (e *waitError) Error() string { return e.why }

// sourceError: this one file cannot be moved.
type sourceError struct{ err error }

func (e *sourceError) Error() string { return e.err.Error() }
func (e *sourceError) Unwrap() error { return e.err }

// readable tells whether files of the space can be read: a full one can.
func (s *space) readable() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.opened && !s.stale && (s.failing == "" || s.full || time.Since(s.failedAt) > retryFailed)
}

// fits tells whether a space has room for so much, and whether it can be written
// to at all.
func (s *space) fits(ctx context.Context, size int64) (fits, ok bool) {
	uctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	u, err := s.st.Usage(uctx)
	if err != nil || u.ReadOnly {
		return false, false
	}
	s.setUsage(u)
	return size <= u.Free, true
}

// fitsLifted tells whether there is room without the limits, where they are put
// aside: it may have been asked for before they were.
func (s *space) fitsLifted(ctx context.Context, size int64) bool {
	lifted, _ := s.isLifted()
	if !lifted {
		return false
	}
	s.awaitLift(ctx)
	fits, _ := s.fits(ctx, size)
	return fits
}

// target chooses the first space of the pool that works and has room.
func (m *mover) target(ctx context.Context, size int64) (*space, error) {
	why := "no space of the pool can be written to"
	for _, name := range m.to.Spaces {
		s := m.a.space(name)
		if s == nil || !s.usable() {
			continue
		}
		fits, ok := s.fits(ctx, size)
		if !ok {
			continue
		}
		if !fits && !s.fitsLifted(ctx, size) {
			if made, _ := m.a.makeRoom(ctx, s); !made {
				why = "the spaces of the pool are full"
				continue
			}
			s.awaitLift(ctx)
		}
		return s, nil
	}
	return nil, &waitError{why}
}
