package mp4

import (
	"sort"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
)

// fileCut is what the movie takes of one file: whole fragments of bytes, and
// of each track a run of samples in them.
type fileCut struct {
	seg      archive.Segment // any of the file's: names it
	from, to int64           // bytes of the file that go into mdat
	tracks   []trackCut      // one for each plan.tracks; empty ones have n = 0
	at       int64           // offset of from in the movie
}

// trackCut is a run of samples of one track in one file: positions count the
// track's samples in the file from 0.
type trackCut struct {
	track       int // in the file; 0 = the file has no such track
	entry       int // sample entry, from 1
	scale       uint32
	origin      int64 // movie ticks of the file's time zero, in the output track's scale
	first, last int   // samples [first, last)
	base, end   int64 // decode time of the first sample, end of the last; output ticks
	lastStart   int64 // decode time of the last sample
	count       counts
	lastTicks   int64 // duration of the last sample, reaching to the next file
}

func (c *trackCut) n() int { return c.last - c.first }

// chooseScale looks for holes that the tracks' own timescales cannot bridge.
func (p *plan) chooseScale(segs []archive.Segment) error {
	for i := 1; i < len(segs); i++ {
		switch hole := segs[i].Span.From.Sub(segs[i-1].Span.To); {
		case hole > maxHole:
			return ErrHole
		case hole > coarseHole:
			p.scale = coarseScale
		}
	}
	return nil
}

// lookBack is how far before the asked time a key frame is looked for.
const lookBack = 90 * time.Second

// select_ finds the files of the span and the samples to take of each.
func (p *plan) select_(span media.Span) error {
	segs, err := p.src.Segments(p.uid, media.Span{From: span.From.Add(-lookBack), To: span.To})
	if err != nil {
		return err
	}
	segs = segs[firstWanted(segs, span.From):]
	if len(segs) == 0 {
		return timeline.ErrNoFootage
	}
	if err := p.chooseScale(segs); err != nil {
		return err
	}
	byFile := map[archive.FileID]bool{}
	var files []archive.Segment
	for _, s := range segs {
		if !byFile[s.File] {
			byFile[s.File] = true
			files = append(files, s)
		}
	}
	first := segs[0]
	for i, s := range files {
		l, err := p.src.Layout(p.uid, s.File)
		if err != nil {
			return err
		}
		tracks, err := p.src.Tracks(p.uid, s.Init)
		if err != nil {
			return err
		}
		if i == 0 {
			p.start = startTime(l, tracks, first, span.From)
		}
		p.addFile(s, l, tracks, p.start, span.To)
	}
	p.settle()
	if len(p.files) == 0 || len(p.tracks) == 0 {
		return timeline.ErrNoFootage
	}
	return nil
}

// firstWanted is the index of the segment to begin with: the one that holds
// from, or the last key frame segment before it in the same run, or the first
// after it.
func firstWanted(segs []archive.Segment, from media.Wall) int {
	i := sort.Search(len(segs), func(i int) bool { return segs[i].Span.To > from })
	for k := i; k < len(segs) && k >= 0 && segs[k].Span.From <= from; k-- {
		if segs[k].Independent {
			return k
		}
		if k == 0 || segs[k-1].Run != segs[k].Run || segs[k-1].Discontinuity != segs[k].Discontinuity {
			break
		}
	}
	return i
}

// startTime is the presentation time of the last video key frame of the first
// segment at or before from; without video, or when from is earlier, the time
// of the segment's first sample.
func startTime(l *archive.Layout, tracks []media.Track, seg archive.Segment, from media.Wall) media.Wall {
	best := media.Wall(0)
	video := 0
	scale := map[int]uint32{}
	for _, t := range tracks {
		scale[t.ID] = t.Timescale
		if t.Kind() == media.Video && video == 0 {
			video = t.ID
		}
	}
	for i := range l.Segments {
		if l.Segments[i].Number != seg.Number {
			continue
		}
		for fi := l.Segments[i].First; fi < l.Segments[i].Last; fi++ {
			f := &l.Fragments[fi]
			if video != 0 && f.Track != video {
				continue
			}
			at := f.BaseTime
			for _, s := range f.Samples {
				w := l.Zero.Add(media.DurationOf(at+int64(s.CTO), scale[f.Track]))
				at += int64(s.Duration)
				if video != 0 && !s.Key {
					continue
				}
				if best == 0 || w <= from && w > best {
					best = w
				}
			}
		}
	}
	if best == 0 {
		best = seg.Span.From
	}
	return best
}

// addFile adds the samples of a file whose decode times lie before to, from
// the movie's start on.
func (p *plan) addFile(seg archive.Segment, l *archive.Layout, tracks []media.Track, start, to media.Wall) {
	f := &fileCut{seg: seg, from: -1}
	ordinal := map[media.Kind]int{}
	for _, t := range tracks {
		k := ordinal[t.Kind()]
		ordinal[t.Kind()]++
		ti := p.outTrack(t, k)
		for len(f.tracks) <= ti {
			f.tracks = append(f.tracks, trackCut{})
		}
		out := p.tracks[ti]
		c := &f.tracks[ti]
		*c = trackCut{track: t.ID, scale: t.Timescale, entry: out.entry(seg.Init, t)}
		c.origin = media.TicksOf(l.Zero.Sub(start), out.scale)
		p.cutTrack(l, t, c, out, start, to, f)
	}
	if f.from >= 0 {
		p.files = append(p.files, f)
	}
}

// cutTrack finds the run of samples of one track.
func (p *plan) cutTrack(l *archive.Layout, t media.Track, c *trackCut, out *outTrack, start, to media.Wall, f *fileCut) {
	// Presentation from start on for what is always a random access point;
	// video begins with the key frame itself.
	lo := media.TicksOf(start.Sub(l.Zero), t.Timescale)
	hi := media.TicksOf(to.Sub(l.Zero), t.Timescale)
	tolerance := media.TicksOf(time.Millisecond, t.Timescale)
	n, begun := 0, false
	for i := range l.Fragments {
		fr := &l.Fragments[i]
		if fr.Track != t.ID {
			continue
		}
		if !begun && fr.BaseTime+fr.Duration+maxReorder(t) < lo {
			n += len(fr.Samples)
			continue
		}
		at := fr.BaseTime
		for _, s := range fr.Samples {
			if !begun && s.Key && at+int64(s.CTO) >= lo-tolerance {
				begun, c.first, c.base = true, n, c.tick(at, out)
			}
			if begun && at >= hi {
				return
			}
			n++
			if begun {
				c.last, c.lastStart = n, c.tick(at, out)
				c.end = c.tick(at+int64(s.Duration), out)
				f.take(fr)
			}
			at += int64(s.Duration)
		}
	}
}

// maxReorder bounds how much later than its decode time a sample is shown.
func maxReorder(t media.Track) int64 { return 4 * int64(t.Timescale) }

// tick converts a file's decode time to the movie's, in the output track's
// scale; always from the absolute value, so that nothing adds up.
func (c *trackCut) tick(at int64, out *outTrack) int64 {
	if c.scale != out.scale {
		at = media.Rescale(at, int64(out.scale), int64(c.scale))
	}
	return c.origin + at
}

// take widens the file's byte range by a fragment.
func (f *fileCut) take(fr *archive.Fragment) {
	if f.from < 0 {
		f.from, f.to = fr.Offset, fr.End()
	}
	f.from, f.to = min(f.from, fr.Offset), max(f.to, fr.End())
}

// outTrack finds or makes the movie's track for the k-th track of a kind.
func (p *plan) outTrack(t media.Track, k int) int {
	for i, o := range p.tracks {
		if o.kind == t.Kind() {
			if k == 0 {
				return i
			}
			k--
		}
	}
	scale := t.Timescale
	if p.scale != 0 {
		scale = p.scale
	}
	p.tracks = append(p.tracks, &outTrack{id: len(p.tracks) + 1, kind: t.Kind(), scale: scale, keys: map[entryKey]int{}})
	return len(p.tracks) - 1
}

// entry is the number of the sample entry for a track of an init, from 1.
func (o *outTrack) entry(init archive.InitID, t media.Track) int {
	k := entryKey{init, t.ID}
	if n, ok := o.keys[k]; ok {
		return n
	}
	for i, e := range o.entries {
		t.ID, e.ID = 0, 0
		if e.Equal(t) {
			o.keys[k] = i + 1
			return i + 1
		}
	}
	o.entries = append(o.entries, t)
	o.keys[k] = len(o.entries)
	return len(o.entries)
}

// settle drops tracks without samples and evens the files' track lists out.
func (p *plan) settle() {
	var keep []*outTrack
	var at []int
	for i, t := range p.tracks {
		n := 0
		for _, f := range p.files {
			if i < len(f.tracks) {
				n += f.tracks[i].n()
			}
		}
		if n > 0 {
			keep, at = append(keep, t), append(at, i)
		}
	}
	for _, f := range p.files {
		cuts := make([]trackCut, len(at))
		for j, i := range at {
			if i < len(f.tracks) {
				cuts[j] = f.tracks[i]
			}
		}
		f.tracks = cuts
	}
	p.tracks = keep
	for i, t := range keep {
		t.id = i + 1
	}
}
