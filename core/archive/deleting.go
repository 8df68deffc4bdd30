package archive

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// What is decided to go is marked in the catalogue first (retention.go), and deleted
// by a goroutine a space. Who decided waits for the storages only for a while, and for
// those who read not at all: one plan is carried out at a time, and a space that is
// full must not wait for another one's disk, nor for somebody who watches. What takes
// longer counts as going meanwhile, in later plans too.
//
//	carryOut ─ deleteFiles ─┬▶ space a: free files ─▶ (pinGrace) ─▶ files that are read
//	                        └▶ space b …
//	makeRoom ─ hurry: nobody who reads in this space is waited for any more

// deleteWait is how long a plan waits for storages that delete. That of a file takes
// milliseconds, also over a network.
const deleteWait = 5 * time.Second

// turn is a lock whose waiters can be ended.
type turn chan struct{}

// take waits for its turn; false = ctx ended before.
func (t turn) take(ctx context.Context) bool {
	select {
	case t <- struct{}{}:
		return true
	case <-ctx.Done():
		return false
	}
}

func (t turn) give() { <-t }

// deletions are those under way.
type deletions struct {
	mu   sync.Mutex
	list []*deletion
	over context.Context // no new one begins then, and those under way end
	end  context.CancelFunc
	all  sync.WaitGroup
}

// deletion is what goes from one space.
type deletion struct {
	s     *space
	rows  []*row
	alone bool            // nobody waits for it any more; Archive.mu
	reads context.Context // ends when those who read are waited for no more
	hurry context.CancelFunc
	done  chan struct{}
}

// deleted is what a deletion has done so far.
type deleted struct {
	n    int  // files
	slow bool // more is under way, and a storage was not waited for any longer
	err  error
}

// beginDeletion notes a deletion; nil = the archive is being closed, and the next start does
// what is marked.
func (a *Archive) beginDeletion(s *space, rows []*row) *deletion {
	d := &deletion{s: s, rows: rows, done: make(chan struct{})}
	a.dels.mu.Lock()
	defer a.dels.mu.Unlock()
	if a.dels.over.Err() != nil {
		return nil
	}
	d.reads, d.hurry = context.WithCancel(a.dels.over)
	a.dels.list = append(a.dels.list, d)
	a.dels.all.Add(1)
	return d
}

// endDeletion lets later plans know that nothing of it is under way any more.
func (a *Archive) endDeletion(d *deletion) {
	d.hurry()
	a.dels.mu.Lock()
	a.dels.list = slices.DeleteFunc(a.dels.list, func(x *deletion) bool { return x == d })
	a.dels.mu.Unlock()
	close(d.done)
}

// endDeletions ends what is under way and lets no new one begin.
func (a *Archive) endDeletions() {
	a.dels.mu.Lock()
	a.dels.end()
	a.dels.mu.Unlock()
}

// background runs f until the archive is closed; false = it is being closed.
func (a *Archive) background(f func(ctx context.Context)) bool {
	a.dels.mu.Lock()
	defer a.dels.mu.Unlock()
	if a.dels.over.Err() != nil {
		return false
	}
	a.dels.all.Go(func() { f(a.dels.over) })
	return true
}

// deletionsIn are those under way in a space.
func (a *Archive) deletionsIn(s *space) (out []*deletion) {
	a.dels.mu.Lock()
	defer a.dels.mu.Unlock()
	for _, d := range a.dels.list {
		if d.s == s {
			out = append(out, d)
		}
	}
	return out
}

// underWay are the files that are being deleted, or are waited for.
func (a *Archive) underWay() map[FileID]bool {
	a.dels.mu.Lock()
	defer a.dels.mu.Unlock()
	if len(a.dels.list) == 0 {
		return nil
	}
	out := map[FileID]bool{}
	for _, d := range a.dels.list {
		for _, r := range d.rows {
			out[r.ID] = true
		}
	}
	return out
}

// hurryDeletions waits for what is going from a space already, for a while (0 = to
// the end), and for nobody who reads there: its room is wanted now. It tells whether
// nothing is under way any more.
func (a *Archive) hurryDeletions(ctx context.Context, s *space, most time.Duration) bool {
	if most > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, most)
		defer cancel()
	}
	ds := a.deletionsIn(s)
	for _, d := range ds {
		d.hurry()
	}
	for _, d := range ds {
		select {
		case <-d.done:
		case <-ctx.Done():
			return false
		}
	}
	return true
}

// deleting says how files are deleted that are marked already.
type deleting struct {
	why   map[FileID]string // for their signed records
	grace time.Duration     // how long those who read may go on; they are not waited for here
	wait  time.Duration     // how long the storages are waited for; 0 = until they have done it
	told  func(gone []*row) // may be nil
}

// deleteFiles deletes files marked before, and tells what it has done of it. Those
// that somebody reads go behind the others: at once, or where there is a grace in the
// background, as what a storage does not do in time. told hears of both.
func (a *Archive) deleteFiles(ctx context.Context, ids []FileID, how deleting) (out deleted) {
	in := a.rowsBySpace(ids)
	first := make(chan deleted, len(in))
	var ds []*deletion
	for s, rows := range in {
		d := a.beginDeletion(s, rows)
		if d == nil {
			out.err = context.Canceled
			break
		}
		ds = append(ds, d)
		go a.deleteIn(d, how, first)
	}
	var late <-chan time.Time
	if how.wait > 0 {
		t := time.NewTimer(how.wait)
		defer t.Stop()
		late = t.C
	}
wait:
	for range ds {
		select {
		case x := <-first:
			out.n, out.err = out.n+x.n, errors.Join(out.err, x.err)
			continue
		case <-late:
			out.slow = true
		case <-ctx.Done():
			out.err = errors.Join(out.err, ctx.Err())
		}
		break wait
	}
	a.mu.Lock()
	for _, d := range ds {
		d.alone = true
	}
	a.mu.Unlock()
	for len(first) > 0 { // just now
		x := <-first
		out.n, out.err = out.n+x.n, errors.Join(out.err, x.err)
	}
	if out.n < len(ids) || out.err != nil {
		a.unfinished.Store(true)
	}
	return out
}

// rowsBySpace looks up files that are marked as going, where they are listed.
func (a *Archive) rowsBySpace(ids []FileID) map[*space][]*row {
	out := map[*space][]*row{}
	for _, id := range ids {
		r, err := a.cat.get(id)
		if err != nil || r.Flags&rowGoing == 0 {
			continue
		}
		if s := a.space(r.Space); s != nil {
			out[s] = append(out[s], r)
		}
	}
	return out
}

// deleteIn deletes what is to go from one space: first what nobody reads, of which it
// tells.
func (a *Archive) deleteIn(d *deletion, how deleting, first chan<- deleted) {
	defer a.dels.all.Done()
	free, read := a.byPins(d.rows)
	if how.grace <= 0 {
		a.cutReaders(d, read, 0)
		free, read = append(free, read...), nil
	}
	x := a.deleteNow(d, free, how)
	if len(read) == 0 {
		a.endDeletion(d) // first: who hears of it looks at what is under way
	}
	a.mu.Lock()
	late := d.alone
	if !late {
		first <- x
	}
	a.mu.Unlock()
	if late {
		a.tellLate(d, x)
	}
	if len(read) == 0 {
		return
	}
	defer a.endDeletion(d)
	a.cutReaders(d, read, how.grace)
	// As they are listed now: the space may have gone meanwhile.
	a.tellLate(d, a.deleteNow(d, a.rowsBySpace(idsOf(read))[d.s], how))
}

// tellLate ends a part of a deletion that nobody waits for: what went wrong is told,
// and where something went the next plan is made at once, as behind one that was
// waited for.
func (a *Archive) tellLate(d *deletion, x deleted) {
	if a.dels.over.Err() != nil {
		return
	}
	var stays *stayError
	if x.err != nil && (!errors.As(x.err, &stays) || !stays.again) {
		a.log.Warn("files could not be deleted, they are tried again", "space", d.s.cfg.Name, "err", x.err)
	}
	if x.n > 0 {
		poke(a.ensured)
	}
}

func idsOf(rows []*row) []FileID {
	out := make([]FileID, len(rows))
	for i, r := range rows {
		out[i] = r.ID
	}
	return out
}

// byPins sorts rows by whether somebody reads the file.
func (a *Archive) byPins(rows []*row) (free, read []*row) {
	a.mu.Lock()
	for _, r := range rows {
		if a.pins[r.ID] != nil {
			read = append(read, r)
		} else {
			free = append(free, r)
		}
	}
	a.mu.Unlock()
	for _, r := range free {
		a.open.drop(r.ID)
	}
	return free, read
}

// cutReaders waits until nobody reads files any more, all of them together, and then
// ends those who still do.
func (a *Archive) cutReaders(d *deletion, rows []*row, grace time.Duration) {
	deadline := time.Now().Add(grace)
	for _, r := range rows {
		a.unpin(d.reads, r.ID, time.Until(deadline))
	}
}

// deleteNow deletes files of a space and takes those that are gone from the lists.
func (a *Archive) deleteNow(d *deletion, rows []*row, how deleting) (x deleted) {
	ctx, s := a.dels.over, d.s
	if len(rows) == 0 || ctx.Err() != nil { // then nothing is noted of what will not go
		return deleted{err: ctx.Err()}
	}
	if err := s.said(ctx, a.attestGone(s, s.unsaid(rows), how.why)); err != nil {
		return deleted{err: err}
	}
	rows, x.err = s.deleteRows(ctx, rows) // those that are left stay marked: the next Retain tries again
	if len(rows) == 0 {
		return x
	}
	var bytes int64
	for _, r := range rows {
		bytes += r.Size
	}
	x.n = len(rows)
	s.took(bytes)
	if err := a.cat.remove(ctx, idsOf(rows)); err != nil {
		x.err = errors.Join(x.err, err)
	} else { // what is done again counts once
		s.gave(bytes)
	}
	for _, r := range rows {
		a.layouts.drop(r.ID)
	}
	a.counters.deleted.Add(int64(x.n))
	a.counters.deletedBytes.Add(bytes)
	if how.told != nil {
		how.told(rows)
	}
	return x
}
