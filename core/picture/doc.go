// Package picture gives single pictures of a stream: the newest, and the one
// at a time, each as an MP4 of one key frame, which browsers show in a <video>
// without any decoder on this side, or as a JPEG.
//
//	timeline ─▶ mp4.Frame ─┬─────────────▶ MP4
//	                       ├─ of MJPEG ──▶ JPEG: the frame is one
//	                       └─ else still ▶ JPEG
//
// What does not belong here: containers (mp4), decoding (still), HTTP.
//
// Invariants:
//   - A picture shown for a time is never from after a gap before that time's own
//     run.
//   - Nothing is decoded, nor needs anything else than the footage, but for a JPEG
//     of a coding that is not MJPEG, or a smaller one.
//   - A tag names the same bytes for good, but for another ffmpeg's.
package picture
