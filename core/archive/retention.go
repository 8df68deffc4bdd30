package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/fault"
	"media-server/core/media"
)

const (
	retainEvery = time.Minute
	retainBatch = 500             // candidates per stream or space and round
	roomAgain   = 32 << 20        // a full space is tried again with so much free
	alarmAfter  = 5 * time.Minute // free space must stay low so long before storage.low
)

// retention deletes by rule, each minute and whenever room is wanted.
func (a *Archive) retention(ctx context.Context) {
	a.unfinished.Store(true)
	if a.plan.take(ctx) {
		a.finishDeletes(ctx, "flags & 2") // no reader of an earlier process is left
		a.plan.give()
	}
	low := levels{}
	var looked time.Time
	t := time.NewTicker(retainEvery)
	defer t.Stop()
	for {
		if _, err := a.Retain(ctx, nil); err != nil && ctx.Err() == nil {
			a.log.Warn("retention did not finish, it is tried again", "err", err)
		}
		a.checkFree(low)
		if time.Since(looked) >= outlookEvery {
			a.lookAhead()
			looked = time.Now()
		}
		a.endGrace()
		for due := false; !due; {
			select {
			case <-ctx.Done():
				return
			case <-a.measure:
				a.measureFull(ctx)
				a.checkFree(low)
			case <-t.C:
				due = true
			case <-a.ensured:
				due = true
			}
		}
	}
}

// endGrace seals recovered files whose run did not go on.
func (a *Archive) endGrace() {
	now := time.Now()
	for _, st := range a.allStreams() {
		st.mu.Lock()
		if f := st.cur; f != nil && !st.begun {
			f.mu.Lock()
			over := !f.since.IsZero() && now.Sub(f.since) > a.o.ResumeGrace
			f.mu.Unlock()
			if over {
				st.sealLocked(true)
				st.last.resumable = false
			}
		}
		st.mu.Unlock()
	}
}

// Retain plans once and carries the plan out. extra asks for bytes in spaces
// beyond what the rules want; what could not be had is returned. Nothing is
// planned while it is not known what is locked.
func (a *Archive) Retain(ctx context.Context, extra map[string]int64) (short map[string]int64, err error) {
	if !a.knowsLocks.Load() {
		return extra, nil
	}
	a.endLocks(ctx)
	if len(extra) == 0 {
		a.sumFootage(time.Now().UnixNano())
	}
	if !a.plan.take(ctx) {
		return extra, ctx.Err()
	}
	defer a.plan.give()
	a.finishDeletes(ctx, fmt.Sprintf("flags & %d = %d", rowGoing|rowReplaced, rowGoing)) // what was groomed is the groomer's
	now := media.WallOf(time.Now())
	streams, err := a.retainStreams(now, wish{})
	if err != nil {
		return nil, err
	}
	wrote, wants := a.written(), map[string]wanted{}
	for _, s := range a.allSpaces() {
		wants[s.cfg.Name] = wanted{rules: a.rulesIn(s, wish{})}
	}
	pressure, unknown, err := a.pressure(ctx, extra, wish{}, true)
	if err != nil {
		return nil, err
	}
	plan := retain.Plan(now, streams, pressure)
	a.tellBroken(now, plan.Broken, streams)
	for _, h := range a.asked.take(plan.Held, streams) {
		a.notify(Notice{Type: "retention.held", UID: h.UID, Level: "warning",
			Message: fmt.Sprintf("%s would take %d of %d MB of %s at once; nothing goes by it until somebody confirms", h.Why, h.Goes.Bytes>>20, h.Bytes>>20, h.UID),
			Data:    map[string]any{"why": string(h.Why), "files": h.Goes.Files, "bytes": h.Goes.Bytes}})
	}
	a.settle(&plan, pressure, unknown, extra, wants)
	x := a.carryOut(ctx, plan.Delete, len(extra) > 0)
	a.measureAgain(ctx, plan.Delete, wrote, x.slow)
	if x.err == nil && a.goOn(&plan, pressure) {
		poke(a.ensured)
	}
	return plan.Short, x.err
}

// goOn tells whether another pass is to follow at once: a space is short of room
// though all went that one pass lists, and it did make room. More may come in a
// minute than that.
func (a *Archive) goOn(plan *retain.Result, pressure []retain.Pressure) bool {
	for i := range pressure {
		p := &pressure[i]
		s, n := a.space(p.Space), 0
		for k := range p.Oldest {
			if !p.Oldest[k].Locked {
				n++
			}
		}
		if s == nil || n < retainBatch || plan.Short[p.Space] <= 0 {
			continue
		}
		s.mu.Lock()
		more := s.usage.Free > s.found || s.usage.Used < s.foundUsed
		s.mu.Unlock()
		if more {
			return true
		}
	}
	return false
}

// settle notes what a plan takes from each space for thresholds and limits, and
// tells what it holds back. What was held stays so where it is not
// known how full the space is. wants has the rules that the plan was made by, by space.
func (a *Archive) settle(plan *retain.Result, pressure []retain.Pressure, unknown map[string]bool, extra map[string]int64, wants map[string]wanted) {
	took := map[string]int64{}
	for i := range plan.Delete {
		d := &plan.Delete[i]
		if d.Why == retain.SpaceFree {
			took[d.Space] += d.Size
		}
	}
	asked := map[string]int64{}
	for i := range pressure {
		p := &pressure[i]
		asked[p.Space] = p.Asked
		wants[p.Space] = wanted{wants[p.Space].rules, min(p.Asked, p.Bytes)}
	}
	for _, s := range a.allSpaces() {
		name := s.cfg.Name
		if unknown[name] {
			continue
		}
		held := slices.ContainsFunc(plan.HeldSpaces, func(h retain.HeldSpace) bool { return h.Space == name })
		s.pay(held, a.asked.confirmedSpace(name, wants[name]), took[name], extra[name] >= asked[name] && extra[name] > 0)
		a.saveToll(s)
	}
	for _, h := range a.asked.takeSpaces(plan.HeldSpaces, unknown, wants) {
		a.notify(Notice{Type: "retention.held", Level: "warning",
			Message: fmt.Sprintf("space %s: %s would delete %d of %d MB at once; no more goes than recording needs until somebody confirms: media-server retention confirm --space %s", h.Space, h.Why, h.Goes>>20, h.Bytes>>20, h.Space),
			Data:    map[string]any{"space": h.Space, "why": h.Why, "bytes": h.Goes}})
	}
}

// written is how many bytes each space has taken so far.
func (a *Archive) written() map[*space]uint64 {
	out := map[*space]uint64{}
	for _, s := range a.allSpaces() {
		s.mu.Lock()
		out[s] = s.stats.written
		s.mu.Unlock()
	}
	return out
}

// measureAgain asks the spaces that files went from how full they are now: who
// looks sees the room, not what there was before. What was written meanwhile is
// noted: it is no reason for an alarm, the next pass makes room for it. wrote is
// what they had taken when they were measured last.
func (a *Archive) measureAgain(ctx context.Context, dels []retain.Deletion, wrote map[*space]uint64, slow bool) {
	for s, was := range wrote {
		if !slices.ContainsFunc(dels, func(d retain.Deletion) bool { return d.Space == s.cfg.Name }) || slow && len(a.deletionsIn(s)) > 0 {
			continue // the pass behind what is under way measures it
		}
		u, err := s.ask(ctx)
		if err != nil {
			continue // the next pass asks again
		}
		s.setUsage(u)
		s.mu.Lock()
		s.came = int64(s.stats.written - was)
		keep := s.toll.holding || s.toll.unsure
		s.mu.Unlock()
		if !keep && s.measured(u, wish{}).Free >= 0 {
			s.lift(false) // at once: until the next pass more may come than it may hold
		}
	}
}

// measureFull asks the spaces that were full when they were asked last.
func (a *Archive) measureFull(ctx context.Context) {
	for _, s := range a.allSpaces() {
		s.mu.Lock()
		full := s.fullLocked()
		s.mu.Unlock()
		if !full {
			continue
		}
		if u, err := s.ask(ctx); err == nil { // else the next pass asks again
			s.setUsage(u)
		}
	}
}

// fullLocked tells whether a space says, or said when it was asked last, that it has
// no room. s.mu is held.
func (s *space) fullLocked() bool { return s.full || s.usage.Total > 0 && s.usage.Free <= 0 }

// overwriteFree is the largest threshold of the pools that a space is in; ok
// is false when none of them may overwrite. It is counted above the reserve, which
// no space calls free.
func (a *Archive) overwriteFree(s *space, total int64, w wish) (bytes int64, ok bool) {
	for _, p := range a.allPools() {
		if p = w.poolOf(p); p.Overwrite && slices.Contains(p.Spaces, s.cfg.Name) {
			bytes, ok = max(bytes, p.OverwriteFree.Of(total)), true
		}
	}
	return bytes, ok
}

// makeRoom is the answer to a full space: the oldest footage of it goes, if it
// may. It tells whether anything went, or opening the space again lifts the limits that it
// is full by; else whether something is to go and its storage does not delete it.
func (a *Archive) makeRoom(ctx context.Context, s *space) (made, stuck bool) {
	const atLeast = 64 << 20
	before := s.deletedSoFar()
	a.hurryDeletions(ctx, s, deleteWait)
	if s.deletedSoFar() > before {
		return true, false
	}
	_, was := s.isLifted()
	if _, err := a.Retain(ctx, map[string]int64{s.cfg.Name: atLeast}); err != nil {
		a.log.Warn("room could not be made", "space", s.cfg.Name, "err", err)
	}
	stuck = !a.hurryDeletions(ctx, s, deleteWait) // also those that a plan before this one has decided
	lifted, _ := s.isLifted()                     // it may be open again by now
	return s.deletedSoFar() > before || lifted && !was, stuck
}

// carryOut deletes files: the decision is written first, so that a crash half
// way finishes it.
func (a *Archive) carryOut(ctx context.Context, dels []retain.Deletion, urgent bool) deleted {
	dels, err := a.decide(ctx, dels)
	if err != nil || len(dels) == 0 {
		return deleted{err: err}
	}
	how := deleting{why: make(map[FileID]string, len(dels)), grace: pinGrace, wait: deleteWait}
	if urgent {
		how.grace = 0
	}
	ids := make([]FileID, len(dels))
	for i := range dels {
		ids[i] = FileID(dels[i].ID)
		how.why[ids[i]] = string(dels[i].Why)
	}
	how.told = func(gone []*row) {
		why, bytes := map[string]int{}, int64(0)
		for _, r := range gone {
			why[how.why[r.ID]]++
			bytes += r.Size
		}
		a.notify(Notice{Type: "retention.deleted", Level: "info", Message: fmt.Sprintf("%d files were deleted by rule in space %s", len(gone), gone[0].Space),
			Data: map[string]any{"space": gone[0].Space, "files": len(gone), "bytes": bytes, "why": fmt.Sprint(why)}})
	}
	return a.deleteFiles(ctx, ids, how)
}

// decide marks files as going, but for those that were locked, moved to another
// space or taken since they were listed. No lock is made meanwhile: one that comes later finds them gone.
func (a *Archive) decide(ctx context.Context, dels []retain.Deletion) ([]retain.Deletion, error) {
	a.locks.mu.RLock()
	defer a.locks.mu.RUnlock()
	dels = slices.DeleteFunc(dels, func(d retain.Deletion) bool { return a.locks.holds(d.Stream, d.Span) })
	if len(dels) == 0 {
		return nil, nil
	}
	ids := make(map[FileID]string, len(dels))
	for i := range dels {
		ids[FileID(dels[i].ID)] = dels[i].Space
	}
	size := make(map[FileID]usage, len(dels))
	for i := range dels {
		size[FileID(dels[i].ID)] = usage{dels[i].Stream, dels[i].Size}
	}
	marked, err := a.markGoing(ctx, ids, size)
	if err != nil {
		return nil, err
	}
	dels = slices.DeleteFunc(dels, func(d retain.Deletion) bool { return !marked[FileID(d.ID)] })
	a.tookMiddle(dels)
	return dels, nil
}

// markGoing notes that the deletion of files is decided, each of the space that
// it was decided for, and tells which. One that was moved meanwhile is another
// space's, which may want to keep it. What is marked is no part any more of what
// streams take.
func (a *Archive) markGoing(ctx context.Context, in map[FileID]string, size map[FileID]usage) (map[FileID]bool, error) {
	var marked map[FileID]bool
	var uids []string
	for _, u := range size {
		if !slices.Contains(uids, u.uid) {
			uids = append(uids, u.uid)
		}
	}
	err := a.booked(ctx, uids, func(tx *sql.Tx) (took []usage, err error) {
		marks := make(map[FileID]bool, len(in)) // anew, should this be done twice
		for id, space := range in {
			res, err := tx.Exec("UPDATE files SET flags = flags | 2 WHERE id = ? AND space = (SELECT id FROM spaces WHERE name = ?) AND flags & 3 = 0", int64(id), space)
			if err != nil {
				return nil, err
			}
			if n, err := res.RowsAffected(); err != nil {
				return nil, err
			} else if n > 0 {
				marks[id] = true
				took = append(took, usage{size[id].uid, -size[id].size})
			}
		}
		marked = marks
		return took, nil
	})
	if err != nil { // it may be written later than we waited
		a.unfinished.Store(true)
		return nil, fmt.Errorf("write the plan of deletions: %w", err)
	}
	return marked, nil
}

// finishDeletes carries out what was decided earlier and could not be done: the
// process ended, or the space failed. Spaces that cannot be asked now come later,
// and one that is being wiped does it itself. Files that stay though others go are
// told once. where chooses rows that are going; it is this plan's turn. Nearly always nothing
// is left, and no row is looked at.
func (a *Archive) finishDeletes(ctx context.Context, where string) {
	if !a.unfinished.Swap(false) {
		return
	}
	in, busy := map[string][]FileID{}, a.underWay()
	failed := each(a.cat.reader(), "SELECT f.id, p.name FROM files f JOIN spaces p ON p.id = f.space WHERE f."+where, func(rows *sql.Rows) error {
		var id int64
		var space string
		err := rows.Scan(&id, &space)
		in[space] = append(in[space], FileID(id))
		return err
	})
	if failed != nil || len(busy) > 0 {
		a.unfinished.Store(true)
	}
	isBusy := func(id FileID) bool { return busy[id] }
	end := time.Now().Add(deleteWait)
	for name, ids := range in {
		s := a.space(name)
		if s == nil || s.isWiping() || !s.readable() {
			a.unfinished.Store(true)
			continue
		}
		stay, other := s.staying(ids)
		stay, other = slices.DeleteFunc(stay, isBusy), slices.DeleteFunc(other, isBusy)
		for _, some := range slices.Concat(slices.Collect(slices.Chunk(other, retainBatch)), slices.Collect(slices.Chunk(stay, retainBatch))) {
			x := a.deleteFiles(ctx, some, deleting{wait: max(time.Until(end), time.Millisecond)})
			if x.slow {
				break // it goes on
			}
			err := x.err
			var only *stayError // the others went
			one := errors.As(err, &only)
			if !one || !only.again {
				failed = errors.Join(failed, err)
			}
			if err != nil && !one {
				break
			}
		}
	}
	if failed != nil && ctx.Err() == nil {
		a.log.Warn("deletions decided earlier could not be finished, they are tried again", "err", failed)
	}
}

// DeleteFootage deletes all footage of a stream that is not being recorded, as
// an operator asked. Nothing but this does so at once; rules take their time.
// While anything of it is locked, or that is not known, it is refused.
func (a *Archive) DeleteFootage(ctx context.Context, uid string) error {
	if err := a.unread("stream "+uid, nil); err != nil {
		return err
	}
	if n := len(a.locks.spans(uid)); n > 0 {
		return fault.New("stream "+uid, "footage of it is locked", "remove its locks first")
	}
	st := a.stream(uid)
	st.mu.Lock()
	if st.begun {
		st.mu.Unlock()
		return fmt.Errorf("stream %s is being recorded: stop it first", uid)
	}
	if st.cur != nil {
		st.sealLocked(true)
	}
	st.last.resumable = false
	st.mu.Unlock()
	for len(a.inMemory(uid)) > 0 { // until they are sealed and listed
		if !sleep(ctx, 50*time.Millisecond) {
			return ctx.Err()
		}
	}
	id, _, ok := a.cat.id(uid)
	if !ok {
		return nil
	}
	for {
		more, err := a.deleteSome(ctx, uid, id)
		if err != nil || !more {
			return err
		}
	}
}

// deleteSome deletes the oldest files of a stream, as one plan among others, and tells
// whether there may be more.
func (a *Archive) deleteSome(ctx context.Context, uid string, id int64) (more bool, err error) {
	if !a.plan.take(ctx) {
		return false, ctx.Err()
	}
	defer a.plan.give()
	files, err := a.candidates("f.stream", id, "", endOfTime, retainBatch)
	if err != nil || len(files) == 0 {
		return false, err
	}
	var dels []retain.Deletion
	for _, f := range files {
		if !f.Locked {
			dels = append(dels, retain.Deletion{File: f, Why: "asked for"})
		}
	}
	if len(dels) == 0 {
		return false, fault.New("stream "+uid, "what is left of its footage was locked meanwhile", "remove its locks first")
	}
	x := a.carryOut(ctx, dels, true)
	if x.err == nil && x.slow {
		x.err = fault.New("stream "+uid, "a storage takes long to delete its footage", "what is left goes on going; ask again later")
	}
	return true, x.err
}

func (s *space) setUsage(u Usage) {
	s.mu.Lock()
	s.usage, s.came = u, 0
	if u.Free > roomAgain {
		s.full = false
	}
	s.mu.Unlock()
}
