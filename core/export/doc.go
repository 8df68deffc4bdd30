// Package export proves exports: it makes the text beside an exported MP4 that
// says who exported what and why, and leads each exported access unit to the
// signature its recording was given; and it verifies an MP4 against such a
// proof, also one that was cut out of the export afterwards.
//
//	mp4.Movie ─ Taken ─▶ make.go ─ fragments, links, leaves ─▶ proof (PROOF.md)
//	                                                             │
//	FILE ─ samples (movie.go) ─▶ align.go ◀─ lanes, chains ─ read.go
//	                                └─▶ verify.go ─▶ Report ─▶ lines, JSON
//
// What does not belong here: the chain itself and its boxes (archive), what an
// export is made of (mp4), exports made in the background (export/jobs), who may
// ask for a proof (web/api), keys (keys).
//
// Invariants:
//   - A proof is written in one pass over the footage; memory is that of one
//     fragment. Who verifies needs 450 bytes a frame.
//   - What is said of a frame never rests on the server's word alone where its
//     recording was signed; where it was not, the report says so.
//   - A proof without its last line is no proof: an answer cut short shows.
//
// It starts no goroutine: a proof is made by whoever reads it.
package export
