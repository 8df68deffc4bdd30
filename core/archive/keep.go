package archive

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"media-server/core/archive/retain"
	"media-server/core/config"
	"media-server/core/media"
)

// dvr-keep holds no file back: a disk that is full is full. What it promises is
// that somebody knows, days before where it can be seen coming:
//
//	retention.keep_at_risk  the forecast keeps less of a stream (lookAhead, each 10 minutes)
//	retention.keep_broken   footage went that should have been kept (Retain)
//
// Each is told once for a stream, and once that it is over.

// KeepAlarm is a stream whose footage will be, or was, kept for less than its
// dvr-keep promises.
type KeepAlarm struct {
	UID    string
	Pool   string        // where it is recorded
	Keep   time.Duration // dvr-keep
	Kept   time.Duration // as the forecast says; 0 = it says nothing
	By     string        // rule that limits Kept
	Risk   time.Time     // the forecast says so since then; zero = it does not
	Broken time.Time     // footage went too early since then; zero = none did
}

// keepCalm is how long no footage must have gone too early before that is over:
// a stream that is kept for almost exactly dvr-keep breaks it every few minutes.
const keepCalm = 24 * time.Hour

// broke is a promise that was broken.
type broke struct {
	keep        time.Duration // that was promised
	since, last time.Time
}

// checkKeep raises and clears retention.keep_at_risk.
func (a *Archive) checkKeep(o *Preview) {
	a.mu.Lock()
	old := a.keepRisks
	a.mu.Unlock()
	now := map[string]KeepAlarm{}
	for i := range o.Streams {
		s := &o.Streams[i]
		was, had := old[s.UID]
		wanted := s.Keep
		if had && (s.By == string(retain.SpaceFree) || s.By == string(retain.Capacity)) {
			wanted += wanted / 20 // these go by what comes in a day, which goes up and down
		}
		if s.Keep <= 0 || s.By == "" || s.Kept >= wanted {
			continue
		}
		x := KeepAlarm{UID: s.UID, Pool: s.Pool, Keep: s.Keep, Kept: s.Kept, By: s.By, Risk: time.Now()}
		if had {
			x.Risk = was.Risk
		}
		now[s.UID] = x
	}
	a.mu.Lock()
	a.keepRisks = now
	a.mu.Unlock()
	for uid, x := range now {
		if _, had := old[uid]; !had {
			a.notify(Notice{Type: "retention.keep_at_risk", UID: uid, Level: "warning",
				Message: fmt.Sprintf("footage of %s will be kept for %s, by %s; dvr-keep promises %s", uid, config.FormatDuration(x.Kept.Round(time.Minute)), x.By, config.FormatDuration(x.Keep)),
				Data:    map[string]any{"kept_ms": x.Kept.Milliseconds(), "keep_ms": x.Keep.Milliseconds(), "by": x.By, "raised": true}})
		}
	}
	for uid := range old {
		if _, has := now[uid]; !has {
			a.notify(Notice{Type: "retention.keep_at_risk", UID: uid, Level: "info", Message: fmt.Sprintf("footage of %s will be kept as dvr-keep promises", uid),
				Data: map[string]any{"raised": false}})
		}
	}
}

// tellBroken tells of the streams whose promise a plan breaks, if it was not
// broken before, and of those of which enough is there again: for a day, or of
// what is promised now. It is over after a day as well where nothing is left.
func (a *Archive) tellBroken(now media.Wall, broken []string, streams []retain.Stream) {
	t := time.Now()
	keep := map[string]time.Duration{}
	for i := range streams {
		keep[streams[i].UID] = streams[i].Keep
	}
	var over []string
	calm := map[string]bool{} // nothing went too early for a day
	a.mu.Lock()
	var fresh []string
	for _, uid := range broken {
		b, had := a.keepBroken[uid]
		if !had {
			b.since = t
			fresh = append(fresh, uid)
		}
		b.keep, b.last = keep[uid], t
		if a.keepBroken == nil {
			a.keepBroken = map[string]broke{}
		}
		a.keepBroken[uid] = b
	}
	for uid, b := range a.keepBroken {
		calm[uid] = t.Sub(b.last) >= keepCalm
		if keep[uid] != b.keep || calm[uid] {
			over = append(over, uid)
		}
	}
	a.mu.Unlock()
	for _, uid := range fresh {
		a.notify(Notice{Type: "retention.keep_broken", UID: uid, Level: "warning",
			Message: fmt.Sprintf("footage of %s goes earlier than dvr-keep promises", uid), Data: map[string]any{"raised": true}})
	}
	for _, uid := range over {
		what := fmt.Sprintf("footage of %s is kept as dvr-keep promises again", uid)
		if sp, ok := a.cat.bounds(uid); keep[uid] > 0 && ok && sp.From > now.Add(-keep[uid]) {
			continue
		} else if keep[uid] > 0 && !ok {
			if !calm[uid] {
				continue
			}
			what = fmt.Sprintf("no footage of %s is left, there is nothing for dvr-keep to promise", uid)
		}
		a.mu.Lock()
		delete(a.keepBroken, uid)
		a.mu.Unlock()
		a.notify(Notice{Type: "retention.keep_broken", UID: uid, Level: "info", Message: what, Data: map[string]any{"raised": false}})
	}
}

// KeepAlarms lists the streams that will not be kept as dvr-keep promises, or
// were not, by uid.
func (a *Archive) KeepAlarms() (out []KeepAlarm) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for uid, x := range a.keepRisks {
		x.Broken = a.keepBroken[uid].since
		out = append(out, x)
	}
	for uid, b := range a.keepBroken {
		if _, both := a.keepRisks[uid]; !both {
			out = append(out, KeepAlarm{UID: uid, Broken: b.since})
		}
	}
	slices.SortFunc(out, func(x, y KeepAlarm) int { return cmp.Compare(x.UID, y.UID) })
	return out
}
