// Package node assembles the server: it reads the settings, builds every room
// in order, joins them, follows changes of the settings, and takes everything
// down again. It is the only room that knows all the others.
//
//	Load settings ─▶ takeHome (lock, epoch) ─▶ journal, access ─▶ pluginhost
//	   ─▶ archive (over storage plugins) ─▶ streams (over driver plugins) ─▶ timeline ─▶ web
//
// What does not belong here: any decision that a room can make by itself.
//
// Invariants:
//   - Nothing is built from settings that were not found good; a reload builds
//     the difference and leaves everything else alone.
//   - Shutdown leaves plugins running (they keep the cameras' frames for the
//     next core) and stores what is in memory.
//   - Two servers never share a data folder.
//
// Run owns all goroutines: it returns when none is left.
package node
