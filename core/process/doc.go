// Package process holds processes that outlive the core: it starts them
// detached, takes hold of those that an earlier core started, tells exactly
// which process is meant, and ends it for certain.
//
//	Detach(command) ─▶ own session, pidfd ─┐
//	Open(pid, start time) ─▶ pidfd, stat ──┴─▶ Process ─▶ Exited, Signal, Kill, Release
//	Peer(connection) ─▶ pid and uid of whoever is at the other end
//
// What does not belong here: what such a process does, how it is found again
// (pluginhost keeps records, ports a socket), when it is started anew.
//
// Invariants:
//   - A signal goes through a pidfd, to the process that was meant or to none:
//     a pid that was given to somebody else is never signalled.
//   - The end of this process never ends one that it holds.
//   - A child that has ended is reaped.
//   - A detached process has the descriptors that it was given, and no other.
//
// Goroutines: each Process has one that waits for its end; Release ends it and
// waits for it.
package process
