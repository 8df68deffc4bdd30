package picture

import (
	"errors"

	"media-server/core/media"
	"media-server/core/mp4"
	"media-server/core/still"
	"media-server/core/timeline"
)

// Source is what this room needs of the timeline.
type Source interface {
	mp4.Source
	Newest(uid string) (media.Wall, bool)
}

// Decoder makes a JPEG of a key frame's MP4 (still).
type Decoder interface {
	JPEG(of still.Shot, movie func() ([]byte, error)) ([]byte, error)
}

// Camera gives the picture that a stream's camera itself made, a second ago at most. The
// bytes are nobody's to change. Safe for concurrent use.
type Camera interface {
	Snapshot(uid string) (jpeg []byte, at media.Wall, err error)
}

// ErrNoSnapshot: the camera makes no pictures by itself, or may not be asked.
var ErrNoSnapshot = errors.New("the camera makes no pictures by itself")

// Server answers for all streams. Safe for concurrent use.
type Server struct {
	src Source
	mp4 *mp4.Server
	dec Decoder
	cam Camera
}

// New makes a server over src and dec; cam may be nil.
func New(src Source, dec Decoder, cam Camera) *Server { return &Server{src, mp4.New(src), dec, cam} }

// Picture is a planned picture.
type Picture struct {
	Body *timeline.Body
	At   media.Wall // when it was taken, server clock
}

// At plans the picture at a time, or, live, the newest. The error wraps
// timeline.ErrNoFootage when there is none.
func (s *Server) At(uid string, at media.Wall, live bool) (*Picture, error) {
	m, _, err := s.frame(uid, at, live)
	if err != nil {
		return nil, err
	}
	return &Picture{Body: m.Body, At: m.Start}, nil
}

// frame plans the frame, and tells where the footage ended then.
func (s *Server) frame(uid string, at media.Wall, live bool) (*mp4.Frame, media.Wall, error) {
	end, ok := s.src.Newest(uid)
	if !ok {
		return nil, 0, timeline.ErrNoFootage
	}
	if live {
		at = end
	}
	m, err := s.mp4.Frame(uid, at)
	return m, end, err
}
