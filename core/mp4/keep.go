package mp4

import (
	"fmt"

	"media-server/core/archive"
)

// A table takes one entry or a hundred of each file, and a movie has a dozen
// tables, one behind the other: made each by itself, a day would read its 1,440
// indexes twelve times before the first picture. So all tables of a file are
// made when the first one is asked for, and kept until the last of them was;
// but for stsz, which is as large as all others together four times over.

// keepMost bounds the kept tables of one response: a day of files of a minute
// takes 3.5 MB. What does not fit is made from the index each time.
const keepMost = 4 << 20

const sizes = "stsz"

// entries appends a file's entries of a table.
func (p *plan) entries(b []byte, f *fileCut, ti, k int) ([]byte, error) {
	if tables[k].kind == sizes {
		return p.write(b, f, ti, k)
	}
	kept, last, err := p.keep(f, ti, k)
	if err != nil {
		return nil, err
	}
	if kept == nil {
		return p.write(b, f, ti, k)
	}
	b = append(b, kept...)
	if last {
		p.forget(f)
	}
	return b, nil
}

// write makes a file's entries of a table from its index.
func (p *plan) write(b []byte, f *fileCut, ti, k int) ([]byte, error) {
	l, err := p.src.Layout(p.uid, f.file)
	if err != nil {
		return nil, err
	}
	return p.writeOf(l, b, f, ti, k)
}

func (p *plan) writeOf(l *archive.Layout, b []byte, f *fileCut, ti, k int) ([]byte, error) {
	want := len(b) + tables[k].size(&f.tracks[ti].count)
	b = tables[k].write(b, p, f, ti, l)
	if len(b) != want {
		return nil, fmt.Errorf("the %s of file %s takes %d bytes more than planned", tables[k].kind, f.file, len(b)-want)
	}
	return b, nil
}

// keep gives a file's entries of a table out of those that are kept, which it
// makes if there is room for them; nil = there is none. last: no table behind
// it is kept.
func (p *plan) keep(f *fileCut, ti, k int) (part []byte, last bool, err error) {
	all, from, to := 0, 0, 0
	for i := range p.tracks {
		for j := range tables {
			if !p.keeps(f, i, j) {
				continue
			}
			n := tables[j].size(&f.tracks[i].count)
			if i == ti && j == k {
				from, to = all, all+n
			}
			all += n
		}
	}
	p.mu.Lock()
	kept, room := f.kept, p.kept+all <= p.room
	p.mu.Unlock()
	if kept == nil && room {
		if kept, err = p.make(f, all); err != nil {
			return nil, false, err
		}
		p.mu.Lock()
		if f.kept == nil {
			f.kept = kept
			p.kept += all
		}
		p.mu.Unlock()
	}
	if kept == nil {
		return nil, false, nil
	}
	return kept[from:to], to == all, nil
}

// keeps tells whether a table of a file is one of those kept.
func (p *plan) keeps(f *fileCut, ti, k int) bool {
	return tables[k].kind != sizes && tables[k].used(p.tracks[ti]) && f.tracks[ti].n() > 0
}

// make makes the tables of a file that are kept, n bytes.
func (p *plan) make(f *fileCut, n int) (b []byte, err error) {
	l, err := p.src.Layout(p.uid, f.file)
	if err != nil {
		return nil, err
	}
	b = make([]byte, 0, n)
	for i := range p.tracks {
		for j := range tables {
			if !p.keeps(f, i, j) {
				continue
			}
			if b, err = p.writeOf(l, b, f, i, j); err != nil {
				return nil, err
			}
		}
	}
	return b, nil
}

// forget lets go of what is kept of a file.
func (p *plan) forget(f *fileCut) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.kept -= len(f.kept)
	f.kept = nil
}
