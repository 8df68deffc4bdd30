// Package timeline gives one answer to "what is there between T1 and T2 of
// this stream", over everything that holds footage: the archive, whose newest
// parts are still in memory, and the memory rings of streams that are not
// recorded. Live is the end of it.
//
//	archive ─┐
//	rings  ──┼─▶ Timeline ─▶ hls, mp4, picture ─▶ Body (a plan of bytes and file ranges) ─▶ web
//	peers  ──┘ (with the cluster)
//
//	captures ─tap▶ Reader: frame by frame, from any instant on into live ─▶ rtsp, webrtc
//
//	archive ─▶ Ranges ◀─ node: an outage that goes on (Complete)
//
// A file or a memory ring has the frames of a moment half a second later, when their
// part is whole; a tap of the capture has each as it comes. A Reader goes over from
// the one to the other where both have the same frame.
//
// It also holds what every way out needs: times as URLs write them (when.go)
// and Body, the plan of a response (body.go).
//
// What does not belong here: any protocol or container.
//
// Invariants:
//   - A gap without an end is listed until now and is no segment: playlists end
//     with the last footage.
//   - Answers are snapshots; nothing returned is changed afterwards.
//   - A File taken from here is released by whoever took it, or by the Body
//     that holds it.
//   - No goroutine lives here.
package timeline
