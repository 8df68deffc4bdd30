package archive

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"os"
)

// readError: a storage did not give the bytes, so nothing is known of the file.
type readError struct{ error }

func (e readError) Unwrap() error { return e.error }

func isReadError(err error) bool {
	var r readError
	return errors.As(err, &r)
}

// marked tells errors of reading from those of what was read. A file that is
// shorter than it was listed is one of the latter.
type marked struct{ r io.ReaderAt }

func (m marked) ReadAt(p []byte, off int64) (int, error) {
	n, err := m.r.ReadAt(p, off)
	if err != nil && err != io.EOF {
		err = readError{err}
	}
	return n, err
}

// mostUnread is how many files may fail to be read in one scan: a disk has a
// few bad places; more is a backend that is gone.
const mostUnread = 256

// unread remembers a file whose bytes did not come.
func (c *scan) unread(e Entry, err error) {
	c.mu.Lock()
	c.failed = append(c.failed, e)
	n := len(c.failed)
	c.mu.Unlock()
	if n > mostUnread {
		c.stop(fmt.Errorf("more than %d files cannot be read, the last: %s: %w", mostUnread, e.Name, err))
	}
}

// aside reports a file that is not understood.
func (c *scan) aside(e Entry, err error) {
	c.mu.Lock()
	c.odd[e.Name] = true
	c.mu.Unlock()
	c.a.counters.setAside.Add(1)
	c.a.notify(Notice{Type: "archive.set_aside", Level: "warning", Message: fmt.Sprintf("%s is not listed: %v", e.Name, err),
		Data: map[string]any{"space": c.s.cfg.Name, "file": e.Name}})
}

// again reads once more what could not be read: the backend may have been
// restarted meanwhile. A file that stays unreadable while the space answers is
// reported, and a row that it has already stays; where the space does not
// answer either, the scan has failed: what it did not see must not go.
func (c *scan) again(ctx context.Context, gen int64) (twins []*row, err error) {
	var rows []*row
	var left []string
	for _, e := range c.failed {
		r, err := c.a.readRow(ctx, c.s, e)
		if err == nil && r != nil {
			rows = append(rows, r)
		}
		if isReadError(err) {
			if _, lost := c.s.st.Stat(ctx, e.Name); errors.Is(lost, os.ErrNotExist) {
				continue
			} else if lost != nil {
				return nil, fmt.Errorf("%s: %w", e.Name, err)
			}
			left = append(left, e.Name)
		}
		if err != nil {
			c.aside(e, err)
		}
	}
	c.found.Add(int64(len(rows) + len(left)))
	some := make(chan []*row, 1)
	some <- rows
	close(some)
	if twins, err = c.a.storeRows(ctx, some, c.progress); err != nil || len(left) == 0 {
		return twins, err
	}
	return twins, c.a.cat.atOnce(ctx, func(tx *sql.Tx) error {
		id, _, err := c.a.cat.spaceID(tx, c.s.cfg.Name)
		for _, name := range left {
			if err == nil {
				_, err = tx.Exec("UPDATE files SET gen = ? WHERE space = ? AND name = ?", gen, id, name)
			}
		}
		return err
	})
}
