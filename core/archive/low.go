package archive

import (
	"fmt"
	"slices"
	"time"
)

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

// lookAhead looks days ahead: where locks leave too little room for everything
// else, or a stream will not be kept as promised, somebody has to know while there
// is still time. It reads what came in a week, so not where nobody asked for it.
func (a *Archive) lookAhead() {
	all, err := a.catStreams()
	if err != nil {
		a.log.Warn("what will be kept cannot be told", "err", err)
		return
	}
	asked := slices.ContainsFunc(all, func(s catStream) bool { return s.rules.Keep > 0 })
	if !asked && len(a.locks.uids()) == 0 && len(a.LockAlarms()) == 0 && len(a.KeepAlarms()) == 0 {
		return
	}
	o, err := a.Outlook()
	if err != nil {
		a.log.Warn("what will be kept cannot be told", "err", err)
		return
	}
	a.checkLocks(o)
	a.checkKeep(o)
}

func (a *Archive) checkLocks(o *Preview) {
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
