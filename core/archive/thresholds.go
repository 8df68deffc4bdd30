package archive

import (
	"fmt"
	"slices"
	"time"
)

// Three thresholds of free space each raise an event and clear it, one percent
// above, so that what goes up and down around one does not tell about it all day:
//
//	overwrite-free  storage.overwriting   from here on the oldest footage goes
//	alarm-free      storage.low           and that does not help, or is not allowed
//	reserve         storage.reserve       nothing more is written
const (
	overwriteFree = "overwrite-free"
	alarmFree     = "alarm-free"
	reserveFree   = "reserve"
)

// lowKey is a threshold of a space.
type lowKey struct{ space, threshold string }

type lowState struct {
	since time.Time
	told  bool
}

// levels are the thresholds that are passed just now; retention's goroutine
// alone has them.
type levels map[lowKey]*lowState

// checkFree raises and clears what each space's fill says. storage.low comes
// when free space stays under alarm-free for five minutes though overwriting
// ran, or the pool may not overwrite.
func (a *Archive) checkFree(low levels) {
	there := map[string]bool{}
	for _, s := range a.allSpaces() {
		name := s.cfg.Name
		there[name] = true
		s.mu.Lock()
		u, full := s.usage, s.full
		s.mu.Unlock()
		if u.Total == 0 {
			continue
		}
		var alarm, overwrite int64
		for _, p := range a.allPools() {
			if !slices.Contains(p.Spaces, name) {
				continue
			}
			alarm = max(alarm, p.AlarmFree.Of(u.Total))
			if p.Overwrite {
				overwrite = max(overwrite, p.OverwriteFree.Of(u.Total))
			}
		}
		_, may := a.overwriteFree(s, u.Total)
		wait := time.Duration(0)
		if may {
			wait = alarmAfter
		}
		a.level(low, lowKey{name, overwriteFree}, &u, overwrite, u.Free < overwrite, 0,
			Notice{Type: "storage.overwriting", Level: "info", Message: fmt.Sprintf("space %s: less than overwrite-free is free, the oldest footage goes", name)},
			Notice{Type: "storage.overwriting", Level: "info", Message: fmt.Sprintf("space %s: nothing has to be overwritten any more", name)})
		a.level(low, lowKey{name, alarmFree}, &u, alarm, u.Free < alarm, wait,
			Notice{Type: "storage.low", Level: "warning", Message: fmt.Sprintf("space %s: %d of %d bytes are free", name, u.Free, u.Total)},
			Notice{Type: "storage.ok", Level: "info", Message: fmt.Sprintf("space %s has room again", name)})
		a.level(low, lowKey{name, reserveFree}, &u, 0, u.Free <= 0 || full, 0,
			Notice{Type: "storage.reserve", Level: "error", Message: fmt.Sprintf("space %s: no more than its reserve is free, nothing more is written there", name)},
			Notice{Type: "storage.reserve", Level: "info", Message: fmt.Sprintf("space %s: there is room above its reserve again", name)})
	}
	for k := range low {
		if !there[k.space] {
			delete(low, k)
		}
	}
}

// level tells once that a threshold (at bytes) is passed, for wait at least, and
// once that it is not any more.
func (a *Archive) level(low levels, k lowKey, u *Usage, at int64, under bool, wait time.Duration, raised, cleared Notice) {
	l := low[k]
	tell := func(n Notice, is bool) {
		n.Data = map[string]any{"space": k.space, "threshold": k.threshold, "bytes": at, "free": u.Free, "total": u.Total, "raised": is}
		a.notify(n)
	}
	switch {
	case under:
		if l == nil {
			l = &lowState{since: time.Now()}
			low[k] = l
		}
		if !l.told && time.Since(l.since) >= wait {
			l.told = true
			tell(raised, true)
		}
	case l != nil && u.Free >= at+u.Total/100:
		delete(low, k)
		if l.told {
			tell(cleared, false)
		}
	}
}
