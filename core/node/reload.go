package node

import (
	"context"
	"fmt"
	"slices"
	"time"

	"media-server/core/config"
	"media-server/core/fault"
)

// restartEvery spaces the restarts that one change brings: a change of
// _defaults.ini must not make five hundred cameras reconnect at once.
const restartEvery = 50 * time.Millisecond

// followSettings takes up changes of the files as they are made, and on
// request (SIGHUP).
func (n *Node) followSettings(ctx context.Context) error {
	done := make(chan error, 1)
	inner, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { done <- n.watcher.Run(inner, func() { _ = n.reload(ctx) }) }()
	for {
		select {
		case <-ctx.Done():
			cancel()
			return <-done
		case err := <-done:
			return err
		case <-n.opt.Reload:
			n.watcher.Reload()
		}
	}
}

// reload reads everything again and applies the difference. What is refused
// stays as it was.
func (n *Node) reload(ctx context.Context) fault.Problems {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	old := n.current.Load()
	waited := n.pending(old)
	next, ps := old.Next(n.watcher, func(st *StreamSettings) fault.Problems { return n.drivers.of(ctx, st) })
	n.current.Store(next)
	ch := Diff(old, next)
	n.tellProblems(old.Problems(), ps)
	if ch.Empty() {
		return ps
	}
	_ = n.level.UnmarshalText([]byte(next.Log.Level)) // one of the names that the schema allows
	n.access.SetTokenSecrets(next.Access.TokenSecrets)
	n.places.grow(next)
	n.remember(next) // before anything stops: since then nothing of it is missing
	for _, uid := range ch.Removed {
		n.streams.remove(uid)
		n.emit(event("stream.removed", uid, "info", "the stream was removed; its footage stays and ages by its rules", nil))
	}
	for _, uid := range ch.Added {
		n.streams.set(next.Streams[uid], true)
		n.emit(event("stream.added", uid, "info", "the stream was added", nil))
	}
	for _, uid := range ch.Live {
		n.streams.set(next.Streams[uid], false)
	}
	for i, uid := range ch.Restart {
		if i > 0 {
			select {
			case <-ctx.Done():
				return ps
			case <-time.After(restartEvery):
			}
		}
		n.streams.set(next.Streams[uid], true)
	}
	// Streams whose file changed in place without effect still get the new
	// settings object, so that origins shown are those of the files now.
	for _, set := range next.Streams {
		n.streams.refresh(set)
	}
	n.places.shrink(ctx, next)
	n.emit(event("server.reloaded", "", "info",
		fmt.Sprintf("settings taken over: %d streams added, %d removed, %d restarted, %d changed", len(ch.Added), len(ch.Removed), len(ch.Restart), len(ch.Live)), nil))
	for _, c := range n.pending(next) {
		if slices.ContainsFunc(waited, func(w config.Change) bool { return w.Section == c.Section && w.Key == c.Key && w.New == c.New }) {
			continue // said before
		}
		n.emit(event("server.settings", "", "warning", fmt.Sprintf("[%s] %s takes effect after a restart of the server", c.Section, c.Key), nil))
	}
	return ps
}

// applyAll starts everything at the start of the server.
func (n *Node) applyAll(set *Settings) {
	n.remember(set)
	for _, uid := range set.UIDs() {
		n.streams.set(set.Streams[uid], true)
	}
	n.tellProblems(nil, set.Problems())
}

// tellProblems tells about problems that are new, once.
func (n *Node) tellProblems(old, now fault.Problems) {
	n.tellNew(old, now)
	if len(old) > 0 && len(now) == 0 {
		n.emit(event("server.settings", "", "info", "all settings are in order again", nil))
	}
}

// tellNew tells about what of now is not among old.
func (n *Node) tellNew(old, now fault.Problems) {
	known := map[string]bool{}
	for _, p := range old {
		known[p.Error()] = true
	}
	for _, p := range now {
		if known[p.Error()] {
			continue
		}
		n.log.Warn("settings", "err", p.Error())
		n.emit(event("server.settings", "", p.Level.String(), p.Error(), nil))
	}
}
