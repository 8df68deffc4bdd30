package mp4

import (
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
)

// Frame is a planned MP4 of one picture.
type Frame struct {
	*Movie
	Track media.Track
	Run   media.RunID // of the picture: with Start it names it for good, also where its file is written anew
}

// Sample is the picture as the camera sent it, without a container: of MJPEG a
// whole JPEG. Either it or Body is read and released, not both.
func (f *Frame) Sample() *timeline.Body {
	cut := f.plan.files[0]
	b := new(timeline.Body)
	b.Hold(f.plan.lazy)
	b.AddFile(f.plan.lazy.File(cut.file), cut.from, cut.to-cut.from)
	return b
}

// Frame plans an MP4 of one picture: the last video key frame at or before at,
// in the same run, or the first one after it in its segment. It needs no
// decoder here.
func (s *Server) Frame(uid string, at media.Wall) (*Frame, error) {
	// Who asks for where footage begins was told that in whole milliseconds.
	segs, err := s.src.Segments(uid, media.Span{From: at.Add(-lookBack), To: at.Add(time.Millisecond)})
	if err != nil {
		return nil, err
	}
	for i := len(segs) - 1; i >= 0; i-- {
		m, ok, err := s.frameOf(uid, segs[i], at)
		if err != nil || ok {
			return m, err
		}
		if segs[i].Span.From <= at && i > 0 && segs[i-1].Run != segs[i].Run {
			break
		}
	}
	return nil, timeline.ErrNoFootage
}

// frameOf takes the picture out of one segment, if a key frame is there.
func (s *Server) frameOf(uid string, seg archive.Segment, at media.Wall) (*Frame, bool, error) {
	l, err := s.src.Layout(uid, seg.File)
	if err != nil {
		return nil, false, err
	}
	tracks, err := s.src.Tracks(uid, seg.Init)
	if err != nil {
		return nil, false, err
	}
	var video []media.Track
	for _, t := range tracks {
		if t.Kind() == media.Video && len(video) == 0 {
			video = append(video, t)
		}
	}
	if len(video) == 0 || !hasKey(l, seg, video[0].ID) {
		return nil, false, nil
	}
	p := s.plan(uid)
	var before bool
	p.start, before, _ = startTime(l, video, at)
	if !before && seg.Span.From <= at {
		return nil, false, nil // the picture before lies in an earlier file
	}
	p.addFile(&archive.Extent{File: seg.File, Init: seg.Init, Zero: seg.Zero, Run: seg.Run}, l, p.join(seg.Init, video), p.start.Add(lookBack))
	for _, f := range p.files {
		for i := range f.tracks {
			f.keepFirst(l, &f.tracks[i], p.tracks[i])
		}
	}
	p.settle()
	if len(p.files) == 0 || len(p.tracks) == 0 {
		return nil, false, nil
	}
	if err := p.count(); err != nil {
		return nil, false, err
	}
	m, err := p.build()
	if err != nil {
		return nil, false, err
	}
	return &Frame{Movie: m, Track: p.tracks[0].entries[0], Run: seg.Run}, true, nil
}

func hasKey(l *archive.Layout, seg archive.Segment, track int) bool {
	for i := range l.Segments {
		if l.Segments[i].Number != seg.Number {
			continue
		}
		for fi := l.Segments[i].First; fi < l.Segments[i].Last; fi++ {
			if l.Fragments[fi].Track != track {
				continue
			}
			for _, s := range l.Fragments[fi].Samples {
				if s.Key {
					return true
				}
			}
		}
	}
	return false
}

// keepFirst cuts down to the first sample and the bytes of that alone.
func (f *fileCut) keepFirst(l *archive.Layout, c *trackCut, out *outTrack) {
	if c.n() == 0 {
		return
	}
	c.last = c.first + 1
	n := 0
	for i := range l.Fragments {
		fr := &l.Fragments[i]
		if fr.Track != c.track {
			continue
		}
		if n+len(fr.Samples) <= c.first {
			n += len(fr.Samples)
			continue
		}
		off := fr.DataOffset
		for _, s := range fr.Samples[:c.first-n] {
			off += int64(s.Size)
		}
		s := fr.Samples[c.first-n]
		f.from, f.to = off, off+int64(s.Size)
		c.lastStart = c.base
		c.end = c.base + max(int64(s.Duration), 1)
		return
	}
}
