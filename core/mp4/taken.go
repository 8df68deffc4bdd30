package mp4

import "media-server/core/archive"

// Taken is what a movie took of one stored file: a run of whole fragments, put
// into mdat as they are.
type Taken struct {
	File     archive.FileID
	From, To int64 // bytes of the file
	At       int64 // where they begin in the movie
	Shown    []Shown
}

// Shown are the samples of a track that the movie shows, [First, Last): they
// count the track's samples in the file from 0. What else lies in the fragments
// is there and is not played.
type Shown struct{ Track, First, Last int }

// Has tells whether the movie shows a track's n-th sample in the file.
func (s *Taken) Has(track, n int) bool {
	for _, x := range s.Shown {
		if x.Track == track {
			return x.First <= n && n < x.Last
		}
	}
	return false
}

// Taken lists the stored files that the movie is made of, in order. Together
// with the head in front of the first they are all of it.
func (m *Movie) Taken() []Taken {
	out := make([]Taken, 0, len(m.plan.files))
	for _, f := range m.plan.files {
		s := Taken{File: f.file, From: f.from, To: f.to, At: f.at}
		for i := range f.tracks {
			if c := &f.tracks[i]; c.n() > 0 {
				s.Shown = append(s.Shown, Shown{c.track, c.first, c.last})
			}
		}
		out = append(out, s)
	}
	return out
}
