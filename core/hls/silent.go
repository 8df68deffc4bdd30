package hls

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/mux"
)

// Old footage that was groomed has lost its sound. A playlist that reaches from
// there into footage with sound carries pictures only, all along: ffmpeg takes
// no second EXT-X-MAP and stops at the first sound, and Media Source Extensions
// play nothing of a track set of which one has no samples. The sound is in
// record.mp4, and in a playlist of the rest.

// silent tells whether the inits of a range are those of groomed footage and of
// footage with carried sound beside it: one of them is what grooming leaves of another.
func (s *Server) silent(req Request, inits map[archive.InitID]bool) (bool, error) {
	if len(inits) < 2 {
		return false, nil
	}
	for id := range inits {
		tracks, err := s.src.Tracks(req.UID, id)
		if err != nil {
			return false, err
		}
		in, _ := req.carried(tracks)
		pictures := ofVideo(tracks)
		if len(ofVideo(in)) == 0 || len(ofVideo(in)) == len(in) {
			continue // without pictures, or without sound
		}
		b, err := mux.Init(pictures)
		if err != nil {
			return false, fmt.Errorf("init of the pictures of %s: %w", id, err)
		}
		sum := sha256.Sum256(b)
		if inits[archive.InitID(binary.BigEndian.Uint64(sum[:]))] {
			return true, nil
		}
	}
	return false, nil
}

// allAlong leaves out of the tracks at the end of a range those that its playlist
// does not carry (silent).
func (s *Server) allAlong(req Request, in []media.Track, end archive.InitID) ([]media.Track, error) {
	if req.Live {
		return in, nil
	}
	inits, err := s.initsAlong(req)
	if err != nil {
		return nil, err
	}
	inits[end] = true
	silent, err := s.silent(req, inits)
	if err != nil || !silent {
		return in, err
	}
	return ofVideo(in), nil
}

// initsAlong are the inits of the footage that the playlist of req covers.
func (s *Server) initsAlong(req Request) (map[archive.InitID]bool, error) {
	if req.Live {
		segs, err := s.src.Last(req.UID, 24)
		return initsOf(segs), err
	}
	span := req.Span
	if span.To == 0 {
		span.To = 1<<63 - 1
	}
	exts, err := s.src.Extents(req.UID, span)
	m := map[archive.InitID]bool{}
	for i := range exts {
		m[exts[i].Init] = true
	}
	return m, err
}

func ofVideo(tracks []media.Track) (out []media.Track) {
	for _, t := range tracks {
		if t.Kind() == media.Video {
			out = append(out, t)
		}
	}
	return out
}

// cutMark takes a mark out of a name.
func cutMark(name, mark, ext string) (string, bool) {
	base, ok := strings.CutSuffix(name, mark+ext)
	if !ok {
		return name, false
	}
	return base + ext, true
}

func initsOf(segs []archive.Segment) map[archive.InitID]bool {
	m := map[archive.InitID]bool{}
	for i := range segs {
		m[segs[i].Init] = true
	}
	return m
}
