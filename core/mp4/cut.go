package mp4

import (
	"slices"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
)

// fileCut is what the movie takes of one file: whole fragments of bytes, and
// of each track a run of samples in them.
type fileCut struct {
	file     archive.FileID
	of       take
	whole    bool       // all of it: the counts come from its shape
	from, to int64      // bytes of the file that go into mdat
	tracks   []trackCut // one for each plan.tracks; empty ones have n = 0
	at       int64      // offset of from in the movie
	kept     []byte     // its tables but for stsz, while they are sent (keep.go)
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
	before      state // of the track, in earlier files
	lastTicks   int64 // duration of the last sample, reaching to the next file
	cto         int32 // composition offset of the first sample, of whole files
}

func (c *trackCut) n() int { return c.last - c.first }

// select_ finds the files of the span and the samples to take of each. Of a
// long range only the first and the last file are read; the others lie inside
// as a whole and the catalogue knows their shape.
func (p *plan) select_(span media.Span) error {
	exts, err := p.src.Extents(p.uid, media.Span{From: span.From.Add(-lookBack), To: span.To})
	if err != nil {
		return err
	}
	if exts, err = p.begin(exts, span.From); err != nil {
		return err
	}
	if len(exts) > mostFiles {
		return ErrTooLong
	}
	if err := p.chooseScale(exts); err != nil {
		return err
	}
	p.files, p.slab, p.to = make([]*fileCut, 0, len(exts)), slab{files: len(exts)}, span.To
	read := 0
	var in *inits
	for i := range exts {
		e := &exts[i]
		other := e.Run != exts[0].Run || e.Zero != exts[0].Zero // take
		if other && e.Span.To <= p.start {
			continue
		}
		if in == nil || in.id != e.Init {
			tracks, err := p.src.Tracks(p.uid, e.Init)
			if err != nil {
				return err
			}
			in = p.join(e.Init, tracks)
		}
		if i > 0 && e.Shape != nil && !(other && e.Span.From < p.start) && e.Span.To <= span.To && p.scale == 0 && in.scaled {
			p.addWhole(e, in)
			continue
		}
		if read++; read > mostRead {
			return ErrTooLong
		}
		l, err := p.src.Layout(p.uid, e.File)
		if err != nil {
			return err
		}
		p.addFile(e, l, in, span.To)
	}
	p.settle()
	if len(p.files) == 0 || len(p.tracks) == 0 {
		return timeline.ErrNoFootage
	}
	return nil
}

// begin finds where the movie starts, and cuts what lies before off: the last
// video key frame at or before from, also in an earlier file of the same run
// when a segment was continued in another space; else the first one after it.
func (p *plan) begin(exts []archive.Extent, from media.Wall) ([]archive.Extent, error) {
	i := slices.IndexFunc(exts, func(e archive.Extent) bool { return e.Span.To > from })
	if i < 0 {
		return nil, timeline.ErrNoFootage
	}
	for k := i; k >= 0 && exts[k].Run == exts[i].Run; k-- {
		tracks, err := p.src.Tracks(p.uid, exts[k].Init)
		if err != nil {
			return nil, err
		}
		l, err := p.src.Layout(p.uid, exts[k].File)
		if err != nil {
			return nil, err
		}
		at, before, ok := startTime(l, tracks, from)
		if k == i {
			p.start = exts[i].Span.From
			if ok {
				p.start = at
			}
		}
		if ok && (before || exts[i].Span.From > from) {
			p.start = at
			return exts[k:], nil
		}
	}
	return exts[i:], nil
}

// chooseScale looks for holes that the tracks' own timescales cannot bridge.
func (p *plan) chooseScale(exts []archive.Extent) error {
	for i := 1; i < len(exts); i++ {
		switch hole := exts[i].Span.From.Sub(exts[i-1].Span.To); {
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

// startTime is the presentation time of the last video key frame of a file at
// or before from, else of its first one (before is false then); of a file
// without video, of its samples likewise.
func startTime(l *archive.Layout, tracks []media.Track, from media.Wall) (at media.Wall, before, ok bool) {
	video := 0
	scale := map[int]uint32{}
	for _, t := range tracks {
		scale[t.ID] = t.Timescale
		if t.Kind() == media.Video && video == 0 {
			video = t.ID
		}
	}
	for i := range l.Fragments {
		f := &l.Fragments[i]
		if video != 0 && f.Track != video {
			continue
		}
		dts := f.BaseTime
		for _, s := range f.Samples {
			w := l.Zero.Add(media.DurationOf(dts+int64(s.CTO), scale[f.Track]))
			dts += int64(s.Duration)
			if video != 0 && !s.Key {
				continue
			}
			if !ok || w <= from && w > at {
				at, before, ok = w, w <= from, true
			}
		}
	}
	return at, before, ok
}

// addWhole adds a file of which everything is taken, from its shape.
func (p *plan) addWhole(e *archive.Extent, in *inits) {
	f := p.slab.file(in.width)
	f.file, f.of, f.whole, f.from, f.to = e.File, takeOf(e), true, e.Shape.First, e.Shape.End
	zero := e.Zero.Sub(p.start)
	for _, j := range in.joined {
		out := p.tracks[j.out]
		c := &f.tracks[j.out]
		*c = trackCut{track: j.track.ID, scale: j.track.Timescale, entry: j.entry, origin: media.TicksOf(zero, out.scale)}
		for i := range e.Shape.Tracks {
			sh := &e.Shape.Tracks[i]
			if sh.Track != j.track.ID {
				continue
			}
			c.last, c.cto = sh.Samples, sh.FirstCTO
			c.base, c.end, c.lastStart = c.tick(sh.Base, out), c.tick(sh.End, out), c.tick(sh.LastStart, out)
			c.count = counts{samples: sh.Samples, times: sh.Times, offsets: sh.Offsets, keys: sh.Keys, chunks: sh.Chunks, groups: sh.Groups,
				shifted: sh.Shifted, partial: sh.Partial}
		}
	}
	p.files = append(p.files, f)
}

// addFile adds the samples of a file whose decode times lie before to, from
// the movie's start on.
func (p *plan) addFile(e *archive.Extent, l *archive.Layout, in *inits, to media.Wall) {
	f := p.slab.file(in.width)
	f.file, f.of, f.from = e.File, takeOf(e), -1
	first := firstFragment(l, e.Segment)
	for _, j := range in.joined {
		out := p.tracks[j.out]
		c := &f.tracks[j.out]
		*c = trackCut{track: j.track.ID, scale: j.track.Timescale, entry: j.entry}
		c.origin = media.TicksOf(l.Zero.Sub(p.start), out.scale)
		p.cutTrack(l, first, j.track, c, out, p.start, to, f)
	}
	if f.from >= 0 {
		p.files = append(p.files, f)
	}
}

// firstFragment is the first fragment of a layout that counts.
func firstFragment(l *archive.Layout, segment uint64) int {
	if segment == 0 {
		return 0
	}
	for i := range l.Segments {
		if l.Segments[i].Number >= segment {
			return l.Segments[i].First
		}
	}
	return len(l.Fragments)
}

// cutTrack finds the run of samples of one track, from fragment first on.
func (p *plan) cutTrack(l *archive.Layout, first int, t media.Track, c *trackCut, out *outTrack, start, to media.Wall, f *fileCut) {
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
		if i < first {
			n += len(fr.Samples)
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
