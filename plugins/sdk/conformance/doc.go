// Package conformance tries a plugin as its host would and says which rules of
// PROTOCOL.md it keeps: `media-server plugin check` prints its report.
//
//	executable ─start, handshake─▶ process ◀─gRPC─ checks, one after the other ─▶ Report
//
// What does not belong here: what a driver's device does, and how good its
// media is; the kit knows the protocol only.
//
// Invariants: a check says what is asked, why, and what to do when it fails;
// all processes it starts are ended before Check returns. Goroutines: one
// reader per Frames connection, ended with it.
package conformance
