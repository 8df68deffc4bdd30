package stream

import (
	"fmt"

	"media-server/core/archive"
	"media-server/core/media"
)

// Record switches recording on (with a recorder of the stream) or off (with
// nil), and leaves the capture alone: the camera does not notice. What is
// recorded begins with the next key frame, and ends now.
func (s *Stream) Record(rec Recorder) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.over {
		if rec != nil {
			rec.Close()
		}
		return
	}
	if r := s.cur; r != nil {
		if err := s.flush(r); err != nil {
			s.dep.Log.Warn("the end of a recording could not be stored", "stream", s.spec.Capture.UID, "err", err)
		}
	}
	cfg := s.clockConfig()     // behind what was flushed just now
	numbers := s.nextNumbers() // behind what was flushed just now
	if old := s.dep.Recorder; old != nil {
		old.End(archive.GapDisabled)
		old.Close()
	}
	s.dep.Recorder, s.dep.First, s.ring, s.gate = rec, numbers, nil, nil
	s.handed, s.resume, s.lost = media.RunPosition{}, nil, archive.GapNone
	s.leftOut.Store(nil)
	s.durableTo.Store(nil)
	s.status.Recording = rec != nil
	if rec == nil {
		s.ring = newRing(s.spec.Capture.UID, fmt.Sprint(s.spec.Capture.UID, s.dep.Now().UnixNano()))
	} else {
		rec.OnDurable(s.durable)
		if s.setGate(s.modes); s.gate != nil {
			s.status.Recording = false
		}
	}
	if r := s.cur; r != nil {
		cfg.NotBefore = max(cfg.NotBefore, s.clockConfig().NotBefore)
		r.restart(cfg)
	}
	if s.behind { // of a storage that is not asked any more
		s.behind, s.cur = false, nil
		if s.session != nil {
			s.session.Resubscribe()
		}
	}
}
