// Package playback answers the playback URLs: /live/<uid>/… and /dvr/<uid>/….
// It reads the URL, asks who may play, lets hls, mp4 and picture plan the
// answer, and sends it.
//
//	/live/<uid>/                    player page
//	/live/<uid>/playlist.m3u8       multivariant playlist ─▶ media.m3u8 ─▶ <ms>-<n>.m4s, init-<id>.mp4
//	                                ?container=ts ─▶ <ms>-<n>.ts
//	                                low latency ─▶ <ms>-<n>.<part>.m4s; _HLS_msn= waits (wait.go)
//	/live/<uid>/sub/…               HLS and pictures of the camera's smaller stream
//	/live/<uid>/preview.jpg, .mp4   newest key frame
//	/live/<uid>/whep                WebRTC: POST of an offer ─▶ 201, whep/<session> (DELETE ends it)
//	/dvr/<uid>/playlist.m3u8        closed range, or until now and on
//	/dvr/<uid>/scrub.m3u8           key frames of a range ─▶ <ms>-<n>-k.m4s
//	/dvr/<uid>/record.mp4           one MP4, exact length, HTTP Range
//	/dvr/<uid>/record.ts            one MPEG-TS, made while it is sent
//	/dvr/<uid>/videoshot.jpg, .mp4  key frame at a time
//	/dvr/<uid>/ranges.json          what is there, what is missing and why
//	/<uid>/index.m3u8 …             names of other servers ─▶ ours (alias.go)
//
// What does not belong here: containers, the catalogue, passwords.
//
// Invariants: an answer's status is real (a playlist that cannot exist is 404,
// never an empty 200); a file outside a stream's footage is never reached,
// because no path is ever built from a URL; no handler blocks recording; what is sent
// ends within two seconds of the right to it (session.go).
//
// Goroutines: Handler.Run, owned by node. Requests that wait for what is to come end
// with Options.Done.
package playback
