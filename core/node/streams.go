package node

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"media-server/core/archive"
	"media-server/core/fault"
	"media-server/core/media"
	"media-server/core/stream"
	"media-server/core/timeline"
)

// streams holds the running streams.
type streams struct {
	n  *Node
	mu sync.RWMutex
	m  map[string]*running

	// changing is held while a stream is started, changed or ended: after
	// detach none may be started any more.
	changing sync.Mutex
	detached bool

	wanted map[string]time.Time // when somebody last watched, of streams captured on demand
}

// running is a configured stream; str is nil while it is switched off.
type running struct {
	set   *StreamSettings
	str   *stream.Stream
	rec   *archive.Recorder
	fail  string // why it could not be started
	waits bool   // for its pool to be ready; started then
	pool  string // that its footage goes to
	note  string // what of its settings is not in force yet

	watched media.Wall // since when what is missing would have been noticed
}

func newStreams(n *Node) *streams {
	return &streams{n: n, m: map[string]*running{}, wanted: map[string]time.Time{}}
}

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
			s.startWaiting()
			s.endUnwatched(time.Now())
			s.n.viewers.expire(time.Now())
		}
	}
}

// startWaiting starts streams whose pool has become ready. A reload under way
// goes first.
func (s *streams) startWaiting() {
	if !s.n.reloading.TryLock() {
		return
	}
	defer s.n.reloading.Unlock()
	for _, r := range s.list() {
		if r.waits && s.n.archive.PoolReady(r.set.Config.DVR.Pool) {
			s.startWaited(r)
		}
	}
}

func (s *streams) startWaited(r *running) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.get(r.set.UID) == r && !s.detached { // else somebody who watches was first
		s.put(s.start(r.set, nil))
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
	if r := s.get(uid); r != nil && r.str != nil {
		if ring := r.str.Ring(); ring != nil { // asked once: recording may begin at any moment
			return ringStore{ring}
		}
	}
	return nil
}

// tap watches the capture of a stream, for the timeline.
func (s *streams) tap(uid string) timeline.Tap {
	s.want(uid)
	if r := s.get(uid); r != nil && r.str != nil {
		if t, ok := r.str.Tap(); ok {
			return t
		}
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
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.detached {
		return
	}
	old := s.get(set.UID)
	if old != nil && !restart && (old.str != nil || !set.Config.Enable || set.Config.OnDemand) && s.live(old, set) {
		return
	}
	if old != nil && old.str != nil {
		old.str.Stop()
	}
	s.put(s.start(set, old))
}

// live changes a stream without its capture noticing; false: that cannot be.
func (s *streams) live(old *running, set *StreamSettings) bool {
	r := &running{set: set, str: old.str, rec: old.rec, fail: old.fail, watched: old.goesOn()}
	rules, err := s.n.rules(r, old)
	if err != nil {
		return false
	}
	if old.str != nil {
		switch on := set.Config.DVR.Enable; {
		case on && old.rec == nil:
			if r.rec, err = s.n.recorder(set.UID, rules); err != nil {
				return false
			}
			old.str.Record(r.rec)
		case !on && old.rec != nil:
			r.rec = nil
			old.str.Record(nil)
		default:
			old.str.SetRules(rules)
		}
		old.str.SetModes(set.Config.Modes(s.n.zone()))
	}
	s.put(r)
	return true
}

// refresh gives a stream the settings object of the newest reading, which says
// the same as the last: origins shown are those of the files now.
func (s *streams) refresh(set *StreamSettings) {
	s.changing.Lock()
	defer s.changing.Unlock()
	if r := s.get(set.UID); r != nil && r.set != set {
		fresh := *r
		fresh.set = set
		s.put(&fresh)
	}
}

func (s *streams) put(r *running) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.m[r.set.UID] = r
}

// rules is what the archive is told about a stream's footage, and notes it in
// r. A pool may be missing from the archive when its spaces cannot be used at
// all: then the footage goes on into the pool it goes to now, which old knows.
func (n *Node) rules(r *running, old *running) (archive.Rules, error) {
	d := r.set.Config.DVR
	rules := archive.Rules{Pool: d.Pool, Duration: d.Duration, Keep: d.Keep, Capacity: d.Capacity, Chunk: d.Chunk}
	there := slices.ContainsFunc(n.archive.Pools(), func(p archive.Pool) bool { return p.Name == d.Pool })
	if !there && d.Enable {
		if old == nil || old.pool == "" {
			return rules, fault.New("", fmt.Sprintf("pool %q cannot be used", d.Pool), "see the problems of its spaces")
		}
		rules.Pool = old.pool
		r.note = fmt.Sprintf("dvr-pool = %s cannot be used; until it can footage goes to %s", d.Pool, old.pool)
	}
	r.pool = rules.Pool
	return rules, nil
}

// recorder is that of a stream which is to be recorded from now on, or was since
// it was configured.
func (n *Node) recorder(uid string, rules archive.Rules) (*archive.Recorder, error) {
	rec, err := n.archive.Recorder(uid, rules)
	if err == nil {
		rec.Since(n.known.since(uid))
	}
	return rec, err
}

// start builds and starts a stream.
func (s *streams) start(set *StreamSettings, old *running) *running {
	r := &running{set: set, watched: old.goesOn()}
	c := &set.Config
	if !c.Enable || c.OnDemand && !s.isWanted(set.UID, time.Now()) {
		return r
	}
	n := s.n
	if c.DVR.Enable && !n.archive.PoolReady(c.DVR.Pool) {
		// What there is to be resumed is not known yet; the driver keeps a
		// running capture's frames meanwhile.
		r.waits, r.fail = true, "waits for a storage space of pool "+c.DVR.Pool
		return r
	}
	dep := stream.Deps{LastEnd: n.lastEnd, Epoch: n.home.epoch, Notify: n.streamNotice, Log: n.log, DriverKeeps: n.boot.Plugins.Buffer / 2, Chain: n.signer != nil}
	if old != nil && old.str != nil {
		dep.First = old.str.Next()
	}
	rules, err := n.rules(r, old)
	if c.DVR.Enable {
		var rec *archive.Recorder
		if err == nil {
			rec, err = n.recorder(set.UID, rules)
		}
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
	r.str = stream.New(stream.Spec{Capture: subscription(set), Record: c.DVR.Enable, Rules: rules, Modes: c.Modes(n.zone())}, dep)
	n.goOn(r)
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
	return n.archive.Newest(uid)
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
	s.changing.Lock()
	defer s.changing.Unlock()
	if s.detached {
		return
	}
	s.mu.Lock()
	r := s.m[uid]
	delete(s.m, uid)
	s.mu.Unlock()
	if r != nil && r.str != nil {
		r.str.Stop()
	}
}

// detach lets go of all streams without ending a capture. Nothing is started
// afterwards, whatever a reload that is under way still wants.
func (s *streams) detach() {
	s.changing.Lock()
	defer s.changing.Unlock()
	s.detached = true
	for _, r := range s.list() {
		if r.str != nil {
			r.str.Detach()
		}
	}
}
