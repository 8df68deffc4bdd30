// Package web is the server's HTTP side: listeners, TLS, limits, the shape of
// errors, and the sending of stored bytes. Its sub-rooms answer: api
// (/api/v1), cpanel (pages), playback (/live, /dvr), titop (/v1/nvr).
//
//	listener ─▶ limits ─▶ fasthttp ─▶ guard (id, panic, log, headers) ─▶ routes of api, cpanel, playback
//	                                                                      │
//	 client ◀── sendfile / write, rolling deadline ◀── timeline.Body ◀────┘
//
// A name of the published interface that is not built is refused by name, with
// what to do instead, before it is called unknown: each room has a table of
// them (Later), and so have the addresses of other servers' interfaces (Foreign).
//
// What does not belong here: listeners that outlive this process (ports opens
// them), playlists (hls), MP4 (mp4), who may play (access), what exists
// (timeline).
//
// Invariants:
//   - Nothing here is waited for by recording.
//   - A response to a slow client is cut when no byte moved for 30 s, however
//     long it may take as a whole.
//   - A panic in a handler answers 500 with an id that the log carries, and
//     harms no other request.
//   - fasthttp reuses its RequestCtx: whatever outlives a handler is copied.
//
// Server.Run owns all goroutines; it returns when the listeners are closed and
// the requests under way have ended or were cut.
package web
