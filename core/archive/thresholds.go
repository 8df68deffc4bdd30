package archive

import (
	"fmt"
	"slices"
	"time"
)

// Three thresholds of free space each raise an event and clear it, one percent
// above, so that what goes up and down around one does not tell about it all day
// (alarm-free also where free space stays above it for five minutes: overwriting
// frees no more than it has to, and never reaches that percent):
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
	since time.Time // under without a break, or told
	above time.Time // told, but not under since then; zero = under
	told  bool
}

// levels are the thresholds that are passed just now; retention's goroutine
// alone has them.
type levels map[lowKey]*lowState

// lowAlarm is that less than alarm-free is free in a space, as it was told; s.mu.
type lowAlarm struct {
	since time.Time // zero = there is none
	at    int64     // alarm-free, in bytes
}

// limit is a threshold of a space, and how it stands.
type limit struct {
	lowKey
	at    int64
	free  int64         // as this threshold sees it
	under bool          // it is passed
	wait  time.Duration // that it has to be passed before it is told
	calm  time.Duration // that it must not be passed before it is over, other than by one percent; 0 = only by that
}

// checkFree raises and clears what each space's fill says. storage.low comes
// when free space stays under alarm-free for five minutes though overwriting
// ran, or the pool may not overwrite. What is free is what a pass of retention
// left behind: before it, a recorder that is simply full always has less than
// overwrite-free. storage.overwriting is about just that.
func (a *Archive) checkFree(low levels) {
	there := map[string]bool{}
	for _, s := range a.allSpaces() {
		name := s.cfg.Name
		there[name] = true
		s.mu.Lock()
		u, full, found, came := s.usage, s.full, s.found, s.came
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
		_, may := a.overwriteFree(s, u.Total, wish{})
		wait := time.Duration(0)
		if may {
			wait = alarmAfter
		}
		found = min(found, u.Free)
		a.level(low, u.Total, limit{lowKey: lowKey{name, overwriteFree}, at: overwrite, free: u.Free, under: found < overwrite},
			Notice{Type: "storage.overwriting", Level: "info", Message: fmt.Sprintf("space %s: less than overwrite-free is free, the oldest footage goes", name)},
			Notice{Type: "storage.overwriting", Level: "info", Message: fmt.Sprintf("space %s: nothing has to be overwritten any more", name)})
		since := a.level(low, u.Total, limit{lowKey: lowKey{name, alarmFree}, at: alarm, free: u.Free + came, under: u.Free+came < alarm, wait: wait, calm: alarmAfter},
			Notice{Type: "storage.low", Level: "warning", Message: fmt.Sprintf("space %s: %d of %d bytes are free", name, u.Free, u.Total)},
			Notice{Type: "storage.ok", Level: "info", Message: fmt.Sprintf("space %s has room again", name)})
		a.level(low, u.Total, limit{lowKey: lowKey{name, reserveFree}, free: u.Free, under: u.Free <= 0 || full},
			Notice{Type: "storage.reserve", Level: "error", Message: fmt.Sprintf("space %s: no more than its reserve is free, nothing more is written there", name)},
			Notice{Type: "storage.reserve", Level: "info", Message: fmt.Sprintf("space %s: there is room above its reserve again", name)})
		s.mu.Lock()
		s.low = lowAlarm{since, alarm}
		s.mu.Unlock()
	}
	for k := range low {
		if !there[k.space] {
			delete(low, k)
		}
	}
}

// level tells once that a threshold of a space of total bytes is passed, for
// x.wait at least without a break, and once that it is not any more. It returns
// since when what was told holds; zero = nothing was.
func (a *Archive) level(low levels, total int64, x limit, raised, cleared Notice) time.Time {
	l, now := low[x.lowKey], time.Now()
	tell := func(n Notice, is bool) {
		n.Data = map[string]any{"space": x.space, "threshold": x.threshold, "bytes": x.at, "free": x.free, "total": total, "raised": is}
		a.notify(n)
	}
	switch {
	case x.under:
		if l == nil {
			l = &lowState{since: now}
			low[x.lowKey] = l
		}
		l.above = time.Time{}
		if !l.told && now.Sub(l.since) >= x.wait {
			l.told = true
			tell(raised, true)
		}
	case l != nil && !l.told:
		delete(low, x.lowKey)
	case l != nil:
		if l.above.IsZero() {
			l.above = now
		}
		if x.free >= x.at+total/100 || x.calm > 0 && now.Sub(l.above) >= x.calm {
			delete(low, x.lowKey)
			tell(cleared, false)
		}
	}
	if l = low[x.lowKey]; l == nil || !l.told {
		return time.Time{}
	}
	return l.since
}
