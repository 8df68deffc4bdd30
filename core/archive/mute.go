package archive

import (
	"context"
	"errors"
	"time"
)

// errMute: a space that did not answer has not done so yet.
var errMute = errors.New("the space does not answer")

const (
	askMost   = 5 * time.Second
	answerFor = 2 * time.Minute // so long an answer that was waited for in the background is good
)

// mute is how a space stands that did not answer in time how full it is; s.mu. It is
// asked on in the background: each pass, and whoever wants room in another space,
// would wait for every disk that hangs. One that is only slow is known by what it
// said last.
type mute struct {
	is     bool
	asking bool
	answer Usage
	at     time.Time // of the answer; zero = there is none
}

// ask asks a space how full it is.
func (s *space) ask(ctx context.Context) (Usage, error) {
	s.mu.Lock()
	m := s.mute
	s.mu.Unlock()
	if m.is {
		s.askOn()
		if !m.at.IsZero() && time.Since(m.at) < answerFor {
			return m.answer, nil
		}
		return Usage{}, errMute
	}
	uctx, cancel := context.WithTimeout(ctx, askMost)
	defer cancel()
	u, err := s.st.Usage(uctx)
	if err != nil && uctx.Err() != nil && ctx.Err() == nil {
		s.mu.Lock()
		s.mute.is = true
		s.mu.Unlock()
		s.a.log.Warn("a space does not tell how full it is, it is asked on", "space", s.cfg.Name)
	}
	return u, err
}

// askOn asks a mute space, if that is not being done already.
func (s *space) askOn() {
	s.mu.Lock()
	asking := s.mute.asking
	s.mute.asking = true
	s.mu.Unlock()
	if asking {
		return
	}
	if !s.a.background(s.askInBackground) {
		s.mu.Lock()
		s.mute.asking = false
		s.mu.Unlock()
	}
}

func (s *space) askInBackground(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	begun := time.Now()
	u, err := s.st.Usage(ctx)
	s.mu.Lock()
	m := &s.mute
	known := !m.at.IsZero() && time.Since(m.at) < answerFor
	m.asking = false
	switch {
	case err == nil:
		m.answer, m.at, m.is = u, time.Now(), time.Since(begun) > askMost
	case ctx.Err() == nil: // it answers, if not well
		m.is = false
	}
	news := err == nil && (!known || !m.is)
	s.mu.Unlock()
	if news {
		poke(s.a.ensured)
	}
}
