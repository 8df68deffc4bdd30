package mp4

import (
	"encoding/binary"

	"media-server/core/timeline"
)

var be = binary.BigEndian

// box appends a full box's header: size, type, version, flags, and the number
// of entries.
func box(b []byte, kind string, version byte, size int64, entries int) []byte {
	b = be.AppendUint32(b, uint32(size))
	b = append(b, kind...)
	b = append(b, version, 0, 0, 0)
	return be.AppendUint32(b, uint32(entries))
}

// table is one sample table: how many bytes a file's part takes, and how it is
// written. state holds running numbers at the beginning of the file.
type table struct {
	kind    string
	version byte
	entries func(c *counts) int
	width   int
	write   func(b []byte, p *plan, f *fileCut, ti int, st state) ([]byte, error)
}

// state are the running numbers of a track at the beginning of a file.
type state struct{ sample, chunk int }

// tables in the order in which they are written.
var tables = []table{
	{"stts", 0, func(c *counts) int { return c.times }, 8, writeTimes},
	{"ctts", 1, func(c *counts) int { return c.offsets }, 8, writeOffsets},
	{"stss", 0, func(c *counts) int { return c.keys }, 4, writeKeys},
	{"stsc", 0, func(c *counts) int { return c.groups }, 12, writeGroups},
	{"stsz", 0, func(c *counts) int { return c.samples }, 4, writeSizes},
	{"co64", 0, func(c *counts) int { return c.chunks }, 8, writeChunks},
}

// addTables plans a track's tables: headers now, entries file by file when
// they are sent.
func (p *plan) addTables(body *timeline.Body, ti int, t *outTrack) {
	for _, tab := range tables {
		if tab.kind == "ctts" && !t.total.shifted || tab.kind == "stss" && !t.total.partial {
			continue
		}
		n := tab.entries(&t.total)
		head := int64(16)
		if tab.kind == "stsz" {
			head = 20
		}
		b := box(nil, tab.kind, tab.version, head+int64(tab.width*n), n)
		if tab.kind == "stsz" { // a field before the count: no common size
			b = be.AppendUint32(be.AppendUint32(b[:12], 0), uint32(n))
		}
		body.Add(b)
		p.addEntries(body, ti, tab)
	}
}

// block is how many files' entries are made at a time, but for the first few
// blocks, which grow to it: each file is an index to be read, and what nobody
// waits for any more should be noticed before many have been.
const block = 32

// blocks calls fn with each block of n files.
func blocks(n int, fn func(lo, hi int)) {
	size := 1
	for lo := 0; lo < n; {
		hi := min(lo+size, n)
		fn(lo, hi)
		lo, size = hi, min(2*size, block)
	}
}

// addEntries plans the entries of one table, a block of files at a time.
func (p *plan) addEntries(body *timeline.Body, ti int, tab table) {
	var st state
	blocks(len(p.files), func(lo, hi int) {
		files := p.files[lo:hi]
		from, size := st, 0
		for _, f := range files {
			c := &f.tracks[ti]
			size += tab.width * tab.entries(&c.count)
			st.sample += c.count.samples
			st.chunk += c.count.chunks
		}
		body.AddLater(int64(size), func() ([]byte, error) {
			b, at := make([]byte, 0, size), from
			for _, f := range files {
				c := &f.tracks[ti]
				if c.n() == 0 {
					continue
				}
				var err error
				if b, err = tab.write(b, p, f, ti, at); err != nil {
					return nil, err
				}
				at.sample += c.count.samples
				at.chunk += c.count.chunks
			}
			return b, nil
		})
	})
}

func writeTimes(b []byte, p *plan, f *fileCut, ti int, _ state) ([]byte, error) {
	seq, err := p.samples(f, ti)
	if err != nil {
		return nil, err
	}
	run, ticks := 0, int64(0)
	put := func() {
		if run > 0 {
			b = be.AppendUint32(be.AppendUint32(b, uint32(run)), uint32(ticks))
		}
	}
	for s := range seq {
		if run > 0 && s.ticks == ticks && !s.final {
			run++
			continue
		}
		put()
		run, ticks = 1, s.ticks
	}
	put()
	return b, nil
}

func writeOffsets(b []byte, p *plan, f *fileCut, ti int, _ state) ([]byte, error) {
	seq, err := p.samples(f, ti)
	if err != nil {
		return nil, err
	}
	run, cto := 0, int32(0)
	put := func() {
		if run > 0 {
			b = be.AppendUint32(be.AppendUint32(b, uint32(run)), uint32(cto))
		}
	}
	for s := range seq {
		if run > 0 && s.CTO == cto {
			run++
			continue
		}
		put()
		run, cto = 1, s.CTO
	}
	put()
	return b, nil
}

func writeKeys(b []byte, p *plan, f *fileCut, ti int, st state) ([]byte, error) {
	seq, err := p.samples(f, ti)
	if err != nil {
		return nil, err
	}
	n := st.sample
	for s := range seq {
		n++
		if s.Key {
			b = be.AppendUint32(b, uint32(n))
		}
	}
	return b, nil
}

func writeGroups(b []byte, p *plan, f *fileCut, ti int, st state) ([]byte, error) {
	seq, err := p.samples(f, ti)
	if err != nil {
		return nil, err
	}
	chunk, group := st.chunk, -1
	for s := range seq {
		if !s.chunk {
			continue
		}
		chunk++
		if s.inChunk == group {
			continue
		}
		group = s.inChunk
		b = be.AppendUint32(b, uint32(chunk))
		b = be.AppendUint32(b, uint32(group))
		b = be.AppendUint32(b, uint32(f.tracks[ti].entry))
	}
	return b, nil
}

func writeSizes(b []byte, p *plan, f *fileCut, ti int, _ state) ([]byte, error) {
	seq, err := p.samples(f, ti)
	if err != nil {
		return nil, err
	}
	for s := range seq {
		b = be.AppendUint32(b, s.Size)
	}
	return b, nil
}

func writeChunks(b []byte, p *plan, f *fileCut, ti int, _ state) ([]byte, error) {
	seq, err := p.samples(f, ti)
	if err != nil {
		return nil, err
	}
	for s := range seq {
		if s.chunk {
			b = be.AppendUint64(b, uint64(f.at+s.offset-f.from))
		}
	}
	return b, nil
}
