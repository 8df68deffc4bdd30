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
//
// A page begins with what its hour comes to: the spans its files cover, merged.
// What is recorded of a month is read from 720 of these, a fifth of the time
// that its 43,200 rows take.
const (
	pageTime  = int64(time.Hour)
	pageBits  = 24 // hours since 1970 in a key; the stream's number lies above
	pageAge   = 2 * time.Hour
	pagesFrom = 3 * time.Hour // shorter spans are read from the rows
	pagesMake = 48            // made for one question
	pageForm  = 2
	pageOld   = 1   // without spans
	pageLeast = 36  // bytes of a file in a page
	pageHead  = 512 // bytes in which the spans lie, or the rows are read
)

func pageKey(stream, hour int64) int64 { return stream<<pageBits | hour }

// pageStart is the first instant of a page.
func pageStart(key int64) media.Wall { return media.Wall(key & (1<<pageBits - 1) * pageTime) }

// extentRows is what a page and an Extent are made of, in this order.
const extentRows = "SELECT id, t0, t1, init, zero, flags, run, shape FROM files WHERE stream = ? AND t0 >= ? AND t0 < ? AND flags & 3 = 0 "

func scanExtent(rows *sql.Rows, flags *int64, shape *sql.RawBytes) (e Extent, err error) {
	var file, t0, t1, init, zero int64
	var run sql.RawBytes
	if err := rows.Scan(&file, &t0, &t1, &init, &zero, flags, &run, shape); err != nil {
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
	if !paged(first, last) {
		err := l.rows(first, last)
		return l.out, err
	}
	err := c.hours(id, max(first, 0), last, "body", isPage, l.page, l.missing)
	return l.out, err
}

// paged tells whether a span in which files begin is worth pages.
func paged(first, last int64) bool {
	return last-first > int64(pagesFrom) && (first >= 0 || last >= int64(pagesFrom))
}

// hours goes through the hours of a stream from [from, to), in order: page is
// given part of each page that usable says is one, and how many there are;
// missing the time between them. Where page fails, missing is called for its hour.
func (c *catalogue) hours(stream, from, to int64, part string, usable func(hour int64, part []byte) bool, page func(b []byte, start media.Wall, of int) error, missing func(from, to int64) error) error {
	type found struct {
		key  int64
		part []byte
	}
	var pages []found
	err := c.rows("SELECT k, "+part+" FROM pages WHERE k >= ? AND k <= ? ORDER BY k", func(rows *sql.Rows) error {
		var p found
		err := rows.Scan(&p.key, &p.part)
		if usable(p.key&(1<<pageBits-1), p.part) {
			pages = append(pages, p)
		}
		return err
	}, pageKey(stream, from/pageTime), pageKey(stream, min((to-1)/pageTime, 1<<pageBits-1)))
	if err != nil {
		return err
	}
	at := from
	for _, p := range pages {
		start := pageStart(p.key)
		if int64(start) > at {
			if err := missing(at, int64(start)); err != nil {
				return err
			}
			at = int64(start)
		}
		if page(p.part, start, len(pages)) == nil {
			at = int64(start) + pageTime
		}
	}
	if at < to {
		return missing(at, to)
	}
	return nil
}

func isPage(_ int64, b []byte) bool { return len(b) > 0 && (b[0] == pageForm || b[0] == pageOld) }

// extentList gathers the extents that share time with sp.
type extentList struct {
	c      *catalogue
	stream int64
	sp     media.Span
	out    []Extent
	lack   lack
}

func (l *extentList) add(e Extent) {
	if e.Span.To > l.sp.From && e.Span.From < l.sp.To {
		l.out = append(l.out, e)
	}
}

// rows adds files that begin in [from, to), from their rows.
func (l *extentList) rows(from, to int64) error {
	return l.c.rows(extentRows+"AND t1 > ? ORDER BY t0", func(rows *sql.Rows) error {
		var flags int64
		var shape sql.RawBytes
		e, err := scanExtent(rows, &flags, &shape)
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

// missing adds files that begin in [from, to), where there is no page, and has
// pages made for the hours that are long over.
func (l *extentList) missing(from, to int64) error {
	had := len(l.out)
	if err := l.rows(from, to); err != nil || had == len(l.out) {
		return err
	}
	for _, e := range l.out[had:] {
		l.lack.add(e.Span.From)
	}
	l.lack.make(l.c, l.stream)
	return nil
}

// lack is hours that have no page and are long over.
type lack struct {
	hours []int64
	none  map[int64]bool // hours that lack nothing
}

// add adds the hour of a file; files come in order.
func (l *lack) add(from media.Wall) {
	h := int64(from) / pageTime
	if n := len(l.hours); n < pagesMake && (n == 0 || l.hours[n-1] != h) && !l.none[h] && (h+1)*pageTime < time.Now().Add(-pageAge).UnixNano() {
		l.hours = append(l.hours, h)
	}
}

// make has their pages made.
func (l *lack) make(c *catalogue, stream int64) {
	if hours := l.hours; len(hours) > 0 {
		l.hours = nil
		c.later(func(tx *sql.Tx) error { return makePages(tx, stream, hours) }, nil)
	}
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

// appendPage writes the page of an hour: version; the spans; varint count; each file: id
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
	var sum hourSpans
	n := 0
	for rows.Next() {
		var flags int64
		var shape sql.RawBytes
		e, err := scanExtent(rows, &flags, &shape)
		if err != nil {
			return nil, err
		}
		n++
		sum.add(e.Span, flags)
		b = binary.BigEndian.AppendUint64(b, uint64(e.File))
		b = binary.BigEndian.AppendUint64(b, uint64(e.Init))
		b = append(b, e.Run[:]...)
		b = binary.AppendVarint(b, int64(e.Span.From)-start)
		b = binary.AppendVarint(b, int64(e.Span.To-e.Span.From))
		b = binary.AppendVarint(b, int64(e.Zero)-start)
		b = binary.AppendUvarint(b, uint64(len(shape)))
		b = append(b, shape...)
	}
	head := binary.AppendUvarint(sum.append([]byte{pageForm}, media.Wall(start)), uint64(n))
	return append(head, b...), rows.Err()
}

// page adds the files of a page, of which there are so many; none if it fails.
func (l *extentList) page(b []byte, start media.Wall, pages int) (err error) {
	had := len(l.out)
	defer func() {
		if err != nil {
			l.out = l.out[:had]
		}
	}()
	c := &cursor{b: b}
	switch v := c.u8(); {
	case c.err != nil || v == pageOld:
	case v == pageForm:
		c.bytes() // spans
	default:
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
