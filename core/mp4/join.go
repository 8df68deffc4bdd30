package mp4

import (
	"media-server/core/archive"
	"media-server/core/media"
)

// inits says how the tracks of files of one init go into the movie: worked out
// once for all files that follow each other with it.
type inits struct {
	id     archive.InitID
	joined []joined
	width  int  // plan.tracks that files of it need
	scaled bool // all tracks have the timescale of the movie's: shapes hold
}

// joined is one track of an init in the movie.
type joined struct {
	track media.Track
	out   int // in plan.tracks
	entry int // sample entry, from 1
}

// join finds or makes the movie's tracks for those of an init.
func (p *plan) join(id archive.InitID, tracks []media.Track) *inits {
	in := &inits{id: id, joined: make([]joined, 0, len(tracks)), scaled: true}
	ordinal := map[media.Kind]int{}
	for _, t := range tracks {
		k := ordinal[t.Kind()]
		ordinal[t.Kind()]++
		ti := p.outTrack(t, k)
		out := p.tracks[ti]
		in.width = max(in.width, ti+1)
		// Composition offsets would be rescaled otherwise, and runs change.
		in.scaled = in.scaled && out.scale == t.Timescale
		in.joined = append(in.joined, joined{t, ti, out.entry(id, t)})
	}
	return in
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
	has := make([]bool, len(p.tracks))
	even := true
	for _, f := range p.files {
		even = even && len(f.tracks) == len(p.tracks)
		for i := range f.tracks {
			has[i] = has[i] || f.tracks[i].n() > 0
		}
	}
	var keep []*outTrack
	var at []int
	for i, t := range p.tracks {
		if has[i] {
			keep, at = append(keep, t), append(at, i)
		}
	}
	if even && len(keep) == len(p.tracks) {
		return // as nearly always
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

// slab gives the cuts of the files of a plan out of few large pieces of memory.
type slab struct {
	files  int // that may still come
	cuts   []fileCut
	tracks []trackCut
}

func (s *slab) file(tracks int) *fileCut {
	if len(s.cuts) == 0 {
		s.cuts = make([]fileCut, max(s.files, 1))
	}
	if len(s.tracks) < tracks {
		s.tracks = make([]trackCut, max(s.files, 1)*tracks)
	}
	f := &s.cuts[0]
	f.tracks = s.tracks[:tracks:tracks]
	s.cuts, s.tracks, s.files = s.cuts[1:], s.tracks[tracks:], s.files-1
	return f
}
