package hls

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
	"media-server/core/timeline"
)

// A scrub playlist (EXT-X-I-FRAMES-ONLY, RFC 8216 4.3.3.6) has one picture for
// each segment that begins with a key frame: enough to look through a day at a
// hundred times its speed, forward and backward, from a thousandth of the bytes.
//
//	Segments ─▶ Scrub: <ms>-<n>-k.m4s … ─▶ keyFrame: moof of one sample + its bytes from the file

// keyOnly marks the names of what is served so.
const keyOnly = "-k"

// Scrub writes the scrub playlist of a range, as far as there is footage now. The
// error wraps ErrCodec where no pictures are that HLS can carry.
func (s *Server) Scrub(req Request) ([]byte, error) {
	if req.Span.To == 0 {
		req.Span.To = 1<<63 - 1
	}
	segs, err := s.span(req.UID, req.Span)
	if err != nil {
		return nil, err
	}
	pictures, out, err := s.withPictures(req.UID, segs)
	if err != nil {
		return nil, err
	}
	stored := make([]media.Wall, len(segs))
	for i := range segs {
		stored[i] = segs[i].Span.From
	}
	all := entries(segs, stored)
	var es []picture
	breaks := 0
	for i := range all {
		e := &all[i]
		if i > 0 && e.discontinuity != all[i-1].discontinuity {
			breaks++
		}
		switch {
		case e.gap || !pictures[e.init]:
		case e.independent:
			es = append(es, picture{*e, breaks})
			breaks = 0
		case len(es) > 0 && es[len(es)-1].to == e.from: // without a key frame: the picture before is shown on
			es[len(es)-1].to = e.to
		}
	}
	if len(es) == 0 {
		if len(segs) > 0 && len(out) > 0 {
			return nil, fmt.Errorf("%w: %s", ErrCodec, strings.Join(out, ", "))
		}
		return nil, ErrNoFootage
	}
	return scrubPlaylist(es, all[0].discontinuity, req.Carry), nil
}

// picture is an entry of a scrub playlist. Discontinuities are counted as in the media
// playlist of the same range (RFC 8216 6.2.4), also those of what is left out.
type picture struct {
	entry
	breaks int // discontinuities behind the picture before
}

// withPictures tells of which inits of segments HLS carries pictures, and what the
// others have in their place.
func (s *Server) withPictures(uid string, segs []archive.Segment) (map[archive.InitID]bool, []string, error) {
	has := map[archive.InitID]bool{}
	var out []string
	for id := range initsOf(segs) {
		tracks, err := s.src.Tracks(uid, id)
		if err != nil {
			return nil, nil, err
		}
		in, _ := Carried(ofVideo(tracks))
		if has[id] = len(in) > 0; has[id] {
			continue
		}
		what := "the stream has no pictures"
		if _, codecs := Carried(ofVideo(tracks)); len(codecs) > 0 {
			what = "the stream's pictures are " + strings.Join(codecs, ", ")
		}
		if !slices.Contains(out, what) {
			out = append(out, what)
		}
	}
	slices.Sort(out)
	return has, out, nil
}

func scrubPlaylist(es []picture, discontinuity uint64, carry string) []byte {
	target := 1
	for i := range es {
		target = max(target, int(seconds(es[i].to-es[i].from)+0.5))
	}
	if carry != "" {
		carry = "?" + carry
	}
	var b bytes.Buffer
	b.Grow(256 + 110*len(es))
	fmt.Fprintf(&b, "#EXTM3U\n#EXT-X-VERSION:8\n#EXT-X-TARGETDURATION:%d\n#EXT-X-MEDIA-SEQUENCE:0\n#EXT-X-DISCONTINUITY-SEQUENCE:%d\n#EXT-X-PLAYLIST-TYPE:VOD\n#EXT-X-I-FRAMES-ONLY\n", target, discontinuity)
	var date dates
	for i := range es {
		e := &es[i]
		for range e.breaks {
			b.WriteString("#EXT-X-DISCONTINUITY\n")
		}
		if i == 0 || e.init != es[i-1].init {
			e.writeMap(&b, string(picturesOnly), carry)
		}
		e.write(&b, &date, nil, keyOnly, ".m4s", carry)
	}
	b.WriteString("#EXT-X-ENDLIST\n")
	return b.Bytes()
}

// keyFrame plans the picture that a segment begins with, shown for all of it.
func (s *Server) keyFrame(uid string, seg archive.Segment, body *timeline.Body) error {
	tracks, err := s.src.Tracks(uid, seg.Init)
	if err != nil {
		return err
	}
	video, _ := Carried(ofVideo(tracks))
	if len(video) == 0 {
		return ErrNotFound
	}
	lay, err := s.src.Layout(uid, seg.File)
	if err != nil {
		return err
	}
	i := slices.IndexFunc(lay.Segments, func(x archive.SegmentLayout) bool { return x.Number == seg.Number })
	if i < 0 {
		return ErrNotFound
	}
	sl := &lay.Segments[i]
	k := slices.IndexFunc(lay.Fragments[sl.First:sl.Last], func(f archive.Fragment) bool { return f.Track == video[0].ID && len(f.Samples) > 0 })
	if k < 0 || !lay.Fragments[sl.First+k].Samples[0].Key {
		return ErrNotFound
	}
	fr := &lay.Fragments[sl.First+k]
	key := fr.Samples[0]
	key.Duration = uint32(max(media.TicksOf(seg.Span.Duration(), video[0].Timescale), 1))
	f, err := s.src.Pin(uid, seg.File)
	if err != nil {
		return err
	}
	body.Hold(f)
	body.Add(mux.AppendFragmentHead(nil, fr.Track, uint32(seg.Number), fr.BaseTime, []media.Sample{key}))
	body.AddFile(f, fr.DataOffset, int64(key.Size))
	return nil
}
