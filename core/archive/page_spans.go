package archive

import (
	"database/sql"
	"encoding/binary"
	"fmt"

	"media-server/core/media"
)

// hourSpans is what the files of an hour come to, as its page begins with it:
// varint length of what follows; nothing where a file has holes, for whose
// segments its row is needed; else each span: zigzag from − start of the page,
// varint 2 × (to − from), + 1 where it keeps key frames only.
type hourSpans struct {
	all, groomed []media.Span
	holes        bool
}

// add adds a file; files come in order.
func (h *hourSpans) add(s media.Span, flags int64) {
	h.holes = h.holes || flags&rowHoles != 0 || s.To < s.From
	h.all = lengthen(h.all, s)
	if flags&rowGroomed != 0 {
		h.groomed = lengthen(h.groomed, s)
	}
}

func (h *hourSpans) append(b []byte, start media.Wall) []byte {
	var text []byte
	put := func(list []media.Span, groomed uint64) {
		for _, s := range list {
			text = binary.AppendVarint(text, int64(s.From-start))
			text = binary.AppendUvarint(text, uint64(s.To-s.From)<<1|groomed)
		}
	}
	if !h.holes {
		put(h.all, 0)
		put(h.groomed, 1)
	}
	return append(binary.AppendUvarint(b, uint64(len(text))), text...)
}

// readHourSpans calls fn with the spans at the head of a page, once all of them
// are read.
func readHourSpans(b []byte, start media.Wall, fn func(s media.Span, groomed bool)) error {
	c := &cursor{b: b}
	if v := c.u8(); v != pageForm {
		return fmt.Errorf("page of version %d", v)
	}
	c = &cursor{b: c.bytes(), err: c.err}
	type span struct {
		media.Span
		groomed bool
	}
	var out []span
	for len(c.b) > 0 && c.err == nil {
		from := start + media.Wall(c.varint())
		n := c.uvarint()
		out = append(out, span{media.Span{From: from, To: from + media.Wall(n>>1)}, n&1 != 0})
	}
	if c.err != nil {
		return fmt.Errorf("page: %w", c.err)
	}
	for _, s := range out {
		fn(s.Span, s.groomed)
	}
	return nil
}

// spans calls fn with each sealed file of a stream that shares time with sp, in
// order of time. Where hour is not nil, it may be called with what the files of
// an hour cover instead, in order, too: such spans are merged and can begin
// before sp and end behind it.
func (c *catalogue) spans(uid string, sp media.Span, hour func(s media.Span, groomed bool), fn func(id FileID, s media.Span, flags int64)) error {
	stream, longest, ok := c.id(uid)
	if !ok {
		return nil
	}
	lack := lack{none: map[int64]bool{}}
	rows := func(from, to int64) error {
		return c.rows("SELECT id, t0, t1, flags FROM files WHERE stream = ? AND t0 >= ? AND t0 < ? AND t1 > ? AND flags & 3 = 0 ORDER BY t0", func(rows *sql.Rows) error {
			var id, t0, t1, flags int64
			err := rows.Scan(&id, &t0, &t1, &flags)
			lack.add(media.Wall(t0))
			fn(FileID(id), media.Span{From: media.Wall(t0), To: media.Wall(t1)}, flags)
			return err
		}, stream, from, to, int64(sp.From))
	}
	usable := func(hour int64, b []byte) bool {
		if len(b) < 2 || b[0] != pageForm {
			return false
		}
		lack.none[hour] = true // another page would not say more: a file has holes, or the spans are many
		return b[1] != 0
	}
	first, last := floorSub(int64(sp.From), longest), int64(sp.To)
	if hour == nil || !paged(first, last) {
		return rows(first, last)
	}
	err := c.hours(stream, max(first, 0), last, fmt.Sprintf("substr(body, 1, %d)", pageHead), usable, func(b []byte, start media.Wall, _ int) error {
		return readHourSpans(b, start, func(s media.Span, groomed bool) {
			if s.Overlaps(sp) {
				hour(s, groomed)
			}
		})
	}, rows)
	lack.make(c, stream)
	return err
}
