package archive

import (
	"context"
	"database/sql"
	"errors"
	"time"

	"media-server/core/media"
)

// encrypts tells whether new files of the stream are encrypted.
func (st *stream) encrypts() bool {
	p, err := st.a.pool(st.rules.Pool)
	return err == nil && p.Encrypt
}

// ready makes the current file one that the next part may be written to. A
// clear file of a pool that encrypts by now ends at once, inside its segment:
// nothing more is written in clear. The reverse waits for a key frame
// (rollNow). An error means that the key is not at hand; st.mu is held.
func (st *stream) ready() error {
	f := st.cur
	switch {
	case f == nil:
		return nil
	case f.header.Encryption == nil:
		if st.encrypts() {
			st.sealLocked(false)
		}
		return nil
	case f.cipher != nil:
		return nil
	}
	c, err := st.a.cipher(f.header.Encryption) // the file of an earlier process goes on
	if err == nil {
		f.cipher = c
		return nil
	}
	if st.encrypts() {
		if _, _, fresh := st.a.cipherFor(st.uid, media.WallOf(time.Now())); fresh != nil {
			return err
		}
	}
	st.sealLocked(true) // its key is gone, and another is at hand or none is needed: another file
	return nil
}

// otherKey tells whether a part belongs into a file with another key, or with
// none: its day is over, or its pool encrypts no more. f.mu is held.
func (st *stream) otherKey(f *file, p *media.Part) bool {
	e := f.header.Encryption
	return e != nil && (e.Day != DayOf(p.Start) || !st.encrypts())
}

// newCipherFor gives the cipher of a file that p begins; nil where the pool
// does not encrypt.
func (st *stream) newCipherFor(p *media.Part) (*partCipher, <-chan struct{}, error) {
	if !st.encrypts() {
		return nil, nil, nil
	}
	c, durable, err := st.a.cipherFor(st.uid, p.Start)
	if err == nil && st.a.keyless.Swap(false) {
		st.a.notify(Notice{Type: "storage.ok", UID: st.uid, Level: "info", Message: "the keys are at hand: pools that encrypt record again"})
	}
	return c, durable, err
}

// hold keeps what is written to a file in memory until its key is durable:
// footage that nobody can read after a power cut would be no footage.
func (f *file) hold(durable <-chan struct{}) {
	if durable == nil {
		return
	}
	select {
	case <-durable:
		return
	default:
	}
	f.holding = true
	a := f.st.a
	a.dbDone.Go(func() {
		select {
		case <-durable:
			f.letGo()
		case <-a.ending:
		}
	})
}

// queue hands chunks to the file's space, in order, as soon as its key is
// durable.
func (f *file) queue(cs []*chunk) {
	f.mu.Lock()
	if f.holding {
		f.held = append(f.held, cs...)
		f.mu.Unlock()
		f.sp.keep(cs, 1)
		return
	}
	f.mu.Unlock()
	f.sp.push(cs)
}

// letGo sends what was held. Only what was sent can be moved to another space.
func (f *file) letGo() {
	f.mu.Lock()
	defer f.mu.Unlock() // what comes meanwhile queues behind
	cs := f.held
	f.held, f.holding = nil, false
	if len(cs) > 0 {
		f.sp.keep(cs, -1)
		f.sp.push(cs)
	}
}

// keep counts chunks that wait outside the queue.
func (s *space) keep(cs []*chunk, sign int64) {
	s.mu.Lock()
	for _, c := range cs {
		s.held += sign * c.size
	}
	s.mu.Unlock()
}

// putCipher notes the key of a row's file, in the writer.
func putCipher(tx execer, r *row) error {
	if r.Enc == nil {
		return nil
	}
	_, err := tx.Exec("INSERT OR REPLACE INTO ciphers VALUES (?,?,?)", int64(r.ID), r.Enc.Key[:], int64(r.Enc.Day))
	return err
}

// cipherOf tells which key a file of the catalogue was encrypted with.
func (c *catalogue) cipherOf(id FileID) (*Encryption, error) {
	var key []byte
	var day int64
	if err := c.reader().QueryRow("SELECT key, day FROM ciphers WHERE file = ?", int64(id)).Scan(&key, &day); err != nil {
		return nil, err
	}
	e := &Encryption{Day: uint32(day)}
	copy(e.Key[:], key)
	return e, nil
}

// anyCipher tells whether any stored file is encrypted.
func (c *catalogue) anyCipher() (any bool, err error) {
	err = c.reader().QueryRow("SELECT EXISTS(SELECT 1 FROM ciphers)").Scan(&any)
	return any, err
}

// Readable tells why files of one stream, oldest first, cannot be read for want
// of their keys: before an answer of exact length begins. Files that are gone,
// or clear, are no error.
func (a *Archive) Readable(ids []FileID) error {
	stored := make([]FileID, 0, len(ids))
	for _, id := range ids {
		f := a.file(id)
		if f == nil {
			stored = append(stored, id)
		} else if e := f.header.Encryption; e != nil {
			if _, err := a.cipher(e); err != nil {
				return &KeyError{File: f.final, UID: f.header.UID, Day: e.Day, Err: err}
			}
		}
	}
	if len(stored) > readableEach {
		if any, err := a.cat.anyCipher(); !any || err != nil { // a day of clear files costs a third of its planning otherwise
			return err
		}
		if done, err := a.readableSpan(stored[0], stored[len(stored)-1]); done || err != nil {
			return err
		}
	}
	for _, id := range stored {
		e, err := a.cat.cipherOf(id)
		if errors.Is(err, sql.ErrNoRows) {
			continue
		}
		if err == nil {
			err = a.storedKey(id, e)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// readableEach is up to how many files are looked up one by one.
const readableEach = 64

// readableSpan looks at the keys of all files of a stream from one to another;
// done is false when either is gone.
func (a *Archive) readableSpan(first, last FileID) (done bool, err error) {
	from, err := a.cat.get(first)
	if err != nil {
		return false, nil //nolint:nilerr // each by itself then
	}
	to, err := a.cat.get(last)
	if err != nil || to.UID != from.UID {
		return false, nil //nolint:nilerr // each by itself then
	}
	type used struct {
		e    Encryption
		file FileID
	}
	var keys []used
	err = each(a.cat.reader(), `SELECT min(c.file), c.key, c.day FROM files f JOIN ciphers c ON c.file = f.id
		WHERE f.stream = (SELECT id FROM streams WHERE uid = ?) AND f.t0 >= ? AND f.t0 <= ? AND f.flags & 131 = 128 GROUP BY c.key`,
		func(rows *sql.Rows) error {
			var id, day int64
			var key []byte
			err := rows.Scan(&id, &key, &day)
			u := used{Encryption{Day: uint32(day)}, FileID(id)}
			copy(u.e.Key[:], key)
			keys = append(keys, u)
			return err
		}, from.UID, int64(from.Span.From), int64(to.Span.From))
	dead, deadErr := a.destroyed(from.UID)
	if err = errors.Join(err, deadErr); err != nil {
		return false, err
	}
	for i := range keys {
		if dead[keys[i].file] {
			continue // a hole: none of the files that are asked for
		}
		if err := a.storedKey(keys[i].file, &keys[i].e); err != nil {
			return true, err
		}
	}
	return true, nil
}

// storedKey tells why the key of a file of the catalogue is not at hand.
func (a *Archive) storedKey(id FileID, e *Encryption) error {
	_, err := a.cipher(e)
	if err == nil {
		return nil
	}
	r, rowErr := listedRow(a.cat.get(id))
	if rowErr != nil {
		return rowErr
	}
	if r == nil {
		return nil // deleted meanwhile
	}
	return &KeyError{File: r.Name, UID: r.UID, Day: e.Day, Err: err}
}

// ending of the databases' writers ends whoever waits for a key.
func (a *Archive) endWith(ctx context.Context) { a.ending = ctx.Done() }

// noKey refuses a part of a pool that encrypts, while its key is not at hand.
// It is not taken in clear, and no other pool's space takes it: the capture
// waits in its driver, and what that cannot hold is a gap.
func (st *stream) noKey(err error) error {
	st.behindWhy = GapDiskError
	st.a.keysFail(st.uid, err)
	return ErrBehind
}

// keysFail tells once that the keys of encrypting pools are not at hand.
func (a *Archive) keysFail(uid string, err error) {
	if a.keyless.Swap(true) {
		return
	}
	a.notify(Notice{Type: "storage.failed", UID: uid, Level: "error",
		Message: "nothing is recorded in pools that encrypt: " + err.Error(), Data: map[string]any{"error": err.Error()}})
}
