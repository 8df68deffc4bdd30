// Package bucket keeps the files of one space as objects below a prefix of an
// S3 bucket.
//
//	Space ─▶ client (a deadline and bounded retries for every call) ─▶ minio-go ─▶ server
//	 ├ gate:  calls of the newest epoch only; a newer one ends and awaits the others
//	 ├ Put:   parts of a multipart upload, one in memory; nothing shows before the last
//	 └ count: bytes below the prefix, listed once, then kept up to date
//
// What does not belong here: the protocol (server).
//
// Objects: the file's name behind the prefix; `.space/marker` with the space's
// id, `.space/epoch` with the newest epoch. Nothing else is written.
//
// Invariants:
//   - Every request ends: by its deadline, or with its caller.
//   - A name that is taken is never written over by Put.
//   - Uploads that were not completed are aborted, at the latest by the next
//     epoch's Open.
//   - No key is in a log or an error.
//
// Goroutines: one a space that counts, ended and awaited by Close.
package bucket
