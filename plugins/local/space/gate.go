package space

import (
	"context"
	"sync"
)

// gate lets calls of the newest epoch in and keeps count of those inside, so
// that a newer epoch can wait until all of an older one have left.
type gate struct {
	mu     sync.Mutex
	epoch  uint64
	ready  bool
	active int
	turn   uint64        // grows with each advance; the last one wins
	idle   chan struct{} // closed when active reaches 0; nil while nobody waits
}

// enter is paired with leave when it returns nil.
func (g *gate) enter(epoch uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case epoch < g.epoch:
		return &Error{Reason: StaleEpoch, Size: -1, What: "a newer core has opened this space"}
	case epoch > g.epoch:
		return &Error{Reason: NotReady, Size: -1, What: "this epoch has not opened the space"}
	case !g.ready:
		return &Error{Reason: NotReady, Size: -1, What: "the space is being opened"}
	}
	g.active++
	return nil
}

func (g *gate) leave() {
	g.mu.Lock()
	g.active--
	if g.active == 0 && g.idle != nil {
		close(g.idle)
		g.idle = nil
	}
	g.mu.Unlock()
}

// shut refuses everything from now on but ready(turn). It fails for an epoch
// that is older than the newest.
func (g *gate) shut(epoch uint64) (turn uint64, err error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if epoch < g.epoch {
		return 0, &Error{Reason: StaleEpoch, Size: -1, What: "a newer core has opened this space"}
	}
	g.epoch = epoch
	g.ready = false
	g.turn++
	return g.turn, nil
}

// drain waits until everybody who came in before shut has left.
func (g *gate) drain(ctx context.Context) error {
	g.mu.Lock()
	if g.active == 0 {
		g.mu.Unlock()
		return nil
	}
	if g.idle == nil {
		g.idle = make(chan struct{})
	}
	idle := g.idle
	g.mu.Unlock()
	select {
	case <-idle:
		return nil
	case <-ctx.Done():
		return &Error{Reason: NotReady, Size: -1, What: "what an older core has under way has not ended", Err: ctx.Err(),
			Hint: "the disk does not answer; look at the kernel log"}
	}
}

// open lets calls in, unless somebody shut the gate again meanwhile.
func (g *gate) open(turn uint64) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if turn != g.turn {
		return &Error{Reason: StaleEpoch, Size: -1, What: "a newer core has opened this space"}
	}
	g.ready = true
	return nil
}

func (g *gate) current() uint64 {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.epoch
}
