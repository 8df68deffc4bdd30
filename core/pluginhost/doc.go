// Package pluginhost keeps plugin processes running and turns them into the
// interfaces that stream and archive own.
//
// Its one job: find plugins in folders, start them so that they outlive the
// core, shake hands, prove who is at the other end of the socket, watch,
// restart, re-attach, and carry frames and bytes over gRPC.
//
//	plugins-dir/NAME/plugin.ini ─finder─▶ spec ─▶ supervisor (one a plugin)
//	                                               │ bring: record? ─▶ attach   (epoch, peer pid and uid)
//	                                               │        else ───▶ launcher ─▶ process, its log file, tail ─▶ slog
//	                                               │ resync: Info, Configure(epoch)
//	                                               ▼
//	                                            instance ── health: 3 silent answers = SIGKILL
//	                        ┌──────────────────────┴───────────────┐
//	  stream.Sink ◀─ reader ─ driverService ─ writer ─▶            spaceStorage ─▶ archive.Storage
//	                 Frames       sessions     Subscribe, Ack       Append, Read, descriptors
//
// What does not belong here: how a detached process is held and signalled
// (process), what frames mean (stream, mux), what is in files (archive), one
// core a data-dir (node holds that lock), settings files (config). Only node
// imports this package.
//
// Invariants:
//   - The end of the core, planned or not, never ends a plugin; only
//     StopAll, a removed folder, enable = false, a changed executable or
//     silence does. A plugin that is ended is gone before the next one starts.
//   - A process is signalled through a pidfd and only if pid, start time and
//     boot say it is ours; a socket is used only if the kernel says that very
//     process serves it.
//   - There is one way up, for a first start, after a crash and at re-attach:
//     bring, resync, subscribe with what each Sink holds.
//   - A newer epoch wins: an older core that is refused leaves the plugin
//     alone and never starts a second one beside it.
//   - Sinks are called by one goroutine at a time, in order, and the reader
//     waits for nobody: a sink that is behind is unsubscribed.
//   - A refused change of a plugin's files never ends the one that runs.
//
// Goroutines: Host.Run owns one supervisor a plugin and waits for all. A
// supervisor owns the log tail, the process watcher, the health check and,
// for a driver, reader and writer of the Frames stream and the reader of
// events, and waits for them before the process is brought up again.
// Appenders belong to their callers.
//
// DETACHED.md says what running plugins detached has taught.
package pluginhost
