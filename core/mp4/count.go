package mp4

import (
	"iter"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
)

// counts are the numbers of entries of a track's sample tables. Files count
// apart: no run of equal values goes over the end of a file, so that the sizes
// of the whole are sums.
type counts struct {
	samples, times, offsets, keys, chunks, groups int
	shifted                                       bool // some composition offset is not 0
	partial                                       bool // some sample is not a key
}

// tables is the size of stts, ctts, stss, stsz, stsc and co64 in bytes.
func (c *counts) tables() int64 {
	n := int64(16+8*c.times) + int64(20+4*c.samples) + int64(16+12*c.groups) + int64(16+8*c.chunks)
	if c.shifted {
		n += int64(16 + 8*c.offsets)
	}
	if c.partial {
		n += int64(16 + 4*c.keys)
	}
	return n
}

// sampleAt is one sample of a cut as the tables need it.
type sampleAt struct {
	media.Sample
	ticks   int64 // duration in the output scale, holes inside the file bridged
	chunk   bool  // first of its fragment
	offset  int64 // of its first byte in the file, when chunk
	final   bool  // last of the cut
	inChunk int   // number of samples that the cut takes of the fragment, when chunk
}

// samples walks the samples of a track's cut.
func (p *plan) samples(l *archive.Layout, f *fileCut, ti int) iter.Seq[sampleAt] {
	c, out := &f.tracks[ti], p.tracks[ti]
	return func(yield func(sampleAt) bool) {
		n := 0
		var held sampleAt // waits for the next sample's time
		var heldAt int64
		have := false
		for i := range l.Fragments {
			fr := &l.Fragments[i]
			if fr.Track != c.track {
				continue
			}
			if n+len(fr.Samples) <= c.first {
				n += len(fr.Samples)
				continue
			}
			if n >= c.last {
				break
			}
			at, off, begun := fr.BaseTime, fr.DataOffset, false
			inChunk := min(n+len(fr.Samples), c.last) - max(n, c.first)
			for _, s := range fr.Samples {
				if n >= c.last {
					break
				}
				if n >= c.first {
					tick := c.tick(at, out)
					if c.scale != out.scale {
						s.CTO = int32(c.tick(at+int64(s.CTO), out) - tick)
					}
					if have {
						held.ticks = max(tick-heldAt, 1)
						if !yield(held) {
							return
						}
					}
					held, heldAt, have = sampleAt{Sample: s, chunk: !begun, offset: off, inChunk: inChunk}, tick, true
					begun = true
				}
				off += int64(s.Size)
				at += int64(s.Duration)
				n++
			}
		}
		if have {
			held.ticks, held.final = c.lastTicks, true
			yield(held)
		}
	}
}

// count sizes all tables, bridges the holes between files, and makes the edit
// lists.
func (p *plan) count() error {
	p.later()
	p.bridge()
	for ti, t := range p.tracks {
		for _, f := range p.files {
			c := &f.tracks[ti]
			if c.n() == 0 {
				continue
			}
			if !f.whole {
				if err := p.countFile(f, ti); err != nil {
					return err
				}
			}
			c.before = state{t.total.samples, t.total.chunks}
			t.total.add(&c.count)
		}
	}
	return nil
}

func (c *counts) add(o *counts) {
	c.samples += o.samples
	c.times += o.times
	c.offsets += o.offsets
	c.keys += o.keys
	c.chunks += o.chunks
	c.groups += o.groups
	c.shifted = c.shifted || o.shifted
	c.partial = c.partial || o.partial
}

func (p *plan) countFile(f *fileCut, ti int) error {
	l, err := p.src.Layout(p.uid, f.file)
	if err != nil {
		return err
	}
	c := &f.tracks[ti].count
	*c = counts{}
	var ticks int64
	var cto int32
	group := -1
	for s := range p.samples(l, f, ti) {
		if c.samples == 0 || s.ticks != ticks || s.final {
			c.times++
		}
		if c.samples == 0 || s.CTO != cto {
			c.offsets++
		}
		ticks, cto = s.ticks, s.CTO
		c.samples++
		c.shifted = c.shifted || s.CTO != 0
		if s.Key {
			c.keys++
		} else {
			c.partial = true
		}
		if s.chunk {
			c.chunks++
			if s.inChunk != group {
				c.groups++
				group = s.inChunk
			}
		}
	}
	return nil
}

// bridge gives the last sample of each file the time up to the next file: the
// picture stands still where nothing was recorded. An empty edit in the middle
// of a movie would say it better, but ffmpeg 5.1 takes it for an edit that
// begins at the first sample and repeats everything before it.
func (p *plan) bridge() {
	for ti, t := range p.tracks {
		var first, prev *trackCut
		late := int64(0) // sound of one take may reach into the next
		for _, f := range p.files {
			c := &f.tracks[ti]
			if c.n() == 0 {
				continue
			}
			if prev == nil {
				first = c
				p.openEdit(t, c, f, ti)
			} else {
				last := prev.lastStart + late
				prev.lastTicks = max(c.base-last, 1)
				late = last + prev.lastTicks - c.base
			}
			prev = c
		}
		prev.lastTicks = max(prev.end-prev.lastStart, 1)
		end := prev.lastStart + late + prev.lastTicks
		t.media = end - first.base
		p.end = max(p.end, p.start.Add(media.DurationOf(end, t.scale)))
		if n := len(t.edits); n > 0 {
			t.edits[n-1].Duration = uint64(media.Rescale(t.media, movieScale, int64(t.scale)))
		}
	}
}

// openEdit makes a track's edit list: what lies before its first sample is
// empty, and the media begins with the composition offset of that sample. A
// track whose media time is the movie's time needs none.
func (p *plan) openEdit(t *outTrack, c *trackCut, f *fileCut, ti int) {
	cto := int64(c.cto)
	if f.whole {
	} else if l, err := p.src.Layout(p.uid, f.file); err == nil {
		for s := range p.samples(l, f, ti) {
			cto = int64(s.CTO)
			break
		}
	}
	begin := c.base + cto // presentation of the first sample, from the movie's start
	if begin == 0 && cto == 0 {
		return
	}
	if begin > 0 {
		t.edits = append(t.edits, mux.Edit{Duration: uint64(media.Rescale(begin, movieScale, int64(t.scale))), Media: -1})
	}
	t.edits = append(t.edits, mux.Edit{Media: max(cto, cto-begin)})
}
