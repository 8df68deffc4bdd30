package archive

import (
	"context"
	"database/sql"
)

// What a stream takes is summed once and then kept up to date, since the rules ask for
// it all the time. A sum and a change of the catalogue that is on its way do not know
// of each other: a file that is committed and not yet added would be in the sum, and
// added once more. So a sum is kept only if no change was on its way while it was made.

// usage is by how much what a stream takes changes, in bytes.
type usage struct {
	uid  string
	size int64
}

// book queues a change of the catalogue that changes what streams take: by what do
// returns, once that is committed. do may be called twice. done, which may be nil, is
// called when the books are written.
func (a *Archive) book(do func(*sql.Tx) ([]usage, error), done func(error)) {
	a.mu.Lock()
	a.booking++
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
		a.booking--
		a.usageChanges++
		for _, u := range by {
			if _, ok := a.usage[u.uid]; ok {
				a.usage[u.uid] += u.size
			}
		}
		a.mu.Unlock()
		if done != nil {
			done(err)
		}
	})
}

// booked is book, and waits for it. What is committed later than ctx ends is in the
// books as well.
func (a *Archive) booked(ctx context.Context, do func(*sql.Tx) ([]usage, error)) error {
	c := make(chan error, 1)
	a.book(do, func(err error) { c <- err })
	select {
	case err := <-c:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// forgetUsage lets everything be summed again.
func (a *Archive) forgetUsage() {
	a.mu.Lock()
	a.usageChanges++
	clear(a.usage)
	a.mu.Unlock()
}

// usageOf is how many bytes of sealed files a stream has that are not going.
func (a *Archive) usageOf(uid string, id int64) (int64, error) {
	a.mu.Lock()
	n, ok := a.usage[uid]
	changes, still := a.usageChanges, a.booking == 0
	a.mu.Unlock()
	if ok {
		return n, nil
	}
	var sum sql.NullInt64
	if err := a.cat.reader().QueryRow("SELECT sum(size) FROM files WHERE stream = ? AND flags & 3 = 0", id).Scan(&sum); err != nil {
		return 0, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if still && a.booking == 0 && changes == a.usageChanges {
		a.usage[uid] = sum.Int64
	}
	return sum.Int64, nil
}
