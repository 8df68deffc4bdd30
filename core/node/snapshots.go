package node

import (
	"context"
	"errors"
	"sync"
	"time"

	"media-server/core/media"
	"media-server/core/picture"
	"media-server/core/pluginhost"
)

// A picture that a camera makes itself costs this server nothing, and the camera an
// effort: each is asked once a second at most, however many look. What it cannot do is
// not asked for again for a while.
const (
	snapshotAge    = time.Second
	snapshotWithin = 2 * time.Second  // then the footage has to do
	snapshotAgain  = 10 * time.Second // behind a failure
	snapshotNever  = 5 * time.Minute  // it has none; its driver may be replaced by one that does
	snapshotMost   = 32               // cameras asked at once
)

// snapshots asks drivers for pictures. Safe for concurrent use.
type snapshots struct {
	host interface {
		PluginFor(scheme string) (string, bool)
		Snapshot(ctx context.Context, plugin, uid, url string, settings map[string]string, within time.Duration) ([]byte, error)
	}
	stream func(uid string) *StreamSettings // nil = none, or nothing may be asked of it
	now    func() time.Time
	asking chan struct{}

	mu sync.Mutex
	m  map[string]*snapshot
}

// snapshot is that of a stream by the settings it was asked with.
type snapshot struct {
	set   *StreamSettings
	done  chan struct{} // closed when it is there
	until time.Time
	jpeg  []byte
	at    media.Wall
	err   error
}

func (n *Node) newSnapshots() *snapshots {
	return &snapshots{host: n.host, stream: func(uid string) *StreamSettings {
		if r := n.streams.get(uid); r != nil && r.set.Config.Enable {
			return r.set
		}
		return nil
	}, now: time.Now, asking: make(chan struct{}, snapshotMost), m: map[string]*snapshot{}}
}

// Snapshot implements picture.Camera.
func (s *snapshots) Snapshot(uid string) ([]byte, media.Wall, error) {
	set := s.stream(uid)
	if set == nil {
		return nil, 0, picture.ErrNoSnapshot
	}
	now := s.now()
	s.mu.Lock()
	x := s.m[uid]
	if x == nil || x.set != set || !x.until.IsZero() && now.After(x.until) {
		for other, y := range s.m { // of streams that are gone
			if !y.until.IsZero() && now.Sub(y.until) > snapshotNever {
				delete(s.m, other)
			}
		}
		x = &snapshot{set: set, done: make(chan struct{}), err: picture.ErrNoSnapshot}
		s.m[uid] = x
		s.mu.Unlock()
		s.ask(uid, x)
	} else {
		s.mu.Unlock()
		<-x.done
	}
	return x.jpeg, x.at, x.err
}

// ask fills x.
func (s *snapshots) ask(uid string, x *snapshot) {
	age := snapshotAgain
	defer func() {
		s.mu.Lock()
		x.until = s.now().Add(age)
		s.mu.Unlock()
		close(x.done)
	}()
	c := &x.set.Config
	plugin := c.Driver
	if plugin == "" {
		var ok bool
		if plugin, ok = s.host.PluginFor(c.DriverName()); !ok {
			return
		}
	}
	select {
	case s.asking <- struct{}{}:
		defer func() { <-s.asking }()
	default: // too many cameras are slow
		return
	}
	x.jpeg, x.err = s.host.Snapshot(context.Background(), plugin, uid, c.URL, c.DriverKeys, snapshotWithin)
	x.at = media.WallOf(s.now())
	switch {
	case x.err == nil:
		age = snapshotAge
	case errors.Is(x.err, pluginhost.ErrNoSnapshot):
		x.err, age = picture.ErrNoSnapshot, snapshotNever
	}
}
