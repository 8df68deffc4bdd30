// Package cameras is a load of RTSP cameras for measurements: one process that
// plays one pre-encoded clip to any number of TCP sessions, each as a camera of
// its own, for as little CPU as possible.
//
//	ffmpeg ─▶ Clip (RTP packets ready made) ─▶ pacer ─▶ session ─▶ socket
//	                                            │        └ behind: waits, then drops
//	                                            └ heap of due times
//
// Every camera runs freely from the start of the process, at a phase of its
// own, whether anybody is connected or not; a session gets what is due while it
// plays, from any picture on, as from a real camera. Sequence numbers, times
// and the ledger's token are patched into the ready packets. Sender reports
// come a second after PLAY and then every five.
//
// What does not belong here: misbehaving on cue (plugins/sim), other codecs and
// transports (test/camera, GStreamer).
//
// Invariants: a unit is written whole or not at all; what a session does not
// take within Behind bytes is dropped, counted, and not in the sent-ledger; a
// camera is never late because another one's socket is full.
//
// Serve owns all goroutines: one per connection reads, Pacers of them write.
package cameras
