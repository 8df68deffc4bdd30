// Package journal keeps what happened: events of all rooms, in journal.db.
//
//	rooms ─Emit─▶ queue (4096, drops the newest) ─▶ Run: batches ≤ 250 ms ─▶ journal.db
//	API   ◀─List (newest first, by cursor)──────────────────────────────────────┤
//	SSE   ◀─Subscribe (behind an id, oldest first)──────────────────────────────┘
//
// What does not belong here: what to do about an event, how it is shown, the
// program's own log lines.
//
// The file is apart from the catalogue so that a long search or a download
// never holds the catalogue's WAL. A subscriber reads the file, too: one that
// is slow costs no memory and misses nothing.
//
// Invariants:
//   - Emit never blocks and never fails; what does not fit is counted and the
//     count becomes an event of its own (journal.dropped).
//   - Ids grow, also over restarts and after deletion; they are given in the
//     order of writing.
//   - A damaged file is put aside as journal.db.damaged and a new one begun: the
//     server must not fail to record because its diary is torn. A file of a
//     newer version is refused.
//
// Goroutines: Run, owned by the caller; one per subscription, ended by its
// stop and waited for by Close.
package journal
