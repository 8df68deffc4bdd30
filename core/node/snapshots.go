package node

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"media-server/core/media"
	"media-server/core/picture"
	"media-server/core/pluginhost"
)

// A picture that a camera makes itself costs this server nothing, and the camera an
// effort: each is asked once a second at most, however many look. What does not work is
// tried less and less often, as wrong passwords lock accounts.
const (
	snapshotAge    = time.Second
	snapshotWithin = 2 * time.Second  // then the footage has to do
	snapshotAgain  = 10 * time.Second // behind a failure; twice as long behind each other one
	snapshotNever  = 5 * time.Minute  // at most so, and where there are none: its driver may be replaced by one that has
	snapshotMost   = 32               // cameras asked at once
)

// snapshots asks drivers for pictures. Safe for concurrent use.
type snapshots struct {
	host interface {
		PluginFor(scheme string) (string, bool)
		Snapshot(ctx context.Context, plugin, uid, url string, settings map[string]string, within time.Duration) ([]byte, error)
	}
	stream func(uid string) *StreamSettings // nil = none, or nothing may be asked of it
	log    *slog.Logger
	asking chan struct{}

	mu     sync.Mutex
	m      map[string]*snapshot // those that count still
	failed map[string]*failing
}

// snapshot is that of a stream by the settings it was asked with.
type snapshot struct {
	set  *StreamSettings
	done chan struct{} // closed when it is there
	jpeg []byte
	at   media.Wall
	err  error
}

// failing is how long a stream's camera has not given one.
type failing struct {
	set  *StreamSettings
	wait time.Duration
	why  string
}

func (n *Node) newSnapshots() *snapshots {
	return &snapshots{host: n.host, stream: func(uid string) *StreamSettings {
		if r := n.streams.get(uid); r != nil && r.set.Config.Enable {
			return r.set
		}
		return nil
	}, log: n.log, asking: make(chan struct{}, snapshotMost), m: map[string]*snapshot{}, failed: map[string]*failing{}}
}

// Snapshot implements picture.Camera.
func (s *snapshots) Snapshot(uid string) ([]byte, media.Wall, error) {
	set := s.stream(uid)
	if set == nil {
		return nil, 0, picture.ErrNoSnapshot
	}
	s.mu.Lock()
	x := s.m[uid]
	mine := x == nil || x.set != set
	if mine {
		x = &snapshot{set: set, done: make(chan struct{}), err: picture.ErrNoSnapshot}
		s.m[uid] = x
	}
	s.mu.Unlock()
	if mine {
		s.ask(uid, x)
	}
	<-x.done
	return x.jpeg, x.at, x.err
}

// ask fills x, and forgets it when it counts no more.
func (s *snapshots) ask(uid string, x *snapshot) {
	age := snapshotAgain
	defer func() {
		close(x.done)
		time.AfterFunc(age, func() {
			s.mu.Lock()
			defer s.mu.Unlock()
			if s.m[uid] == x {
				delete(s.m, uid)
			}
		})
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
	x.at = media.WallOf(time.Now())
	if errors.Is(x.err, pluginhost.ErrNoSnapshot) {
		x.err, age = picture.ErrNoSnapshot, snapshotNever
		return
	}
	age = s.note(uid, x)
}

// note tells of a camera that gives no picture once, and how soon it is asked again.
func (s *snapshots) note(uid string, x *snapshot) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	f := s.failed[uid]
	if x.err == nil {
		if f != nil {
			s.log.Info("the camera's own picture is there again", "stream", uid)
			delete(s.failed, uid)
		}
		return snapshotAge
	}
	if f == nil || f.set != x.set {
		f = &failing{set: x.set, wait: snapshotAgain / 2}
		s.failed[uid] = f
	}
	if why := x.err.Error(); why != f.why {
		s.log.Warn("the camera's own picture cannot be had, its footage is shown instead", "stream", uid, "err", x.err)
		f.why = why
	}
	f.wait = min(2*f.wait, snapshotNever)
	return f.wait
}
