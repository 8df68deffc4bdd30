// Package mp4 plans record.mp4: one progressive MP4 of any range of a stream,
// of exactly known length before its first byte is sent.
//
//	segments of the range ─▶ per file: which samples (cut.go) ─▶ sizes of all tables (count.go)
//	   ─▶ ftyp, moov (tables made while they are sent: tables.go, keep.go), mdat = the stored bytes as they are
//
// The mdat is made of ranges of the stored files, verbatim; the headers
// between fragments are dead bytes in it (about 1 %), and chunk offsets point
// past them. So media goes from file to socket by sendfile, and the tables of a
// long recording are never held in memory as a whole: what is kept of them
// between two passes over its indexes is 4 MB at most.
//
// What does not belong here: HTTP, codecs (mux writes sample entries).
//
// Invariants:
//   - The output is a pure function of the range and the files: the same
//     request gives the same bytes, and Range requests fit together.
//   - Playback begins at the key frame at or before the asked time; frames are
//     taken up to the asked end by decode time.
//   - A hole is bridged by the last sample before it: the picture stands still
//     (see bridge for why it is not an empty edit). Wall-clock time of any
//     sample = start + its presentation time, but of what was recorded at a time
//     that the server's clock showed twice: that follows what was recorded first (later).
//   - Parameters that change give further sample entries of the same track.
package mp4
