package archive

import (
	"fmt"
	"slices"
	"time"
)

type lowState struct {
	since time.Time
	told  bool
}

// checkFree raises storage.low when free space stays under the alarm for five
// minutes though overwriting ran, or the pool may not overwrite, and clears it
// one percent above.
func (a *Archive) checkFree(low map[string]*lowState) {
	for _, s := range a.allSpaces() {
		s.mu.Lock()
		u := s.usage
		s.mu.Unlock()
		if u.Total == 0 {
			continue
		}
		var alarm int64
		for _, p := range a.allPools() {
			if slices.Contains(p.Spaces, s.cfg.Name) {
				alarm = max(alarm, p.AlarmFree.Of(u.Total))
			}
		}
		l := low[s.cfg.Name]
		_, may := a.overwriteFree(s, u.Total)
		switch {
		case u.Free < alarm && l == nil:
			l = &lowState{since: time.Now()}
			low[s.cfg.Name] = l
			fallthrough
		case u.Free < alarm:
			if !l.told && (!may || time.Since(l.since) >= alarmAfter) {
				l.told = true
				a.notify(Notice{Type: "storage.low", Level: "warning", Message: fmt.Sprintf("space %s: %d of %d bytes are free", s.cfg.Name, u.Free, u.Total),
					Data: map[string]any{"space": s.cfg.Name, "free": u.Free, "total": u.Total}})
			}
		case l != nil && u.Free >= alarm+u.Total/100:
			delete(low, s.cfg.Name)
			if l.told {
				a.notify(Notice{Type: "storage.ok", Level: "info", Message: fmt.Sprintf("space %s has room again", s.cfg.Name), Data: map[string]any{"space": s.cfg.Name}})
			}
		}
	}
}

// LockAlarm is a pool in which locks leave so little room that unlocked footage
// will not be kept as promised, or for less than lockAlarm.
type LockAlarm struct {
	Pool   string
	Locked int64
	Usable int64
	Kept   time.Duration // age at which unlocked footage will have to go
	Wanted time.Duration
}

// lockAlarm is how long unlocked footage has to be kept before locks are no
// reason for an alarm; a longer dvr-keep of a stream counts instead.
const (
	lockAlarm     = 3 * 24 * time.Hour
	outlookEvery  = 10 * time.Minute
	lockAlarmType = "storage.locked"
)

// checkLocks looks days ahead: where locks leave too little room for everything
// else, somebody has to know while there is still time.
func (a *Archive) checkLocks() {
	if len(a.locks.uids()) == 0 && len(a.LockAlarms()) == 0 {
		return
	}
	o, err := a.Outlook()
	if err != nil {
		a.log.Warn("what locks leave cannot be told", "err", err)
		return
	}
	now := map[string]LockAlarm{}
	for _, p := range o.Pools {
		wanted := lockAlarm
		for _, s := range o.Streams {
			if s.Pool == p.Name {
				wanted = max(wanted, s.Keep)
			}
		}
		left := p.Usable - p.Locked
		if p.Locked == 0 || p.PerDay == 0 || float64(left)/float64(p.PerDay)*24 >= wanted.Hours() {
			continue
		}
		kept := time.Duration(float64(max(left, 0)) / float64(p.PerDay) * float64(24*time.Hour))
		now[p.Name] = LockAlarm{Pool: p.Name, Locked: p.Locked, Usable: p.Usable, Kept: kept, Wanted: wanted}
	}
	a.mu.Lock()
	old := a.lockAlarms
	a.lockAlarms = now
	a.mu.Unlock()
	for name, l := range now {
		if _, had := old[name]; !had {
			a.notify(Notice{Type: lockAlarmType, Level: "warning", Message: fmt.Sprintf("pool %s: locks keep %d of %d MB; other footage will have to go after %s", name, l.Locked>>20, l.Usable>>20, l.Kept.Round(time.Hour)),
				Data: map[string]any{"pool": name, "locked": l.Locked, "usable": l.Usable, "raised": true}})
		}
	}
	for name := range old {
		if _, has := now[name]; !has {
			a.notify(Notice{Type: lockAlarmType, Level: "info", Message: fmt.Sprintf("pool %s: locks leave enough room again", name), Data: map[string]any{"pool": name, "raised": false}})
		}
	}
}

// LockAlarms lists the pools in which locks leave too little room.
func (a *Archive) LockAlarms() (out []LockAlarm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, l := range a.lockAlarms {
		out = append(out, l)
	}
	return out
}

// RetentionWaits tells that nothing is deleted by rule, because it is not known
// what is locked: state.db was lost and not every ledger has been read since.
func (a *Archive) RetentionWaits() bool { return !a.knowsLocks.Load() }
