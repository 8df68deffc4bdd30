// Package hls writes HTTP Live Streaming (RFC 8216, protocol version 8) over
// the timeline: multivariant and media playlists of live and of any closed
// range, init segments, and segments as byte ranges of stored files, or made of them.
//
//	timeline.Segments ─▶ media playlist (text, no file is read)
//	timeline.Layout   ─▶ segment = moof + mdat of the tracks HLS can carry, straight from the file, in one
//	                               piece where they are all of it
//	                               (G.711: read and written anew as FLAC, flac.go;
//	                               all of it, where a player asks for MPEG-TS, ts.go)
//
//	timeline.Last     ─▶ Ready, parts of the newest segments: what a player of low latency
//	                               waits for (parts.go; whoever answers it does the waiting)
//
// What is asked for live is made once for all who watch, and again when something was
// recorded (memo.go): 500 viewers of a camera cost 0.09 of a core.
//
// What is served of a stream is its form, a mark in the names (form.go): "" what
// browsers play as it is, -v pictures only, -f with G.711 as FLAC, -k a key frame.
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
//   - A part that was listed never changes; its name is that of its segment and its
//     number. Live lists end at a hole of more than a minute: what lies before is past.
//   - A span that somebody may see (Request.Within) bounds lists, segments and parts alike.
//   - MJPEG and metadata are left out: browsers refuse them in HLS.
//   - Browsers refuse G.711 too; it leaves as FLAC, which loses nothing and costs
//     0.2 ms of CPU for each viewer and second (BenchmarkSegmentG711). What is made
//     is a pure function of what is stored, as everything else.
//   - MPEG-TS is made in memory, of 64 MB a segment at most, 512 MB for all viewers
//     and half of that for recordings, which wait for it; others are refused. Half a
//     megabyte takes 0.3 ms. It carries H.264, H.265, AAC and Opus, and has no parts
//     of low latency.
package hls
