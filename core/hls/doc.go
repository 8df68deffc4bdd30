// Package hls writes HTTP Live Streaming (RFC 8216, protocol version 8) over
// the timeline: multivariant and media playlists of live and of any closed
// range, init segments, and segments as byte ranges of stored files.
//
//	timeline.Segments ─▶ media playlist (text, no file is read)
//	timeline.Layout   ─▶ segment = moof + mdat of the tracks HLS can carry, straight from the file
//
// What does not belong here: HTTP (web), who may play (access), muxing.
//
// Invariants:
//   - Media sequence, discontinuity sequence and URIs come from numbers stored
//     in the media: the same live and later, the same after a restart.
//   - Every segment carries its program date time, from the server's clock.
//   - A hole of at most a minute is EXT-X-GAP segments whose URI still answers
//     (players that ignore the tag fetch it); a longer one is a discontinuity
//     and the next program date time. The stream that records leaves numbers
//     free for the former (media.GapSegments).
//   - G.711, MJPEG and metadata are left out: browsers refuse them in HLS.
package hls
