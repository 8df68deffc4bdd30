package archive

import (
	"fmt"
	"time"
)

// slowAfter is how many rounds in a row have to be slow, or in time again, before
// anything is said: one long one is a disk that woke up.
const slowAfter = 3

// syncPace watches whether a space makes durable what is written as often as its
// settings promise. A round that outlasts the interval stretches it, and then a
// power cut loses more than was promised.
type syncPace struct {
	slow, quick int           // rounds in a row
	told        time.Duration // what the last slow round took, while it is told of; 0 = all is well
	since       time.Time
}

// round takes in what a round took, and tells whether that is to be told.
func (p *syncPace) round(took, interval time.Duration) (changed bool) {
	if interval <= 0 || took <= interval {
		p.slow, p.quick = 0, p.quick+1
		if changed = p.told > 0 && (p.quick >= slowAfter || interval <= 0); changed {
			p.told = 0
		}
		return changed
	}
	p.slow, p.quick = p.slow+1, 0
	if changed = p.told == 0 && p.slow >= slowAfter; changed {
		p.since = time.Now()
	}
	if changed || p.told > 0 {
		p.told = took
	}
	return changed
}

// paced takes in a round of syncs, and tells about a space that has become slow.
func (s *space) paced(took time.Duration) {
	interval := time.Duration(s.fsync.Load())
	s.mu.Lock()
	changed := s.pace.round(took, interval)
	slow := s.pace.told
	s.mu.Unlock()
	switch {
	case changed && slow > 0:
		s.a.notify(Notice{Type: "storage.slow", Level: "warning", Message: fmt.Sprintf("space %s: a sync takes %s, longer than fsync = %s: a power cut loses up to that much more", s.cfg.Name, slow.Round(time.Millisecond), interval),
			Data: map[string]any{"space": s.cfg.Name, "took_ms": slow.Milliseconds()}})
	case changed:
		s.a.notify(Notice{Type: "storage.ok", Level: "info", Message: fmt.Sprintf("space %s: syncs take no longer than fsync = %s again", s.cfg.Name, interval), Data: map[string]any{"space": s.cfg.Name}})
	}
}
