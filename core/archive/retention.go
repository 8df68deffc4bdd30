package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"media-server/core/archive/retain"
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
	if err := a.finishDeletes(ctx); err != nil {
		a.log.Warn("deletions decided earlier could not be finished", "err", err)
	}
	low := map[string]*lowState{}
	t := time.NewTicker(retainEvery)
	defer t.Stop()
	for {
		if _, err := a.Retain(ctx, nil); err != nil && ctx.Err() == nil {
			a.log.Warn("retention did not finish, it is tried again", "err", err)
		}
		a.checkFree(low)
		a.endGrace()
		select {
		case <-ctx.Done():
			return
		case <-t.C:
		case <-a.ensured:
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
// beyond what the rules want; what could not be had is returned.
func (a *Archive) Retain(ctx context.Context, extra map[string]int64) (short map[string]int64, err error) {
	a.planMu.Lock()
	defer a.planMu.Unlock()
	now := media.WallOf(time.Now())
	streams, err := a.retainStreams(now)
	if err != nil {
		return nil, err
	}
	pressure, err := a.pressure(ctx, extra)
	if err != nil {
		return nil, err
	}
	plan := retain.Plan(now, streams, pressure)
	for _, uid := range plan.Broken {
		a.notify(Notice{Type: "retention.keep_broken", UID: uid, Level: "warning",
			Message: fmt.Sprintf("footage of %s goes earlier than dvr-keep promises", uid)})
	}
	return plan.Short, a.carryOut(ctx, plan.Delete, len(extra) > 0)
}

// retainStreams collects what the rules of each stream need to know.
func (a *Archive) retainStreams(now media.Wall) ([]retain.Stream, error) {
	var out []retain.Stream
	var ids []int64
	err := each(a.cat.reader(), "SELECT id, uid, rules FROM streams", func(rows *sql.Rows) error {
		var id int64
		var uid, text string
		if err := rows.Scan(&id, &uid, &text); err != nil {
			return err
		}
		r := parseRules(text)
		s := retain.Stream{UID: uid, Duration: r.Duration, Keep: r.Keep, Capacity: r.Capacity}
		if p, err := a.pool(r.Pool); err == nil {
			s.Days = p.Days
		}
		out, ids = append(out, s), append(ids, id)
		return nil
	})
	if err != nil {
		return nil, err
	}
	for i := range out {
		s := &out[i]
		limit := s.Duration
		if s.Days > 0 && (limit <= 0 || s.Days < limit) {
			limit = s.Days
		}
		if s.Capacity > 0 {
			if s.Bytes, err = a.usageOf(s.UID, ids[i]); err != nil {
				return nil, err
			}
		}
		if limit <= 0 && (s.Capacity <= 0 || s.Bytes <= s.Capacity) {
			continue
		}
		until := now.Add(-limit)
		if s.Capacity > 0 && s.Bytes > s.Capacity {
			until = now
		}
		s.Oldest, err = a.candidates("f.stream = ? AND f.t0 < ? AND f.flags & 3 = 0 ORDER BY f.t0", ids[i], int64(until))
		if err != nil {
			return nil, err
		}
	}
	return out, nil
}

func (a *Archive) candidates(where string, args ...any) ([]retain.File, error) {
	var out []retain.File
	err := each(a.cat.reader(), fmt.Sprintf("SELECT f.id, s.uid, p.name, f.t0, f.t1, f.size%sWHERE %s LIMIT %d", rowTables, where, retainBatch),
		func(rows *sql.Rows) error {
			var f retain.File
			var id, t0, t1 int64
			err := rows.Scan(&id, &f.Stream, &f.Space, &t0, &t1, &f.Size)
			f.ID, f.Span = uint64(id), media.Span{From: media.Wall(t0), To: media.Wall(t1)}
			out = append(out, f)
			return err
		}, args...)
	return out, err
}

// pressure lists the spaces where the oldest must go.
func (a *Archive) pressure(ctx context.Context, extra map[string]int64) ([]retain.Pressure, error) {
	var out []retain.Pressure
	for _, s := range a.spaces {
		want := extra[s.cfg.Name]
		uctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		u, err := s.st.Usage(uctx)
		cancel()
		if err == nil {
			s.setUsage(u)
			if t, ok := a.overwriteFree(s, u.Total); ok {
				want = max(want, t-u.Free)
			}
		}
		if _, ok := a.overwriteFree(s, u.Total); !ok || want <= 0 {
			continue
		}
		a.cat.mu.Lock()
		id, known := a.cat.spaces[s.cfg.Name]
		a.cat.mu.Unlock()
		if !known {
			continue
		}
		oldest, err := a.candidates("f.space = ? AND f.flags & 3 = 0 ORDER BY f.t0", id)
		if err != nil {
			return nil, err
		}
		out = append(out, retain.Pressure{Space: s.cfg.Name, Want: want, Oldest: oldest})
	}
	return out, nil
}

// overwriteFree is the largest threshold of the pools that a space is in; ok
// is false when none of them may overwrite.
func (a *Archive) overwriteFree(s *space, total int64) (bytes int64, ok bool) {
	for i := range a.o.Pools {
		p := &a.o.Pools[i]
		for _, name := range p.Spaces {
			if name == s.cfg.Name && p.Overwrite {
				bytes, ok = max(bytes, p.OverwriteFree.Of(total)), true
			}
		}
	}
	return max(bytes, s.cfg.Reserve), ok
}

// makeRoom is the answer to a full space: the oldest footage of it goes, if it
// may. It tells whether anything went.
func (a *Archive) makeRoom(ctx context.Context, s *space) bool {
	const atLeast = 64 << 20
	before := a.counters.deletedBytes.Load()
	if _, err := a.Retain(ctx, map[string]int64{s.cfg.Name: atLeast}); err != nil {
		a.log.Warn("room could not be made", "space", s.cfg.Name, "err", err)
	}
	return a.counters.deletedBytes.Load() > before
}

// carryOut deletes files: the decision is written first, so that a crash half
// way finishes it.
func (a *Archive) carryOut(ctx context.Context, dels []retain.Deletion, urgent bool) error {
	if len(dels) == 0 {
		return nil
	}
	err := a.cat.now(ctx, func(tx *sql.Tx) error {
		for i := range dels {
			if _, err := tx.Exec("UPDATE files SET flags = flags | 2 WHERE id = ?", int64(dels[i].ID)); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write the plan of deletions: %w", err)
	}
	wait := pinGrace
	if urgent {
		wait = 0
	}
	ids := make([]FileID, len(dels))
	why := map[retain.Why]int{}
	for i := range dels {
		ids[i] = FileID(dels[i].ID)
		why[dels[i].Why]++
	}
	n, bytes, err := a.deleteFiles(ctx, ids, wait)
	if n > 0 {
		a.notify(Notice{Type: "retention.deleted", Level: "info", Message: fmt.Sprintf("%d files were deleted by rule", n),
			Data: map[string]any{"files": n, "bytes": bytes, "why": fmt.Sprint(why)}})
	}
	return err
}

// finishDeletes carries out what an earlier process had decided.
func (a *Archive) finishDeletes(ctx context.Context) error {
	var ids []FileID
	err := each(a.cat.reader(), "SELECT id FROM files WHERE flags & 2", func(rows *sql.Rows) error {
		var id int64
		err := rows.Scan(&id)
		ids = append(ids, FileID(id))
		return err
	})
	if err != nil || len(ids) == 0 {
		return err
	}
	_, _, err = a.deleteFiles(ctx, ids, 0)
	return err
}

// deleteFiles deletes files marked before. Those that somebody reads come
// last, and are waited for together.
func (a *Archive) deleteFiles(ctx context.Context, ids []FileID, wait time.Duration) (n int, bytes int64, err error) {
	var free, held []FileID
	a.mu.Lock()
	for _, id := range ids {
		if a.pins[id] != nil {
			held = append(held, id)
		} else {
			free = append(free, id)
		}
	}
	a.mu.Unlock()
	n, bytes, err = a.deleteNow(ctx, free)
	deadline := time.Now().Add(wait)
	for _, id := range held {
		a.unpin(ctx, id, time.Until(deadline))
	}
	if len(held) > 0 && ctx.Err() == nil {
		n2, b2, err2 := a.deleteNow(ctx, held)
		n, bytes, err = n+n2, bytes+b2, errors.Join(err, err2)
	}
	return n, bytes, err
}

func (a *Archive) deleteNow(ctx context.Context, ids []FileID) (n int, bytes int64, err error) {
	bySpace := map[string][]*row{}
	for _, id := range ids {
		r, e := a.cat.get(id)
		if e == nil {
			bySpace[r.Space] = append(bySpace[r.Space], r)
		}
	}
	for name, rows := range bySpace {
		s := a.space(name)
		if s == nil {
			continue
		}
		names, gone := make([]string, len(rows)), make([]FileID, len(rows))
		var sum int64
		for i, r := range rows {
			names[i], gone[i] = r.Name, r.ID
			sum += r.Size
		}
		dctx, cancel := context.WithTimeout(ctx, time.Minute)
		e := s.st.Delete(dctx, names)
		cancel()
		if e != nil {
			err = errors.Join(err, fmt.Errorf("delete in space %s: %w", name, e))
			continue // the rows stay marked: tried again
		}
		if e := a.cat.remove(ctx, gone); e != nil {
			err = errors.Join(err, e)
		}
		for _, r := range rows {
			a.layouts.drop(r.ID)
			a.addUsage(r.UID, -r.Size)
		}
		n += len(rows)
		bytes += sum
		a.counters.deleted.Add(int64(len(rows)))
		a.counters.deletedBytes.Add(sum)
	}
	return n, bytes, err
}

// DeleteFootage deletes all footage of a stream that is not being recorded, as
// an operator asked. Nothing but this does so at once; rules take their time.
func (a *Archive) DeleteFootage(ctx context.Context, uid string) error {
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
	a.planMu.Lock()
	defer a.planMu.Unlock()
	for {
		files, err := a.candidates("f.stream = ? AND f.flags & 3 = 0 ORDER BY f.t0", id)
		if err != nil || len(files) == 0 {
			return err
		}
		dels := make([]retain.Deletion, len(files))
		for i, f := range files {
			dels[i] = retain.Deletion{File: f, Why: "asked for"}
		}
		if err := a.carryOut(ctx, dels, true); err != nil {
			return err
		}
	}
}

// usageOf is how many bytes a stream takes: summed once, then kept up to date.
func (a *Archive) usageOf(uid string, id int64) (int64, error) {
	a.mu.Lock()
	n, ok := a.usage[uid]
	a.mu.Unlock()
	if ok {
		return n, nil
	}
	var sum sql.NullInt64
	if err := a.cat.reader().QueryRow("SELECT sum(size) FROM files WHERE stream = ? AND flags & 3 = 0", id).Scan(&sum); err != nil {
		return 0, err
	}
	a.mu.Lock()
	a.usage[uid] = sum.Int64
	a.mu.Unlock()
	return sum.Int64, nil
}

func (a *Archive) addUsage(uid string, n int64) {
	a.mu.Lock()
	if _, ok := a.usage[uid]; ok {
		a.usage[uid] += n
	}
	a.mu.Unlock()
}

type lowState struct {
	since time.Time
	told  bool
}

// checkFree raises storage.low when free space stays under the alarm for five
// minutes though overwriting ran, or the pool may not overwrite, and clears it
// one percent above.
func (a *Archive) checkFree(low map[string]*lowState) {
	for _, s := range a.spaces {
		s.mu.Lock()
		u := s.usage
		s.mu.Unlock()
		if u.Total == 0 {
			continue
		}
		var alarm int64
		for i := range a.o.Pools {
			for _, name := range a.o.Pools[i].Spaces {
				if name == s.cfg.Name {
					alarm = max(alarm, a.o.Pools[i].AlarmFree.Of(u.Total))
				}
			}
		}
		l := low[s.cfg.Name]
		_, may := a.overwriteFree(s, u.Total)
		switch {
		case u.Free < alarm && l == nil:
			l = &lowState{since: time.Now()}
			low[s.cfg.Name] = l
			fallthrough
		case u.Free < alarm:
			if !l.told && (!may || time.Since(l.since) >= alarmAfter) {
				l.told = true
				a.notify(Notice{Type: "storage.low", Level: "warning", Message: fmt.Sprintf("space %s: %d of %d bytes are free", s.cfg.Name, u.Free, u.Total),
					Data: map[string]any{"space": s.cfg.Name, "free": u.Free, "total": u.Total}})
			}
		case l != nil && u.Free >= alarm+u.Total/100:
			delete(low, s.cfg.Name)
			if l.told {
				a.notify(Notice{Type: "storage.ok", Level: "info", Message: fmt.Sprintf("space %s has room again", s.cfg.Name), Data: map[string]any{"space": s.cfg.Name}})
			}
		}
	}
}

func (s *space) setUsage(u Usage) {
	s.mu.Lock()
	s.usage = u
	if u.Free > max(s.cfg.Reserve, roomAgain) {
		s.full = false
	}
	s.mu.Unlock()
}
