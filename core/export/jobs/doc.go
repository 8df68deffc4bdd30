// Package jobs makes exports in the background: an MP4 of any range, written to
// a folder under its final name when it is whole, with a proof beside it if one
// was asked for.
//
//	Create ─▶ record (queued) ─▶ worker: plan, room ─▶ .ID.part ─ fsync ─▶ .ID.proof.part ─ fsync
//	   ─▶ record (sealed) ─▶ rename, fsync of the folder ─▶ record (done) ─▶ keep is over ─▶ record (expired) ─▶ deleted
//
// The folder holds FILE.mp4, FILE.mp4.proof and .jobs/ID.json, a record for each
// job, replaced as a whole. Records and not a database, because a job and its file
// have to agree: they lie on one disk, are moved, lost and found together, and what
// a person sees there is all there is. There are thousands of them at most; they are
// read once, at the start.
//
// What does not belong here: what an MP4 of a range is made of (mp4), proofs
// (export), who may ask (web/api), which disk is whose (node).
//
// Invariants:
//   - A file under its final name is whole. It was made from what its record says,
//     or the job failed: footage that was deleted or groomed since it was asked for,
//     or while it was read, is a failure that says so.
//   - Whatever a job is killed at, the next start goes on: sealed, it is published;
//     else it begins again, at most mostAttempts times.
//   - Nothing is written that would leave less free than the reserve of a space on the
//     same disk, and nothing beyond max-size. Who recorded first goes first: the worker
//     has the lowest priority that best effort has, hands on what it writes in small
//     steps, and waits while the recording says that its disk is behind.
//   - No name in the folder is replaced that is not the job's own.
//   - The queue, the list and each step are bounded. A cancelled job is answered at once
//     and has stopped writing within a step.
//
// Run owns the worker and the janitor, and waits for them; where the disk hangs that
// they write to, for a few seconds. j.mu is never held while the disk is asked.
package jobs
