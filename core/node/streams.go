package node

import (
	"context"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/media"
	"media-server/core/pluginhost"
	"media-server/core/stream"
	"media-server/core/timeline"
)

// streams holds the running streams.
type streams struct {
	n  *Node
	mu sync.RWMutex
	m  map[string]*running
}

// running is a configured stream; str is nil while it is switched off.
type running struct {
	set  *StreamSettings
	str  *stream.Stream
	rec  *archive.Recorder
	fail string // why it could not be started
}

func newStreams(n *Node) *streams { return &streams{n: n, m: map[string]*running{}} }

// run ticks every stream twice a second.
func (s *streams) run(ctx context.Context) error {
	t := time.NewTicker(500 * time.Millisecond)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-t.C:
			for _, r := range s.list() {
				if r.str != nil {
					r.str.Tick()
				}
			}
			s.n.viewers.expire(time.Now())
		}
	}
}

// list returns the streams sorted by uid.
func (s *streams) list() []*running {
	s.mu.RLock()
	defer s.mu.RUnlock()
	out := make([]*running, 0, len(s.m))
	for _, r := range s.m {
		out = append(out, r)
	}
	slices.SortFunc(out, func(a, b *running) int {
		return strings.Compare(strings.ToLower(a.set.UID), strings.ToLower(b.set.UID))
	})
	return out
}

func (s *streams) get(uid string) *running {
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.m[uid]
}

// ring finds the memory ring of a stream, for the timeline.
func (s *streams) ring(uid string) timeline.Ring {
	if r := s.get(uid); r != nil && r.str != nil && r.str.Ring() != nil {
		return ringStore{r.str.Ring()}
	}
	return nil
}

// ringStore fits a stream's ring to the timeline's interface.
type ringStore struct{ *stream.Ring }

// HoldFile implements timeline.Ring.
func (r ringStore) HoldFile(id archive.FileID) (timeline.File, error) {
	h, err := r.Hold(id)
	if err != nil {
		return nil, err
	}
	return h, nil
}

// set starts, restarts or changes a stream to what set says. restart tells
// whether a key of the capture changed.
func (s *streams) set(set *StreamSettings, restart bool) {
	old := s.get(set.UID)
	if old != nil && !restart && recordingOf(old.set) == recordingOf(set) {
		s.put(&running{set: set, str: old.str, rec: old.rec, fail: old.fail})
		if old.str != nil {
			old.str.SetRules(rulesOf(set))
		}
		return
	}
	if old != nil && old.str != nil {
		old.str.Stop()
	}
	s.put(s.start(set))
}

func (s *streams) put(r *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[r.set.UID] = r
}

func recordingOf(set *StreamSettings) [2]string {
	on := "off"
	if set.Config.DVR.Enable {
		on = "on"
	}
	return [2]string{on, set.Config.DVR.Pool}
}

func rulesOf(set *StreamSettings) archive.Rules {
	d := set.Config.DVR
	return archive.Rules{Pool: d.Pool, Duration: d.Duration, Keep: d.Keep, Capacity: d.Capacity, Chunk: d.Chunk}
}

// start builds and starts a stream.
func (s *streams) start(set *StreamSettings) *running {
	r := &running{set: set}
	c := &set.Config
	if !c.Enable {
		return r
	}
	n := s.n
	dep := stream.Deps{LastEnd: n.lastEnd, Epoch: n.home.epoch, Notify: n.streamNotice, Log: n.log}
	if c.DVR.Enable {
		rec, err := n.archive.Recorder(set.UID, rulesOf(set))
		if err != nil {
			r.fail = err.Error()
			n.log.Error("stream cannot be recorded", "stream", set.UID, "err", err)
			return r
		}
		r.rec, dep.Recorder = rec, rec
	}
	driver, err := n.driverOf(c)
	if err != nil {
		r.fail = err.Error()
		n.log.Error("stream cannot be captured", "stream", set.UID, "err", err)
		if r.rec != nil {
			r.rec.Close()
		}
		return r
	}
	dep.Driver = driver
	r.str = stream.New(stream.Spec{Capture: subscription(set), Record: c.DVR.Enable, Rules: rulesOf(set)}, dep)
	if err := r.str.Start(); err != nil {
		r.fail = err.Error()
	}
	return r
}

func (n *Node) driverOf(c *stream.Config) (stream.Driver, error) {
	if c.Driver != "" {
		return n.host.DriverNamed(c.Driver)
	}
	scheme, _, _ := strings.Cut(c.URL, ":")
	return n.host.Driver(strings.ToLower(scheme))
}

func (n *Node) lastEnd(uid string) (media.Wall, bool) {
	b, ok := n.archive.Bounds(uid)
	return b.To, ok
}

func subscription(set *StreamSettings) stream.Subscription {
	c := &set.Config
	sub := stream.Subscription{UID: set.UID, URL: c.URL, Settings: c.DriverKeys,
		ReconnectFirst: c.ReconnectTimeout, ReconnectMax: c.ReconnectInterval, ReconnectNumbers: c.ReconnectNumbers, ReadTimeout: c.ReadTimeout}
	for _, k := range c.Tracks {
		switch k {
		case "video":
			sub.Kinds = append(sub.Kinds, media.Video)
		case "audio":
			sub.Kinds = append(sub.Kinds, media.Audio)
		case "data":
			sub.Kinds = append(sub.Kinds, media.Data)
		}
	}
	return sub
}

// remove ends a stream that is no longer configured; its footage stays.
func (s *streams) remove(uid string) {
	s.mu.Lock()
	r := s.m[uid]
	delete(s.m, uid)
	s.mu.Unlock()
	if r != nil && r.str != nil {
		r.str.Stop()
	}
}

// detach lets go of all streams without ending a capture.
func (s *streams) detach() {
	for _, r := range s.list() {
		if r.str != nil {
			r.str.Detach()
		}
	}
}

// schemeKnown tells whether some plugin takes a URL's scheme.
func schemeKnown(plugins []pluginhost.Status, raw string) bool {
	u, err := url.Parse(raw)
	scheme := ""
	if err == nil {
		scheme = u.Scheme
	} else {
		scheme, _, _ = strings.Cut(raw, ":")
	}
	for _, p := range plugins {
		if slices.Contains(p.Schemes, strings.ToLower(scheme)) {
			return true
		}
	}
	return false
}
