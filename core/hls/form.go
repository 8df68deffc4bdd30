package hls

import (
	"strings"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/timeline"
)

// form is what is served of a stream's tracks. It stands in the names of inits
// and segments, so that nobody's cache mixes them, and a playlist that was loaded
// before a form was invented goes on with the names that it knows.
type form string

const (
	plain        form = ""   // what browsers play of it as it is
	picturesOnly form = "-v" // silent.go
	soundAsFLAC  form = "-f" // flac.go
)

// cutForm takes the form out of a name.
func cutForm(name, ext string) (string, form) {
	for _, f := range []form{picturesOnly, soundAsFLAC} {
		if base, ok := strings.CutSuffix(name, string(f)+ext); ok {
			return base + ext, f
		}
	}
	return name, plain
}

// forms tells in which form the footage of each init is listed in a playlist.
func (s *Server) forms(req Request, inits map[archive.InitID]bool) (map[archive.InitID]form, error) {
	m := make(map[archive.InitID]form, len(inits))
	pictures, err := s.silent(req, inits)
	if err != nil {
		return nil, err
	}
	for id := range inits {
		switch {
		case pictures:
			m[id] = picturesOnly
		case req.FLAC:
			tracks, err := s.src.Tracks(req.UID, id)
			if err != nil {
				return nil, err
			}
			if converts(tracks) {
				m[id] = soundAsFLAC
			}
		}
	}
	return m, nil
}

// mute tells whether a playlist carries pictures only.
func mute(forms map[archive.InitID]form) bool {
	for _, f := range forms {
		return f == picturesOnly // one is as all are
	}
	return false
}

// carried gives the tracks that are served in a form, and names the others.
func (f form) carried(tracks []media.Track) (in []media.Track, out []string) {
	in, out = Request{FLAC: f == soundAsFLAC}.carried(tracks)
	if f == picturesOnly {
		in = ofVideo(in)
	}
	return in, out
}

// add appends a fragment of a carried track to a body: the stored bytes, or what
// is made of them.
func (f form) add(body *timeline.Body, file timeline.File, fr *archive.Fragment, t media.Track) error {
	if f == soundAsFLAC && converts([]media.Track{t}) {
		return addFLAC(body, file, fr, t)
	}
	body.AddFile(file, fr.MoofOffset, fr.End()-fr.MoofOffset)
	return nil
}
