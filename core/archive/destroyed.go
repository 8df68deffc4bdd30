package archive

import (
	"database/sql"
	"errors"
	"slices"

	"media-server/core/media"
)

// Footage whose key was destroyed is a hole: its files lie there until a rule
// takes them, and nobody can read them.

// destroyed lists the files of a stream whose keys were destroyed; nil when
// there are none, which is nearly always.
func (a *Archive) destroyed(uid string) (map[FileID]bool, error) {
	if a.o.Keys == nil {
		return nil, nil
	}
	var dead map[FileID]bool
	for _, key := range a.o.Keys.Gone(uid) {
		err := each(a.cat.reader(), "SELECT file FROM ciphers WHERE key = ?", func(rows *sql.Rows) error {
			var id int64
			err := rows.Scan(&id)
			if dead == nil {
				dead = map[FileID]bool{}
			}
			dead[FileID(id)] = true
			return err
		}, key[:])
		if err != nil {
			return nil, err
		}
	}
	return dead, nil
}

// Unreadable tells whether footage of a span is there whose key was destroyed:
// a *KeyError, or nil.
func (a *Archive) Unreadable(uid string, s media.Span) error {
	dead, err := a.destroyed(uid)
	if err != nil {
		return nil //nolint:nilerr // then nobody knows
	}
	for id := range dead {
		r, err := a.cat.get(id)
		if err == nil && r.Span.Overlaps(s) {
			return a.Readable([]FileID{id})
		}
	}
	return nil
}

// DayFootage is what lies there of one encrypted day of a stream.
type DayFootage struct {
	Files  int
	Spans  []media.Span // merged
	Open   bool         // a file of it is not yet complete
	Locked []Lock       // locks that keep some of it, or are of that day
}

// DayFootage tells what the keys of a stream's day open, and all locks of the day:
// a key cannot be made again. ErrUnread: that cannot be told yet.
func (a *Archive) DayFootage(uid string, day uint32) (d DayFootage, err error) {
	if err := a.unread("stream "+uid, nil); err != nil {
		return d, err
	}
	const nanos = 86400 * 1e9
	from := media.Wall(day) * nanos
	d.Locked = a.Locks(uid, media.Span{From: from, To: from + nanos})
	add := func(s media.Span) {
		d.Files++
		d.Spans = append(d.Spans, s)
		for _, l := range a.Locks(uid, s) {
			if !slices.ContainsFunc(d.Locked, func(o Lock) bool { return o.ID == l.ID }) {
				d.Locked = append(d.Locked, l)
			}
		}
	}
	for _, f := range a.inMemory(uid) {
		if e := f.header.Encryption; e != nil && e.Day == day {
			d.Open = true
			f.mu.Lock()
			s := f.spanLocked()
			f.mu.Unlock()
			add(s)
		}
	}
	err = each(a.cat.reader(), "SELECT f.t0, f.t1 FROM ciphers c JOIN files f ON f.id = c.file JOIN streams s ON s.id = f.stream WHERE s.uid = ? AND c.day = ? AND f.flags & 3 = 0 ORDER BY f.t0",
		func(rows *sql.Rows) error {
			var t0, t1 int64
			err := rows.Scan(&t0, &t1)
			if err == nil {
				add(media.Span{From: media.Wall(t0), To: media.Wall(t1)})
			}
			return err
		}, uid, int64(day))
	d.Spans = merge(d.Spans)
	return d, err
}

// KeysDestroyed says that the keys of spans of a stream were destroyed: what was
// decrypted is forgotten, and why the footage is missing is noted for good.
func (a *Archive) KeysDestroyed(uid string, spans []media.Span) {
	a.ForgetKeys()
	st := a.stream(uid)
	st.mu.Lock()
	defer st.mu.Unlock()
	for _, s := range spans {
		a.record(st, &fact{Type: factGap, UID: uid, At: s.From, Until: s.To, Cause: GapKeyDestroyed})
	}
}

// StrangeKeys counts the keys of sealed footage that are neither at hand nor
// known to be destroyed, and names a file of one.
func (a *Archive) StrangeKeys() (n int, file string, err error) {
	if a.o.Keys == nil {
		return 0, "", nil
	}
	type used struct {
		key  KeyID
		file int64
	}
	var all []used
	err = each(a.cat.reader(), "SELECT key, min(file) FROM ciphers GROUP BY key", func(rows *sql.Rows) error {
		var u used
		var key []byte
		err := rows.Scan(&key, &u.file)
		copy(u.key[:], key)
		all = append(all, u)
		return err
	})
	for _, u := range all {
		_, keyErr := a.o.Keys.Key(u.key)
		if keyErr == nil || errors.Is(&KeyError{Err: keyErr}, ErrKeyDestroyed) {
			continue
		}
		if n++; file == "" {
			if r, rowErr := a.cat.get(FileID(u.file)); rowErr == nil {
				file = r.Name
			}
		}
	}
	return n, file, err
}
