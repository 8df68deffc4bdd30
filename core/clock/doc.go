// Package clock maps a camera's media time to the server's wall clock, for one
// run. It is pure: no I/O, no goroutine, no reading of any clock; a Map is
// used by one goroutine at a time.
//
//	Observe{PTS, NTP, Received, Mono} ─┬─▶ floor: least Received − PTS of the last minute, per track
//	                                   ├─▶ reports: NTP − PTS, median of five, per track
//	                                   └─▶ Verdict: OK, Step (server clock), Jump (camera's PTS)
//	                      target = floor + alignment
//	Wall(track, PTS) ◀── polyline that follows target at ≤ 500 ppm
//
// Why so. The recording must lie in the right hour, so this server's clock is
// the timeline and the camera's NTP time never sets it. A unit cannot arrive
// before it was captured: the least-delayed arrival is the best bound there
// is, and one unhindered unit in a minute is enough. Sender reports only say
// how the tracks of one camera lie to each other: the track that comes with
// the least delay carries the others (a microphone with a 300 ms buffer).
// Reports that disagree by more than a second are not believed, and the last
// alignment stays. A track without reports stands on its own arrivals.
//
// Invariants:
//   - Wall is a strictly growing function of PTS for one track as long as the
//     verdicts are OK; what has been answered once is answered again (to
//     within a microsecond, for as many seconds back as reordering needs).
//   - |dWall − dPTS| ≤ 500 ppm of dPTS. There is no step within a run.
//   - What is stored of a run does not begin before NotBefore (Start), unless the
//     server's clock was set back so far that holding the time would be a lie
//     (MaxHold). All tracks of a run are held together or not at all. Sound that
//     is found to be older than the first picture may go on where the sound stored
//     before ended (Covered).
//
// Accuracy against the moment of capture plus the least network delay: ±50 ms,
// provided that (1) one unit of the start phase (Settled) and one in each
// minute arrive within 30 ms of that least delay, and (2) the camera's rate is
// within 300 ppm. Where (1) fails at the start, the error is what the first
// units were late by and shrinks by 0.5 ms a second: a step would be worse. A
// caller that may wait therefore asks Settled before it asks for the first Wall,
// and tells Forget as long as it has not used what it was answered.
// Congestion that holds back every unit for longer than a minute moves the
// times by at most 0.5 ms a second while it lasts.
//
// What does not belong here: decode times and ticks (mux), what to do about a
// verdict (stream).
package clock
