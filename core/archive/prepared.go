package archive

import "database/sql"

// readers is how many questions a database answers at a time. All of their
// connections stay open: to open one takes as long as fifty questions.
const readers = 4

// prepared gives a statement of the readers for a query that viewers wait for:
// to prepare one takes SQLite as long as to answer it. Each connection prepares
// it when it comes by first.
func (d *database) prepared(query string) (*sql.Stmt, error) {
	d.mu.Lock()
	s, r := d.hot[query], d.r
	d.mu.Unlock()
	if s != nil {
		return s, nil
	}
	s, err := r.Prepare(query) // may wait for a connection; d.mu is for those who never wait
	if err != nil {
		return nil, err
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	switch {
	case d.r != r: // the file was made anew meanwhile: for this once, then closed with r
	case d.hot[query] != nil:
		s.Close() //nolint:sqlclosecheck // not at the end: only where another was faster
		s = d.hot[query]
	default:
		d.hot[query] = s
	}
	return s, nil
}

// forgetPrepared closes the statements; d.mu is held.
func (d *database) forgetPrepared() {
	for _, s := range d.hot {
		s.Close()
	}
	d.hot = map[string]*sql.Stmt{}
}

// rows calls fn with each row that a prepared query finds.
func (d *database) rows(query string, fn func(*sql.Rows) error, args ...any) error {
	s, err := d.prepared(query) //nolint:sqlclosecheck // closed with the database
	if err != nil {
		return err
	}
	rows, err := s.Query(args...)
	if err != nil {
		return err
	}
	return eachOf(rows, fn)
}

// one is the row that a prepared query finds.
func (d *database) one(query string, args ...any) interface{ Scan(...any) error } {
	s, err := d.prepared(query) //nolint:sqlclosecheck // closed with the database
	if err != nil {
		return noRow{err}
	}
	return s.QueryRow(args...)
}

// noRow stands for the row of a query that could not be asked.
type noRow struct{ err error }

func (n noRow) Scan(...any) error { return n.err }
