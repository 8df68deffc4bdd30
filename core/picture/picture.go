package picture

import (
	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/timeline"
)

// Source is what this room needs of the timeline.
type Source interface {
	mp4.Source
	Newest(uid string) (media.Wall, bool)
}

// Server answers for all streams. Safe for concurrent use.
type Server struct {
	src Source
	mp4 *mp4.Server
}

// New makes a server over src.
func New(src Source) *Server { return &Server{src, mp4.New(src)} }

// Picture is a planned picture.
type Picture struct {
	Body *timeline.Body
	At   media.Wall // when it was taken, server clock
}

// At plans the picture at a time, or, live, the newest. The error wraps
// timeline.ErrNoFootage when there is none.
func (s *Server) At(uid string, at media.Wall, live bool) (*Picture, error) {
	end, ok := s.src.Newest(uid)
	if !ok {
		return nil, timeline.ErrNoFootage
	}
	if live {
		at = end
	}
	m, err := s.mp4.Frame(uid, at)
	if err != nil {
		return nil, err
	}
	return &Picture{Body: m.Body, At: m.Start}, nil
}
