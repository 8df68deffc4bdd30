package archive

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"media-server/core/fault"
	"media-server/core/media"
)

// places are the spaces and pools in force, and the movers between them. One is
// immutable: a change makes another. Who reads it sees one whole state of things
// without a lock, and pointers into it stay good.
type places struct {
	spaces   []*space
	pools    []Pool
	movers   []*mover   // one a pool that footage is moved to
	groomers []*groomer // one a pool that is groomed
}

func (a *Archive) allSpaces() []*space { return a.places.Load().spaces }

func (a *Archive) allPools() []Pool { return a.places.Load().pools }

// set puts a change in force; a.change is held.
func (a *Archive) set(f func(*places)) {
	p := *a.places.Load()
	f(&p)
	a.places.Store(&p)
}

func (a *Archive) space(name string) *space {
	for _, s := range a.allSpaces() {
		if s.cfg.Name == name {
			return s
		}
	}
	return nil
}

// pool finds a pool by name; "" is the first.
func (a *Archive) pool(name string) (*Pool, error) {
	pools := a.allPools()
	for i := range pools {
		if name == "" || pools[i].Name == name {
			return &pools[i], nil
		}
	}
	return nil, fault.New("pool "+name, "there is no such pool", "add a [pool."+name+"] section or change dvr-pool")
}

// Pools are those in force.
func (a *Archive) Pools() []Pool { return slices.Clone(a.allPools()) }

// AddSpace adds a space while the archive runs. It is opened in the background:
// SpaceStatuses tells what came of it.
func (a *Archive) AddSpace(cfg Space) error {
	a.change.Lock()
	defer a.change.Unlock()
	if a.closed.Load() {
		return ErrClosed
	}
	if a.space(cfg.Name) != nil {
		return fault.New("space "+cfg.Name, "there is a space of that name already", "choose another name")
	}
	s := newSpace(a, cfg)
	s.late = true
	if err := errors.Join(a.loadDue(s), a.loadTolls(s)); err != nil {
		return fmt.Errorf("look up space %s: %w", cfg.Name, err)
	}
	for _, l := range a.Locks("", media.Span{From: -1 << 62, To: 1<<63 - 1}) {
		s.note(l.fact()) // attached elsewhere, alone, it keeps what is locked
	}
	a.set(func(p *places) { p.spaces = append(slices.Clip(p.spaces), s) })
	a.dbDone.Go(func() { a.openFirst(s) })
	if a.work != nil {
		a.startSpace(s)
	}
	a.notify(Notice{Type: "storage.added", Level: "info", Message: "space " + cfg.Name + " was added", Data: map[string]any{"space": cfg.Name}})
	return nil
}

// SetPools puts other pools in force. Recordings in spaces that their pool does
// not have any more go on where they are until their file is complete.
func (a *Archive) SetPools(pools []Pool) error {
	a.change.Lock()
	defer a.change.Unlock()
	if a.closed.Load() {
		return ErrClosed
	}
	pools = slices.Clone(pools)
	if err := a.checkPools(pools); err != nil {
		return err
	}
	if reflect.DeepEqual(pools, a.allPools()) {
		return nil
	}
	var kept, ended, begun []*mover
	for _, in := range tiersOf(pools) {
		m := newMover(a, in)
		for _, old := range a.places.Load().movers {
			if old.to.Name != m.to.Name {
				continue
			}
			if reflect.DeepEqual(old.tiers, m.tiers) {
				m = old
			} else {
				m.inherit(old)
			}
		}
		if m.stop == nil {
			begun = append(begun, m)
		}
		kept = append(kept, m)
	}
	for _, old := range a.places.Load().movers {
		if !slices.Contains(kept, old) {
			ended = append(ended, old)
		}
	}
	a.endLeftovers()
	for _, m := range ended { // what one of them is doing stands in state.db: its successor finishes it
		m.end()
	}
	grooms, fresh := a.groomersOf(pools)
	a.set(func(p *places) { p.pools, p.movers, p.groomers = pools, kept, grooms })
	for _, m := range begun {
		a.startMover(m)
	}
	for _, g := range fresh {
		a.startGroomer(g)
	}
	a.startLeftovers()
	poke(a.ensured) // other thresholds, other days
	return nil
}

// checkPools tells whether every pool has spaces, all of them there.
func (a *Archive) checkPools(pools []Pool) error {
	for i := range pools {
		p := &pools[i]
		if len(p.Spaces) == 0 {
			return fault.New("pool."+p.Name, "the pool has no space", "name at least one in spaces =")
		}
		for _, name := range append([]string{p.recordsIn()[0]}, p.Spaces...) {
			if a.space(name) == nil {
				return fault.New("pool."+p.Name, fmt.Sprintf("there is no space %q", name), "add a [space."+name+"] section")
			}
		}
	}
	return nil
}

// TuneSpace takes over what the settings of a space say now: its limits, how
// often it is synced, and whatever its Storage was told since it was opened last.
func (a *Archive) TuneSpace(name string, l Limits, fsync time.Duration) error {
	s := a.space(name)
	if s == nil {
		return ErrNoSuchSpace
	}
	s.fsync.Store(int64(fsync))
	s.mu.Lock()
	s.limits = l
	s.mu.Unlock()
	poke(s.retune)
	return nil
}

// RemoveSpace takes a space out of the archive that no pool names. Nothing is
// deleted: it has to be empty, or lost; then what it held leaves the lists.
func (a *Archive) RemoveSpace(ctx context.Context, name string) error {
	a.change.Lock()
	defer a.change.Unlock()
	if a.closed.Load() {
		return ErrClosed
	}
	s := a.space(name)
	if s == nil {
		return ErrNoSuchSpace
	}
	if in := a.poolsOf(name); len(in) > 0 {
		return fault.New("space "+name, "it belongs to pool "+strings.Join(in, ", "), "take it out of spaces = (or stage =) there first")
	}
	if err := s.take(&s.leaving); err != nil {
		return err
	}
	a.hurryDeletions(ctx, s, deleteWait)
	err := a.mayGo(ctx, s)
	if err == nil {
		err = a.vacate(ctx, s)
	}
	if err == nil {
		err = a.mayGo(ctx, s) // what was sealed meanwhile
	}
	if err == nil && !s.isLost() {
		err = a.noneGoing(name)
	}
	if err == nil && s.isLost() {
		s.stopScan(ctx) // one whose reads hang would list what it had read
		err = a.disown(ctx, s, GapDiskError)
	}
	if err == nil {
		err = a.forgetSpace(ctx, name)
	}
	if err != nil {
		s.give(&s.leaving)
		return err
	}
	a.set(func(p *places) {
		p.spaces = slices.DeleteFunc(slices.Clone(p.spaces), func(x *space) bool { return x == s })
	})
	s.end()
	a.notify(Notice{Type: "storage.removed", Level: "info", Message: "space " + name + " was removed", Data: map[string]any{"space": name}})
	return nil
}

// noneGoing refuses to remove a space of which files are marked as going and still
// there: nobody could delete them any more.
func (a *Archive) noneGoing(name string) error {
	var n int
	err := a.cat.reader().QueryRow(fmt.Sprintf("SELECT count(*) FROM files WHERE space = (SELECT id FROM spaces WHERE name = ?) AND flags & %d = %d", rowOpen|rowGoing, rowGoing), name).Scan(&n)
	if err == nil && n > 0 {
		err = fault.New("space "+name, fmt.Sprintf("%d files that are to go from it could not be deleted yet", n), "try again in a minute; see problems")
	}
	return err
}

// stopScan ends a scan of the space that is under way: nothing is listed by it any
// more. It waits for its end for a while; a read of a dead disk may never end.
func (s *space) stopScan(ctx context.Context) {
	s.mu.Lock()
	stop, ended := s.endScan, s.scanEnded
	s.mu.Unlock()
	if stop == nil {
		return
	}
	stop(errors.New("the space is being removed"))
	t := time.NewTimer(5 * time.Second)
	defer t.Stop()
	select {
	case <-ended:
	case <-t.C:
	case <-ctx.Done():
	}
}

// startSpace starts the goroutines of a space; a.change is held, or nobody else
// knows the archive yet.
func (a *Archive) startSpace(s *space) {
	ctx, stop := context.WithCancel(a.work)
	s.stop = stop
	s.ends.Go(func() {
		select {
		case <-s.tried:
			s.run(ctx)
		case <-ctx.Done():
		}
	})
	for range sealers {
		s.ends.Go(func() { s.sealLoop(ctx) })
	}
}

// end ends the goroutines of a space and waits for them.
func (s *space) end() {
	s.quit()
	if s.stop != nil {
		s.stop()
	}
	<-s.tried
	s.ends.Wait()
}

func (a *Archive) startMover(m *mover) {
	if a.front == nil {
		return // Run starts it
	}
	ctx, stop := context.WithCancel(a.front)
	m.stop = stop
	m.ends.Go(func() { m.run(ctx) })
}

func (m *mover) end() {
	if m.stop != nil {
		m.stop()
		m.ends.Wait()
	}
}

// inherit takes over what an earlier mover into the pool has counted.
func (m *mover) inherit(old *mover) {
	old.mu.Lock()
	defer old.mu.Unlock()
	for i := range m.st {
		for _, o := range old.st {
			if x := &m.st[i]; x.From == o.From && x.Stage == o.Stage {
				x.Files, x.Bytes, x.Failures = o.Files, o.Bytes, o.Failures
			}
		}
	}
	m.told = old.told
}

// errRetune ends a session whose space is opened with other settings.
var errRetune = errors.New("other settings")

// SpaceTried waits until a space has been opened for the first time, or could
// not be.
func (a *Archive) SpaceTried(ctx context.Context, name string) (SpaceStatus, error) {
	s := a.space(name)
	if s == nil {
		return SpaceStatus{}, ErrNoSuchSpace
	}
	select {
	case <-s.tried:
		return a.status(s), nil
	case <-ctx.Done():
		return SpaceStatus{}, ctx.Err()
	}
}

// MayRemove tells what speaks against RemoveSpace beside the pools.
func (a *Archive) MayRemove(ctx context.Context, name string) error {
	s := a.space(name)
	if s == nil {
		return ErrNoSuchSpace
	}
	return a.mayGo(ctx, s)
}
