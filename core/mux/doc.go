// Package mux turns access units into parts and describes parts as MP4.
//
// Its one job is the bytes of media: boxes, codec parameters, key frame tests,
// decode times. It does no I/O, starts no goroutine and logs nothing; what an
// operator should know it returns as an Event or counts in Stats.
//
//	AccessUnit + wall (from clock)
//	      │ Writer.Write: gathers and hashes the payload, holds one unit a track
//	      ▼
//	   *media.Part: per track  uuid part header │ moof │ mdat header │ payload
//	      │                    (Head, one pooled buffer)              (pooled buffer)
//	      ├─▶ archive stores Head and Payload as they are (FORMAT.md)
//	      └─▶ hls serves the same bytes; Init makes the matching init segment
//
//	ParsePartHeader, ParseFragment: stored bytes ─▶ header, samples, extents (recovery, rebuild)
//	AppendTrak, AppendMovieHead: what core/mp4 puts its sample tables into
//	AppendTS: units ─▶ a segment of MPEG-TS (ts.go)
//
// What does not belong here: the camera's clock (clock), files and their
// indexes (archive), playlists (hls).
//
// Invariants:
//   - Decode times of a track never overlap and never run backwards, whatever
//     comes in; a sample's duration is at least one tick.
//   - Presentation times are those the caller gave, to the tick, also where a
//     decode time had to be moved (video and data; audio has no offset to
//     carry it, so there the sample moves).
//   - A part's bytes do not change after Write returned it, except through
//     SetDurable before anybody else sees it; they are valid while a reference is held.
//   - The same units and walls give the same bytes.
package mux
