// Package picture gives single pictures of a stream: the newest, and the one
// at a time, each as an MP4 of one key frame. Browsers show it in a <video>
// without any decoder on this side.
//
//	timeline ─▶ mp4.Frame ─▶ Body
//
// What does not belong here: JPEG (a later step: the camera's own snapshot or
// ffmpeg), containers (mp4).
//
// Invariants: a picture shown for a time is never from after a gap before that
// time's own run; nothing is decoded.
package picture
