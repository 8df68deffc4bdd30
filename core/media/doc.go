// Package media is the vocabulary of the server: tracks, access units, parts,
// segments, runs and wall-clock spans, and the tick arithmetic between them.
//
// It has one job: to give every other room the same words. It does no I/O,
// starts no goroutine, keeps no state and imports nothing of ours.
//
//	camera ─▶ AccessUnit ─▶ Part (per track: uuid + moof + mdat) ─▶ Segment ─▶ file
//	            (Seq, PTS)    ~0.5 s                                 GOP or 10 s
//
// What does not belong here: boxes and codecs (mux), time maps (clock), files
// (archive), settings (config).
//
// Invariants:
//   - A Run is one unbroken capture session. Sequence numbers count access
//     units per run and track, starting at 0, without holes except for units
//     that are truly lost.
//   - Media time is integer ticks of a track's timescale; it is rescaled once,
//     from an absolute value, never by adding rounded durations.
//   - Wall is server time in nanoseconds since the Unix epoch.
package media
