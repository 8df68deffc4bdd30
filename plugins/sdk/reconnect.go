package sdk

import (
	"time"

	"media-server/plugins/sdk/pb"
)

const (
	quickFor  = 30 * time.Second       // after a loss, tries come quickly
	quickWait = 500 * time.Millisecond // at most so far apart
	steady    = 5 * time.Second        // a run this long makes its end a new loss
)

// reconnect says how long to wait before the next try. A camera that fell off
// the network or was rebooted is back within half a minute: so long it is
// tried every min(first, 500 ms). One that refuses is never tried quickly, or
// it would lock our account.
type reconnect struct {
	first, max time.Duration
	numbers    uint32 // tries outside the quick phase; 0 = for ever

	quickUntil time.Time
	wait       time.Duration // of the last try that was not quick
	tries      uint32
}

// after a failure or the end of a run that lived so long (0 = was not opened).
// It returns the wait, or -1 when all tries are used up.
func (r *reconnect) after(cause pb.Cause, lived time.Duration, now time.Time) time.Duration {
	if lived >= steady {
		r.quickUntil, r.wait, r.tries = now.Add(quickFor), 0, 0
	}
	if lived > 0 && r.quickUntil.IsZero() {
		r.quickUntil = now.Add(quickFor) // the first loss of a connection that was short
	}
	switch cause {
	case pb.Cause_CHANGED:
		if lived > 0 {
			return 0
		}
	case pb.Cause_REFUSED, pb.Cause_SETTINGS, pb.Cause_UNSUPPORTED:
		r.quickUntil = time.Time{}
	}
	if now.Before(r.quickUntil) {
		return min(r.first, quickWait)
	}
	r.tries++
	if r.numbers > 0 && r.tries >= r.numbers {
		return -1
	}
	if r.wait == 0 {
		r.wait = r.first
	} else {
		r.wait = min(2*r.wait, r.max)
	}
	return r.wait
}
