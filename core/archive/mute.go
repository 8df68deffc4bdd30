package archive

import (
	"context"
	"errors"
	"time"
)

// errMute: a space that did not answer has not done so yet.
var errMute = errors.New("the space does not answer")

const askMost = 5 * time.Second

// ask asks a space how full it is. One that did not answer in time is asked on in the
// background, and is not waited for until it has answered: each pass, and whoever
// wants room in another space, would wait for every disk that hangs.
func (s *space) ask(ctx context.Context) (Usage, error) {
	if s.isMute() {
		s.askOn()
		return Usage{}, errMute
	}
	uctx, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	u, err := s.st.Usage(uctx)
	if err != nil && uctx.Err() != nil && ctx.Err() == nil {
		s.mu.Lock()
		s.mute = true
		s.mu.Unlock()
	}
	return u, err
}

// isMute tells whether the space has not answered the question that it was asked.
func (s *space) isMute() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.mute
}

// askOn asks a mute space, if that is not being done already.
func (s *space) askOn() {
	s.mu.Lock()
	asking := s.asking
	s.asking = true
	s.mu.Unlock()
	if asking {
		return
	}
	if !s.a.background(func(ctx context.Context) {
		ctx, cancel := context.WithTimeout(ctx, time.Minute)
		defer cancel()
		_, err := s.st.Usage(ctx)
		s.mu.Lock()
		s.asking, s.mute = false, err != nil && ctx.Err() != nil
		s.mu.Unlock()
		if err == nil {
			poke(s.a.ensured)
		}
	}) {
		s.mu.Lock()
		s.asking = false
		s.mu.Unlock()
	}
}
