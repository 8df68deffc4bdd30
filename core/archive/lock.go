package archive

import (
	"cmp"
	"context"
	"crypto/rand"
	"database/sql"
	"encoding/binary"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"sync"
	"time"
	"unicode/utf8"

	"media-server/core/fault"
	"media-server/core/media"
)

// LockID names a lock: 63 random bits, so that locks of two nodes never meet.
type LockID uint64

func (l LockID) String() string { return fmt.Sprintf("%016x", uint64(l)) }

// ParseLockID reads what String wrote.
func ParseLockID(s string) (LockID, bool) {
	n, err := strconv.ParseUint(s, 16, 64)
	return LockID(n), err == nil && len(s) == 16
}

// Lock keeps a stretch of a stream whatever the rules say: no file that shares
// time with Span is deleted before Until.
type Lock struct {
	ID     LockID
	UID    string
	Span   media.Span // as it was asked for; files are kept whole
	Reason string
	Who    string
	Made   media.Wall
	Until  media.Wall // 0 = until somebody removes it
}

// Most bytes of what people write into a lock: the ledger's record has a
// length byte for each.
const (
	mostReason = 200
	mostWho    = 64
)

// ErrNoLock: there is no such lock.
var ErrNoLock = errors.New("there is no such lock")

// locks are those in force, in memory. mu is held for reading while a plan of
// deletions is marked in the catalogue: a lock is either seen by the plan, or
// made when what it deletes is gone from every list.
type locks struct {
	mu     sync.RWMutex
	all    map[string][]Lock // by uid, oldest span first
	making map[LockID]Lock   // of all those that state.db may not have yet
}

// AddLock makes a lock. It returns when the lock is on disk. What lies in the
// span already, and what is recorded or filled in later, is kept. A lock that
// would take more of its pool than lock-max allows is refused.
func (a *Archive) AddLock(ctx context.Context, l Lock) (Lock, error) {
	switch {
	case l.Span.Empty():
		return l, fault.New("", "the lock has no length", "give to after from")
	case l.Until != 0 && l.Until <= media.WallOf(time.Now()):
		return l, fault.New("", "the lock would be over at once", "give an until in the future, or none")
	case len(l.Reason) > mostReason:
		return l, fault.New("", fmt.Sprintf("the reason is longer than %d bytes", mostReason), "say it shorter")
	case len(l.Who) > mostWho:
		return l, fault.New("", fmt.Sprintf("the name of who locks is longer than %d bytes", mostWho), "use a token or an account with a shorter name")
	case !utf8.ValidString(l.Reason) || !utf8.ValidString(l.Who):
		return l, fault.New("", "the reason, or the name of who locks, is no UTF-8", "write it in UTF-8")
	}
	if err := a.lockFits(l); err != nil {
		return l, err
	}
	var b [8]byte
	if _, err := rand.Read(b[:]); err != nil {
		return l, err
	}
	l.ID, l.Made = LockID(binary.BigEndian.Uint64(b[:])>>1), media.WallOf(time.Now())
	a.locks.mu.Lock() // waits for a plan that is being marked
	a.locks.insert(l)
	a.locks.making[l.ID] = l
	a.locks.mu.Unlock()
	f := l.fact()
	err := a.state.now(ctx, func(tx *sql.Tx) error { return insertFact(tx, f) })
	a.locks.mu.Lock()
	delete(a.locks.making, l.ID)
	if err != nil {
		a.locks.remove(l.UID, l.ID)
	}
	a.locks.mu.Unlock()
	if err != nil {
		return l, fmt.Errorf("keep the lock: %w", err)
	}
	a.noteAll(f)
	a.notify(Notice{Type: "record.locked", UID: l.UID, Level: "info", Message: fmt.Sprintf("%s locked %s of %s: %s", l.Who, l.Span.Duration().Round(time.Second), l.UID, l.Reason),
		Data: map[string]any{"lock": l.ID.String(), "from_ms": l.Span.From.Milli(), "to_ms": l.Span.To.Milli(), "who": l.Who, "reason": l.Reason}})
	return l, nil
}

// RemoveLock ends a lock. It returns when that is on disk; the rules take what
// they want from the next pass on.
func (a *Archive) RemoveLock(ctx context.Context, uid string, id LockID, who string) error {
	return a.release(ctx, uid, id, "removed by "+who)
}

func (a *Archive) release(ctx context.Context, uid string, id LockID, why string) error {
	a.locks.mu.RLock()
	i := slices.IndexFunc(a.locks.all[uid], func(l Lock) bool { return l.ID == id })
	a.locks.mu.RUnlock()
	if i < 0 {
		return ErrNoLock
	}
	f := &fact{Type: factLock, UID: uid, At: media.WallOf(time.Now()), File: FileID(id), Size: lockReleased, Cause: GapCause(why)}
	if err := a.state.now(ctx, func(tx *sql.Tx) error { return insertFact(tx, f) }); err != nil {
		return fmt.Errorf("end the lock: %w", err)
	}
	a.locks.mu.Lock()
	a.locks.remove(uid, id)
	a.locks.mu.Unlock()
	a.noteAll(f)
	a.notify(Notice{Type: "record.unlocked", UID: uid, Level: "info", Message: fmt.Sprintf("a lock of %s ended: %s", uid, why), Data: map[string]any{"lock": id.String()}})
	return nil
}

// Locks lists the locks in force of a stream ("" = of all) that share time
// with s, oldest first.
func (a *Archive) Locks(uid string, s media.Span) (out []Lock) {
	a.locks.mu.RLock()
	defer a.locks.mu.RUnlock()
	for u, ls := range a.locks.all {
		for _, l := range ls {
			if (uid == "" || u == uid) && l.Span.Overlaps(s) {
				out = append(out, l)
			}
		}
	}
	slices.SortFunc(out, compareLocks)
	return out
}

func compareLocks(x, y Lock) int {
	return cmp.Or(compare(x.Span.From, y.Span.From), cmp.Compare(x.UID, y.UID), cmp.Compare(x.ID, y.ID))
}

// endLocks releases those whose time is over.
func (a *Archive) endLocks(ctx context.Context) {
	now := media.WallOf(time.Now())
	for _, l := range a.Locks("", media.Span{From: -1 << 62, To: 1<<63 - 1}) {
		if l.Until != 0 && l.Until <= now {
			if err := a.release(ctx, l.UID, l.ID, "its time is over"); err != nil && ctx.Err() == nil {
				a.log.Warn("a lock whose time is over could not be ended, it is tried again", "stream", l.UID, "err", err)
			}
		}
	}
}

// locked tells whether some lock keeps a file of the stream that covers sp.
func (k *locks) locked(uid string, sp media.Span) bool {
	k.mu.RLock()
	defer k.mu.RUnlock()
	return k.holds(uid, sp)
}

func (k *locks) holds(uid string, sp media.Span) bool {
	for _, l := range k.all[uid] {
		if l.Span.Overlaps(sp) {
			return true
		}
	}
	return false
}

// spans merges what is locked of a stream, oldest first.
func (k *locks) spans(uid string) (out []media.Span) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for _, l := range k.all[uid] {
		if n := len(out); n > 0 && l.Span.From <= out[n-1].To {
			out[n-1].To = max(out[n-1].To, l.Span.To)
			continue
		}
		out = append(out, l.Span)
	}
	return out
}

func (k *locks) uids() (out []string) {
	k.mu.RLock()
	defer k.mu.RUnlock()
	for uid := range k.all {
		out = append(out, uid)
	}
	return out
}

func (k *locks) insert(l Lock) {
	if k.all == nil {
		k.all = map[string][]Lock{}
	}
	ls := append(slices.Clone(k.all[l.UID]), l)
	slices.SortFunc(ls, compareLocks)
	k.all[l.UID] = ls
}

func (k *locks) remove(uid string, id LockID) {
	ls := slices.DeleteFunc(slices.Clone(k.all[uid]), func(l Lock) bool { return l.ID == id })
	if k.all[uid] = ls; len(ls) == 0 {
		delete(k.all, uid)
	}
}

// loadLocks reads what state.db has: at start, and after ledgers were read. A
// lock that is being made meanwhile stays: what was read may be from before it.
func (a *Archive) loadLocks() error {
	a.locks.mu.Lock() // also while it is read: nothing is made or ended between that and the switch
	defer a.locks.mu.Unlock()
	all := map[string][]Lock{}
	err := each(a.state.reader(), "SELECT id, uid, t0, t1, reason, who, made, until FROM locks WHERE released = 0 ORDER BY t0, uid, id", func(rows *sql.Rows) error {
		var id, t0, t1, made, until int64
		var l Lock
		err := rows.Scan(&id, &l.UID, &t0, &t1, &l.Reason, &l.Who, &made, &until)
		l.ID, l.Span, l.Made, l.Until = LockID(id), media.Span{From: media.Wall(t0), To: media.Wall(t1)}, media.Wall(made), media.Wall(until)
		all[l.UID] = append(all[l.UID], l)
		return err
	})
	if err != nil {
		return fmt.Errorf("read locks: %w", err)
	}
	a.locks.all = all
	for id, l := range a.locks.making {
		a.locks.remove(l.UID, id) // it may have been read
		a.locks.insert(l)
	}
	return nil
}

// lockReleased in place of the end of a lock: it is over since At.
const lockReleased = -1

func (l *Lock) fact() *fact {
	return &fact{Type: factLock, UID: l.UID, At: l.Span.From, Until: l.Span.To, File: FileID(l.ID), Size: int64(l.Until), Cause: GapCause(l.Reason), Who: l.Who, Made: l.Made}
}

// insertLock adds a lock, or its end, to state.db. Ledgers may be read in any
// order, and more than once: an end stays an end.
func insertLock(tx *sql.Tx, f *fact) error {
	if f.Size == lockReleased {
		_, err := tx.Exec(`INSERT INTO locks VALUES (?,?,0,0,'','',0,0,?) ON CONFLICT (id) DO UPDATE SET released = excluded.released`, int64(f.File), f.UID, int64(f.At))
		return err
	}
	_, err := tx.Exec("INSERT OR IGNORE INTO locks VALUES (?,?,?,?,?,?,?,?,0)", int64(f.File), f.UID, int64(f.At), int64(f.Until), string(f.Cause), f.Who, int64(f.Made), f.Size)
	return err
}

// noteAll writes a fact into the ledger of every space: whichever of them is
// attached elsewhere, alone, keeps what is locked.
func (a *Archive) noteAll(f *fact) {
	for _, s := range a.allSpaces() {
		s.note(f)
	}
}

// lockedBytes is how much of a stream's sealed footage locks keep; files count
// whole.
func (a *Archive) lockedBytes(uid string) (n int64, err error) {
	seen := map[FileID]bool{}
	for _, sp := range a.locks.spans(uid) {
		err = a.cat.sizes(uid, sp, func(id FileID, size int64) {
			if !seen[id] {
				seen[id] = true
				n += size
			}
		})
		if err != nil {
			return 0, err
		}
	}
	return n, nil
}

// lockFits refuses a lock that would take more than lock-max of a pool that what
// it locks lies in, by its age: live footage counts where it is recorded, older
// footage where it was moved to.
func (a *Archive) lockFits(l Lock) error {
	now := media.WallOf(time.Now())
	have, more := map[string]int64{}, map[string]int64{}
	if err := a.lockedByPool(more, l.UID, []media.Span{l.Span}, now); err != nil {
		return err
	}
	for _, uid := range a.locks.uids() {
		if uid != l.UID {
			if err := a.lockedByPool(have, uid, a.locks.spans(uid), now); err != nil {
				return err
			}
		}
	}
	if err := a.lockedByPool(have, l.UID, append(a.locks.spans(l.UID), l.Span), now); err != nil {
		return err
	}
	for _, p := range a.allPools() {
		total := a.poolTotal(&p)
		if _, touched := more[p.Name]; !touched || p.LockMax == (Threshold{}) || total == 0 {
			continue
		}
		if n, limit := have[p.Name], p.LockMax.Of(total); n > limit {
			return fault.New("pool "+p.Name, fmt.Sprintf("%d MB would be locked, lock-max allows %d MB of %d MB", n>>20, limit>>20, total>>20), "remove locks that are no longer needed, lock a shorter time, or raise lock-max")
		}
	}
	return nil
}

// lockedByPool adds what locks keep of a stream to the pools that it lies in by
// its age, and an entry for each pool that they are about though nothing lies
// there yet. Footage of a pool that is gone counts nowhere.
func (a *Archive) lockedByPool(sums map[string]int64, uid string, locks []media.Span, now media.Wall) error {
	p, err := a.pool(a.rulesOf(uid).Pool)
	if err != nil {
		return nil //nolint:nilerr // it may be locked all the same
	}
	stops, _ := a.stops(p, wish{})
	return a.lockedAt(sums, uid, locks, stops, now)
}

// rulesOf is how a stream's footage is kept: as it is recorded now, else as the
// catalogue remembers.
func (a *Archive) rulesOf(uid string) Rules {
	if st := a.known(uid); st != nil {
		if r := st.rulesNow(); r != (Rules{}) {
			return r
		}
	}
	var text string
	if err := a.cat.reader().QueryRow("SELECT rules FROM streams WHERE uid = ?", uid).Scan(&text); err != nil {
		return Rules{}
	}
	return parseRules(text)
}

// RulesOf tells how the footage of a stream is kept; false: there is none.
func (a *Archive) RulesOf(uid string) (Rules, bool) {
	_, ok := a.Bounds(uid)
	return a.rulesOf(uid), ok
}

// poolTotal is the size of a pool: of its spaces that have told theirs.
func (a *Archive) poolTotal(p *Pool) (total int64) {
	for _, name := range p.Spaces {
		if s := a.space(name); s != nil {
			s.mu.Lock()
			total += s.usage.Total
			s.mu.Unlock()
		}
	}
	return total
}
