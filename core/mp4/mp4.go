package mp4

import (
	"media-server/core/media"
	"media-server/core/timeline"
)

type Movie struct {
	Body  *timeline.Body
	ETag  string
	Start media.Wall
}
type Server struct{}

func New(*timeline.Timeline) *Server { return &Server{} }
func (s *Server) Record(uid string, span media.Span) (*Movie, error) {
	return nil, timeline.ErrNoFootage
}
