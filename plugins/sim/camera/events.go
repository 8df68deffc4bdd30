package camera

import (
	"context"

	"media-server/core/media"
)

// Event is something a camera reports.
type Event struct {
	UID, Kind string
	Time      media.Wall
	Active    bool
}

// Events hands each event to emit until ctx ends or emit fails. A receiver
// that is 64 events behind misses some.
func (e *Engine) Events(ctx context.Context, emit func(Event) error) error {
	ch := make(chan Event, 64)
	e.mu.Lock()
	e.events[ch] = true
	e.mu.Unlock()
	defer func() {
		e.mu.Lock()
		delete(e.events, ch)
		e.mu.Unlock()
	}()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case ev := <-ch:
			if err := emit(ev); err != nil {
				return err
			}
		}
	}
}

func (e *Engine) event(ev Event) {
	for ch := range e.events {
		select {
		case ch <- ev:
		default:
		}
	}
}
