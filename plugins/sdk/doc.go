// Package sdk makes a media-server plugin of a Go type: it shakes hands with
// the core, serves protocol v1 (pb/plugin.proto, PROTOCOL.md) and does
// everything about it that is the same for all: runs and sequence numbers,
// the bounded buffer, acknowledgement and resume, epochs, batches, reconnects,
// staying alive without a core for a while, and going by itself after that.
//
//	driver.Capture ─Run.Write─▶ capture log ─▶ sender (one a connection) ══Frames══▶ core
//	  one goroutine a stream    per track,        batches ≤ 100 ms, or       ◀─ Ack frees
//	  reconnect loop            bounded           at once                       the log
//
// What does not belong here: anything about cameras, codecs' contents or
// files; and anything of the core but package media's words.
//
// Invariants:
//   - Run.Write never waits for the core: past its bound the log drops its
//     oldest units and counts them.
//   - What the core has not acknowledged is kept, within the bound; what it
//     says it holds is not sent again.
//   - A unit that was dropped before it was sent never goes unsaid: the core
//     sees a later First position at Subscribe, or OVERFLOW and a new run.
//   - One Frames connection at a time, of the newest epoch seen.
//
// Goroutines: the server owns one per capture (it waits for all of them), and
// gRPC's handler of a Frames call owns that connection's sender.
package sdk
