package mp4

import (
	"encoding/binary"

	"media-server/core/archive"
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
// written.
type table struct {
	kind    string
	version byte
	entries func(c *counts) int
	width   int
	write   func(b []byte, p *plan, f *fileCut, ti int, l *archive.Layout) []byte
}

// size is how many bytes the table takes for a file.
func (t *table) size(c *counts) int { return t.width * t.entries(c) }

// used tells whether a track has the table.
func (t *table) used(o *outTrack) bool {
	return (t.kind != "ctts" || o.total.shifted) && (t.kind != "stss" || o.total.partial)
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
	for k := range tables {
		tab := &tables[k]
		if !tab.used(t) {
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
		p.addEntries(body, ti, k)
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
func (p *plan) addEntries(body *timeline.Body, ti, k int) {
	blocks(len(p.files), func(lo, hi int) {
		files := p.files[lo:hi]
		size := 0
		for _, f := range files {
			size += tables[k].size(&f.tracks[ti].count)
		}
		body.AddLater(int64(size), func() (b []byte, err error) {
			b = make([]byte, 0, size)
			for _, f := range files {
				if f.tracks[ti].n() == 0 {
					continue
				}
				if b, err = p.entries(b, f, ti, k); err != nil {
					return nil, err
				}
			}
			return b, nil
		})
	})
}

func writeTimes(b []byte, p *plan, f *fileCut, ti int, l *archive.Layout) []byte {
	run, ticks := 0, int64(0)
	put := func() {
		if run > 0 {
			b = be.AppendUint32(be.AppendUint32(b, uint32(run)), uint32(ticks))
		}
	}
	for s := range p.samples(l, f, ti) {
		if run > 0 && s.ticks == ticks && !s.final {
			run++
			continue
		}
		put()
		run, ticks = 1, s.ticks
	}
	put()
	return b
}

func writeOffsets(b []byte, p *plan, f *fileCut, ti int, l *archive.Layout) []byte {
	run, cto := 0, int32(0)
	put := func() {
		if run > 0 {
			b = be.AppendUint32(be.AppendUint32(b, uint32(run)), uint32(cto))
		}
	}
	for s := range p.samples(l, f, ti) {
		if run > 0 && s.CTO == cto {
			run++
			continue
		}
		put()
		run, cto = 1, s.CTO
	}
	put()
	return b
}

func writeKeys(b []byte, p *plan, f *fileCut, ti int, l *archive.Layout) []byte {
	n := f.tracks[ti].before.sample
	for s := range p.samples(l, f, ti) {
		n++
		if s.Key {
			b = be.AppendUint32(b, uint32(n))
		}
	}
	return b
}

func writeGroups(b []byte, p *plan, f *fileCut, ti int, l *archive.Layout) []byte {
	chunk, group := f.tracks[ti].before.chunk, -1
	for s := range p.samples(l, f, ti) {
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
	return b
}

func writeSizes(b []byte, p *plan, f *fileCut, ti int, l *archive.Layout) []byte {
	for s := range p.samples(l, f, ti) {
		b = be.AppendUint32(b, s.Size)
	}
	return b
}

func writeChunks(b []byte, p *plan, f *fileCut, ti int, l *archive.Layout) []byte {
	for s := range p.samples(l, f, ti) {
		if s.chunk {
			b = be.AppendUint64(b, uint64(f.at+s.offset-f.from))
		}
	}
	return b
}
