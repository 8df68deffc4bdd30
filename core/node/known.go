package node

import (
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"sync"

	"media-server/core/media"
)

// known remembers title, access, the first day, the pauses and the schedules of every stream that was ever configured:
// when its file is removed its footage stays playable by those who were
// allowed, and nobody else. It lies in data-dir/streams.json.
type known struct {
	Title     string         `json:"title"`
	Access    string         `json:"access"`
	Proto     []string       `json:"proto"`
	Whitelist []netip.Prefix `json:"whitelist,omitempty"`
	Added     int64          `json:"added_ms,omitempty"` // when it was configured first; 0 = not known

	Pauses []pause `json:"pauses,omitempty"` // in order of time
	Weeks  []week  `json:"weeks,omitempty"`  // likewise; none = of an earlier version
}

type knownStreams struct {
	mu   sync.Mutex
	path string
	m    map[string]known

	unwritten bool // the file says less than m
}

func readKnown(dir string) *knownStreams {
	k := &knownStreams{path: filepath.Join(dir, "streams.json"), m: map[string]known{}}
	if b, err := os.ReadFile(k.path); err == nil {
		// Damaged = empty: removed streams then count as private.
		if json.Unmarshal(b, &k.m) != nil {
			k.m = map[string]known{}
		}
	}
	return k
}

func (k *knownStreams) get(uid string) (known, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	v, ok := k.m[uid]
	return v, ok
}

// update takes in the streams in force and writes the file if that changed it.
// lastEnd tells where the footage of a stream ends.
func (k *knownStreams) update(set *Settings, lastEnd func(uid string) (media.Wall, bool)) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	changed := false
	for uid, s := range set.Streams {
		v := known{Title: s.Config.Title(uid), Access: s.Config.Access, Proto: s.Config.Proto, Whitelist: s.Config.Whitelist}
		old, ok := k.m[uid]
		if v.Added = old.Added; !ok {
			v.Added = now().UnixMilli()
		}
		v.Pauses = old.Pauses
		if is, was := s.isRecorded(), !paused(old.Pauses); is != was {
			end, _ := lastEnd(uid)
			v.Pauses = turn(old.Pauses, is, now().UnixMilli(), end.Milli())
		}
		v.Weeks = follow(old.Weeks, weekOf(&s.Config, set.Server.Zone()), now().UnixMilli(), func() int64 {
			end, _ := lastEnd(uid)
			return end.Milli()
		})
		if ok && slices.Equal(old.Weeks, v.Weeks) && slices.Equal(old.Whitelist, v.Whitelist) && len(old.Pauses) == len(v.Pauses) && paused(old.Pauses) == paused(v.Pauses) && old.Title == v.Title && old.Access == v.Access && equal(old.Proto, v.Proto) {
			continue
		}
		k.m[uid], changed = v, true
	}
	for uid, v := range k.m {
		if set.isRemoved(uid) && !paused(v.Pauses) {
			v.Pauses = turn(v.Pauses, false, now().UnixMilli(), 0)
			k.m[uid], changed = v, true
		}
	}
	if !changed && !k.unwritten {
		return nil
	}
	b, err := json.MarshalIndent(k.m, "", "  ")
	if err == nil {
		err = writeDurably(k.path, append(b, '\n'), 0o600)
	}
	k.unwritten = err != nil // the next time, whether anything changes then or not
	return err
}

func equal(a, b []string) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func (n *Node) remember(set *Settings) {
	if err := n.known.update(set, n.lastEnd); err != nil {
		n.log.Warn("streams.json could not be written", "err", err)
	}
}
