package node

import (
	"maps"
	"slices"

	"media-server/core/config"
)

// Changes is what a reload brings. Streams are named by uid, sorted; each is in
// one list at most, and in none when nothing of it changed.
type Changes struct {
	Added   []string
	Removed []string // capture ends; footage stays
	Restart []string // a key of the capture changed
	Live    []string // other keys changed: takes effect at once, disturbs nothing

	Streams map[string][]config.Change // what changed, for Restart and Live
	Server  []config.Change            // keys of media-server.ini that take effect at once
	Pending []config.Change            // keys that wait for a restart of the server
}

// Empty tells that nothing changed.
func (c Changes) Empty() bool {
	return len(c.Added)+len(c.Removed)+len(c.Restart)+len(c.Live)+len(c.Server)+len(c.Pending) == 0
}

// Diff tells what next changes over old. For what still waits for a restart,
// compare with the settings the server was started with: Pending.
func Diff(old, next *Settings) Changes {
	c := Changes{Streams: map[string][]config.Change{}}
	for _, change := range old.Keys.Diff(next.Keys) {
		if change.Effect == config.RestartServer {
			c.Pending = append(c.Pending, change)
		} else {
			c.Server = append(c.Server, change)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(next.Streams)) {
		was, is := old.Streams[uid], next.Streams[uid]
		if was == nil {
			c.Added = append(c.Added, uid)
			continue
		}
		changes := was.Keys.Diff(is.Keys)
		if len(changes) == 0 {
			continue
		}
		c.Streams[uid] = changes
		if slices.ContainsFunc(changes, func(k config.Change) bool { return k.Effect != config.Live }) {
			c.Restart = append(c.Restart, uid)
		} else {
			c.Live = append(c.Live, uid)
		}
	}
	for _, uid := range slices.Sorted(maps.Keys(old.Streams)) {
		if next.Streams[uid] == nil {
			c.Removed = append(c.Removed, uid)
		}
	}
	return c
}

// Pending lists the keys of now that the server, started with started, does not
// work by yet.
func Pending(started, now *Settings) []config.Change { return Diff(started, now).Pending }
