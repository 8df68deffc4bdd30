package picture

import (
	"media-server/core/media"
	"media-server/core/timeline"
)

type Picture struct {
	Body *timeline.Body
	At   media.Wall
}
type Server struct{}

func New(*timeline.Timeline) *Server { return &Server{} }
func (s *Server) At(uid string, at media.Wall, live bool) (*Picture, error) {
	return nil, timeline.ErrNoFootage
}
