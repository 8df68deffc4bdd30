// Package stream is one stream's life: capture, time, muxing, and handing
// parts to the recorder or to a memory ring.
//
//	Driver ─Opened/Units/Closed─▶ Stream ─▶ clock.Map ─▶ mux.Writer ─▶ parts ─┬▶ Recorder (archive)
//	   ▲                                                       │               └▶ Ring (not recorded)
//	   │                                                       └▶ Tap: each unit as it comes, for who watches live
//	   └────────────── Ack ◀── durable in storage (or received, where nothing is recorded)
//
// What does not belong here: the driver's process (pluginhost implements
// Driver), files (archive implements Recorder), protocols.
//
// Invariants:
//   - Everything a Sink method does happens on the driver process's one reader
//     goroutine and never blocks: a payload is copied once, into its part.
//   - A unit is taken at most once: what the run already holds is dropped by
//     its sequence number, so a driver may send again as it likes.
//   - A part the recorder refuses (it is behind) ends the taking of units; the
//     capture goes on in the driver's buffer and is taken up behind the last
//     part that the archive holds.
//   - Where a run ends, why it ended is kept: the hole in front of the next run
//     carries that cause.
//   - Who watches (Tap) is never waited for: a viewer that is behind its bound loses
//     whole groups of pictures.
//
// A Stream starts no goroutine. Tick is called twice a second by whoever owns
// it; its methods are safe for concurrent use.
package stream
