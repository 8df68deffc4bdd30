package archive

import (
	"context"
	"database/sql"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"media-server/core/media"
)

// A page is an hour of a stream's sealed files in one row, for exports of a
// day or a week: reading a row costs SQLite 9 µs whatever is in it, so a day of
// files of one minute took 13 ms to list, and takes 1 ms in pages. Pages are a
// cache of the table of files: any change of a file's row deletes its page
// (triggers of the schema), and an hour without a page is read from the rows.
// They are made when a stream's next hour begins, after a rebuild, and when an
// old hour is asked for that has none.
const (
	pageTime  = int64(time.Hour)
	pageBits  = 24 // hours since 1970 in a key; the stream's number lies above
	pageAge   = 2 * time.Hour
	pagesFrom = 3 * time.Hour // shorter spans are read from the rows
	pagesMake = 48            // made for one question
	pageForm  = 1
	pageLeast = 36 // bytes of a file in a page
)

func pageKey(stream, hour int64) int64 { return stream<<pageBits | hour }

// pageStart is the first instant of a page.
func pageStart(key int64) media.Wall { return media.Wall(key & (1<<pageBits - 1) * pageTime) }

// extentRows is what a page and an Extent are made of, in this order.
const extentRows = "SELECT id, t0, t1, init, zero, run, shape FROM files WHERE stream = ? AND t0 >= ? AND t0 < ? AND flags & 3 = 0 "

func scanExtent(rows *sql.Rows, shape *sql.RawBytes) (e Extent, err error) {
	var file, t0, t1, init, zero int64
	var run sql.RawBytes
	if err := rows.Scan(&file, &t0, &t1, &init, &zero, &run, shape); err != nil {
		return e, err
	}
	e = Extent{File: FileID(file), Span: media.Span{From: media.Wall(t0), To: media.Wall(t1)}, Zero: media.Wall(zero), Init: InitID(init)}
	copy(e.Run[:], run)
	return e, nil
}

// extents lists what Extents needs of the sealed files.
func (c *catalogue) extents(uid string, sp media.Span) ([]Extent, error) {
	id, longest, ok := c.id(uid)
	if !ok {
		return nil, nil
	}
	l := extentList{c: c, stream: id, sp: sp}
	first, last := floorSub(int64(sp.From), longest), int64(sp.To)
	if last-first <= int64(pagesFrom) || first < 0 && last < int64(pagesFrom) {
		err := l.rows(first, last)
		return l.out, err
	}
	err := l.pages(max(first, 0), last)
	return l.out, err
}

// extentList gathers the extents that share time with sp.
type extentList struct {
	c      *catalogue
	stream int64
	sp     media.Span
	out    []Extent
}

func (l *extentList) add(e Extent) {
	if e.Span.To > l.sp.From && e.Span.From < l.sp.To {
		l.out = append(l.out, e)
	}
}

// rows adds files that begin in [from, to), from their rows.
func (l *extentList) rows(from, to int64) error {
	return l.c.rows(extentRows+"AND t1 > ? ORDER BY t0", func(rows *sql.Rows) error {
		var shape sql.RawBytes
		e, err := scanExtent(rows, &shape)
		if err != nil {
			return err
		}
		if sh, err := parseShape(shape); err == nil {
			e.Shape = sh
		}
		l.add(e)
		return nil
	}, l.stream, from, to, int64(l.sp.From))
}

// pages adds files that begin in [from, to), hour by hour.
func (l *extentList) pages(from, to int64) error {
	type page struct {
		key  int64
		body []byte
	}
	var found []page
	err := l.c.rows("SELECT k, body FROM pages WHERE k >= ? AND k <= ? ORDER BY k", func(rows *sql.Rows) error {
		var p page
		err := rows.Scan(&p.key, &p.body)
		found = append(found, p)
		return err
	}, pageKey(l.stream, from/pageTime), pageKey(l.stream, min((to-1)/pageTime, 1<<pageBits-1)))
	if err != nil {
		return err
	}
	at := from
	for _, p := range found {
		start := int64(pageStart(p.key))
		if start > at {
			if err := l.missing(at, start); err != nil {
				return err
			}
		}
		had := len(l.out)
		if err := l.page(p.body, media.Wall(start), len(found)); err != nil {
			l.out = l.out[:had]
			if err := l.rows(start, start+pageTime); err != nil {
				return err
			}
		}
		at = start + pageTime
	}
	if at < to {
		return l.missing(at, to)
	}
	return nil
}

// missing adds files that begin in [from, to), where there is no page, and has
// pages made for the hours that are long over.
func (l *extentList) missing(from, to int64) error {
	had := len(l.out)
	if err := l.rows(from, to); err != nil || had == len(l.out) {
		return err
	}
	old := time.Now().Add(-pageAge).UnixNano()
	var hours []int64
	for _, e := range l.out[had:] {
		h := int64(e.Span.From) / pageTime
		if n := len(hours); (h+1)*pageTime < old && n < pagesMake && (n == 0 || hours[n-1] != h) {
			hours = append(hours, h)
		}
	}
	if len(hours) > 0 {
		l.c.later(func(tx *sql.Tx) error { return makePages(tx, l.stream, hours) }, nil)
	}
	return nil
}

// makePages writes pages, in the writer.
func makePages(tx *sql.Tx, stream int64, hours []int64) error {
	k := keep(tx)
	rows, err := k.stmt(extentRows + "ORDER BY t0")
	if err != nil {
		return err
	}
	for _, h := range hours {
		b, err := appendPage(rows, stream, h)
		if err != nil {
			return err
		}
		if _, err := k.Exec("INSERT OR REPLACE INTO pages VALUES (?,?)", pageKey(stream, h), b); err != nil {
			return err
		}
	}
	return nil
}

// hourBegins makes the page of the hour before the one that a stream's newest
// file begins in, once; in the writer.
func (c *catalogue) hourBegins(tx *sql.Tx, uid string, start media.Wall) error {
	stream, _, ok := c.id(uid)
	hour := int64(start) / pageTime
	if !ok || c.paged[stream] >= hour {
		return nil
	}
	first := c.paged[stream] == 0
	c.paged[stream] = hour
	if first { // of this process: what was before is made when it is asked for
		return nil
	}
	return makePages(tx, stream, []int64{hour - 1})
}

// makeAllPages makes those that are missing, after a rebuild.
func (c *catalogue) makeAllPages(ctx context.Context) error {
	c.mu.Lock()
	var streams []int64
	for _, id := range c.streams {
		streams = append(streams, id)
	}
	c.mu.Unlock()
	slices.Sort(streams)
	old := time.Now().Add(-pageAge).UnixNano() / pageTime
	for _, id := range streams {
		var hours []int64
		err := each(c.reader(), "SELECT DISTINCT t0 / ? AS h FROM files WHERE stream = ? AND h < ? EXCEPT SELECT k & ? FROM pages WHERE k >= ? AND k < ?", func(rows *sql.Rows) error {
			var h int64
			err := rows.Scan(&h)
			hours = append(hours, h)
			return err
		}, pageTime, id, old, 1<<pageBits-1, pageKey(id, 0), pageKey(id+1, 0))
		if err != nil {
			return err
		}
		for part := range slices.Chunk(hours, 240) {
			if err := c.atOnce(ctx, func(tx *sql.Tx) error { return makePages(tx, id, part) }); err != nil {
				return err
			}
		}
	}
	return nil
}

// appendPage writes the page of an hour: version; varint count; each file: id
// and init u64, run 16 bytes, zigzag t0 − start of the page, t1 − t0, zero −
// start of the page, varint length of the shape and the shape.
func appendPage(extents *sql.Stmt, stream, hour int64) ([]byte, error) {
	start := hour * pageTime
	rows, err := extents.Query(stream, start, start+pageTime)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var b []byte
	n := 0
	for rows.Next() {
		var shape sql.RawBytes
		e, err := scanExtent(rows, &shape)
		if err != nil {
			return nil, err
		}
		n++
		b = binary.BigEndian.AppendUint64(b, uint64(e.File))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Init))
		b = append(b, e.Run[:]...)
		b = binary.AppendVarint(b, int64(e.Span.From)-start)
		b = binary.AppendVarint(b, int64(e.Span.To-e.Span.From))
		b = binary.AppendVarint(b, int64(e.Zero)-start)
		b = binary.AppendUvarint(b, uint64(len(shape)))
		b = append(b, shape...)
	}
	return append(binary.AppendUvarint([]byte{pageForm}, uint64(n)), b...), rows.Err()
}

// page adds the files of a page, of which there are so many.
func (l *extentList) page(b []byte, start media.Wall, pages int) error {
	c := &cursor{b: b}
	if v := c.u8(); c.err == nil && v != pageForm {
		return fmt.Errorf("page of version %d", v)
	}
	n := c.count()
	most := min(n, len(c.b)/pageLeast) // whatever n says
	if l.out == nil {
		l.out = make([]Extent, 0, most*min(pages, 32))
	}
	shapes := shapeSlab{more: most}
	for range n {
		e := Extent{File: FileID(c.u64()), Init: InitID(c.u64())}
		copy(e.Run[:], c.take(len(e.Run)))
		e.Span.From = start + media.Wall(c.varint())
		e.Span.To = e.Span.From + media.Wall(c.varint())
		e.Zero = start + media.Wall(c.varint())
		shape := c.bytes()
		if c.err != nil {
			return fmt.Errorf("page: %w", c.err)
		}
		if sh, err := shapes.parse(shape); err == nil {
			e.Shape = sh
		}
		l.add(e)
	}
	return c.err
}
