package webrtc

import (
	"context"
	"time"
)

// A browser's socket holds some hundred packets. A key frame, or the group of
// pictures that a session begins with, is sent no faster than about 75 Mbit/s, or
// its end is lost on the way into the player.
const (
	paceBurst = 32 // packets sent without a pause
	paceEach  = 125 * time.Microsecond
)

// pacer is a bucket of packets: it fills with time, and who finds it empty waits.
type pacer struct {
	free time.Time // when the bucket has as many packets as it may hold is free+burst
}

// wait waits until one more packet may go.
func (p *pacer) wait(ctx context.Context) error {
	now := time.Now()
	if full := now.Add(-paceBurst * paceEach); p.free.Before(full) {
		p.free = full
	}
	p.free = p.free.Add(paceEach)
	ahead := p.free.Sub(now)
	if ahead < time.Millisecond { // timers are not finer
		return ctx.Err()
	}
	t := time.NewTimer(ahead)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}
