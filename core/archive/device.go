package archive

import (
	"context"
	"database/sql"
	"errors"
	"syscall"
	"time"
)

// asks is what thresholds and limits want freed in a space, of which v is known
// and t bytes of whose disk are to be free. What the disk is short of, each of the
// spaces on it sees whole: together they free it once, each as much of it as of
// their footage lies there, so that both keep theirs for as long as before.
func (a *Archive) asks(ctx context.Context, s *space, v Usage, t int64, w wish) int64 {
	short := max(0, t-v.Free)
	if short == 0 {
		return 0
	}
	var own int64 // by its own limit
	if s.wished(w).Size != (Threshold{}) {
		own = max(0, t-(v.Total-v.Used))
	}
	return max(own, int64(float64(short)*a.shareOfDevice(ctx, s, v.Used, w)))
}

// shareOfDevice is a space's part of what lies in all spaces on its disk that may be
// overwritten.
func (a *Archive) shareOfDevice(ctx context.Context, s *space, used int64, w wish) float64 {
	all := a.allSpaces()
	if len(all) < 2 || used <= 0 {
		return 1
	}
	disk, known := a.deviceOf(ctx, s)
	if !known {
		return 1
	}
	sum := used
	for _, x := range all {
		if _, may := a.overwriteFree(x, 0, w); x == s || !may || !x.readable() {
			continue
		}
		if d, ok := a.deviceOf(ctx, x); ok && d == disk {
			x.mu.Lock()
			sum += x.usage.Used
			x.mu.Unlock()
		}
	}
	return float64(used) / float64(sum)
}

// deviceOf is the file system that a space lies on, as this machine numbers it, told
// by one of its files; not known of a space without any, or whose storage gives no
// descriptors.
func (a *Archive) deviceOf(ctx context.Context, s *space) (disk uint64, known bool) {
	s.mu.Lock()
	disk, known = s.device, s.deviceKnown
	can := s.opened && s.info.Descriptors
	s.mu.Unlock()
	if known || !can {
		return disk, known
	}
	var name string
	err := a.cat.reader().QueryRow("SELECT name FROM files WHERE space = (SELECT id FROM spaces WHERE name = ?) AND flags & 3 = 0 LIMIT 1", s.cfg.Name).Scan(&name)
	if err != nil {
		if !errors.Is(err, sql.ErrNoRows) {
			a.log.Warn("the disk of a space cannot be told", "space", s.cfg.Name, "err", err)
		}
		return 0, false
	}
	fctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	f, err := s.st.File(fctx, name)
	if err != nil {
		return 0, false // the next pass asks again
	}
	defer f.Close()
	fi, err := f.Stat()
	if err != nil {
		return 0, false
	}
	st, is := fi.Sys().(*syscall.Stat_t)
	if !is {
		return 0, false
	}
	s.mu.Lock()
	s.device, s.deviceKnown = st.Dev, true
	s.mu.Unlock()
	return st.Dev, true
}
