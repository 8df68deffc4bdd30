package archive

import (
	"context"
	"database/sql"
)

// What a stream takes is summed once and then kept up to date, since the rules ask for
// it all the time. A sum and a change of the catalogue that is on its way do not know
// of each other: a file that is committed and not yet added would be in the sum, and
// added once more. So a sum is kept only if no change of the stream's files was on its
// way while it was made.

// usage is by how much what a stream takes changes, in bytes.
type usage struct {
	uid  string
	size int64
}

// account is what a stream takes: sealed files that are not going. Archive.mu.
type account struct {
	sum     int64
	known   bool
	changes uint64 // how often it was changed, or had to be forgotten
	booking int    // changes on their way
}

// account is made where there is none. a.mu is held.
func (a *Archive) account(uid string) *account {
	x := a.usage[uid]
	if x == nil {
		x = &account{}
		a.usage[uid] = x
	}
	return x
}

// book queues a change of the catalogue that changes what streams take: by what do
// returns, once that is committed. do may be called twice. done, which may be nil, is
// called when the books are written.
func (a *Archive) book(uids []string, do func(*sql.Tx) ([]usage, error), done func(error)) {
	a.mu.Lock()
	for _, uid := range uids {
		a.account(uid).booking++
	}
	a.mu.Unlock()
	var by []usage
	a.cat.later(func(tx *sql.Tx) (err error) {
		by, err = do(tx)
		return err
	}, func(err error) {
		if err != nil {
			by = nil
		}
		a.mu.Lock()
		for _, u := range by {
			a.account(u.uid).sum += u.size
		}
		for _, uid := range uids {
			x := a.account(uid)
			x.booking--
			x.changes++
		}
		a.mu.Unlock()
		if done != nil {
			done(err)
		}
	})
}

// booked is book, and waits for it. What is committed later than ctx ends is in the
// books as well.
func (a *Archive) booked(ctx context.Context, uids []string, do func(*sql.Tx) ([]usage, error)) error {
	return await(ctx, func(do func(*sql.Tx) ([]usage, error), done func(error)) { a.book(uids, do, done) }, do)
}

// recounted is cat.now for a change after which everything is summed again, also where it
// is committed later than ctx ends.
func (a *Archive) recounted(ctx context.Context, do func(*sql.Tx) error) error {
	return await(ctx, func(do func(*sql.Tx) error, done func(error)) {
		a.cat.soon(do, func(err error) {
			a.forgetUsage()
			done(err)
		})
	}, do)
}

// difference is by how much do changes what is counted of a file.
func difference(tx *sql.Tx, uid string, ids []FileID, do func() error) ([]usage, error) {
	counted := func() (n int64, err error) {
		for _, id := range ids {
			var size sql.NullInt64
			if err := tx.QueryRow("SELECT sum(size) FROM files WHERE id = ? AND flags & ? = 0", int64(id), rowOpen|rowGoing).Scan(&size); err != nil {
				return 0, err
			}
			n += size.Int64
		}
		return n, nil
	}
	before, err := counted()
	if err == nil {
		err = do()
	}
	if err != nil {
		return nil, err
	}
	after, err := counted()
	return []usage{{uid, after - before}}, err
}

// forgetUsage lets everything be summed again.
func (a *Archive) forgetUsage() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, x := range a.usage {
		x.known = false
		x.changes++
	}
}

// usageOf is how many bytes of sealed files a stream has that are not going.
func (a *Archive) usageOf(uid string, id int64) (int64, error) {
	a.mu.Lock()
	x := a.account(uid)
	n, known, changes, still := x.sum, x.known, x.changes, x.booking == 0
	a.mu.Unlock()
	if known {
		return n, nil
	}
	var sum sql.NullInt64
	if err := a.cat.reader().QueryRow("SELECT sum(size) FROM files WHERE stream = ? AND flags & 3 = 0", id).Scan(&sum); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if still && x.booking == 0 && x.changes == changes {
		x.sum, x.known = sum.Int64, true
	}
	return sum.Int64, nil
}
