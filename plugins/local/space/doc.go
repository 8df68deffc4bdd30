// Package space keeps files in one folder: it appends, makes durable, seals,
// lists and deletes. It is the engine of the local storage plugin and knows
// nothing of gRPC, of other spaces or of what the files contain.
//
//	Append(session) ─▶ pwrite ─▶ dirty files ─▶ sync round (interval) ─▶ Synced
//	                      │                        syncfs, or ≤ 16 fdatasync
//	                      └─▶ Written (cumulative, gathered for 25 ms)
//	Seal   ─▶ trim reserve ─▶ fdatasync ─▶ rename; folders go with the next round
//	Write  ─▶ .space/tmp ─▶ fsync ─▶ rename ─▶ fsync of the folders
//
// What does not belong here: the protocol (plugins/local/server), decisions
// what to delete (the core), the meaning of a torn tail (the core).
//
// In the folder, next to the media files:
//
//	.space/marker   JSON: format, version, id (32 hex digits), created, node
//	.space/epoch    one line: node id, space, newest epoch ever opened
//	.space/tmp/     files being written by Write; emptied at Open
//
// The marker is locked (flock) while the space is open, so that two processes,
// or two spaces of one process, never write to the same folder. The kernel
// drops that lock only when a dying process has finished its last system call,
// so a successor that holds the lock knows that no byte of the dead one is
// still to come.
//
// Epochs. A call carries the epoch of the core it comes from. Open with an
// epoch not older than the newest refuses all others first, waits until what
// they have under way has landed, and answers then. The newest epoch is kept
// in .space/epoch, with the node it belongs to, so that an old core is refused
// after the plugin was restarted, too. Epochs of different nodes are not
// compared: a new installation counts from one again. A core that knows a newer
// one than is noted here (Least) has another disk in mind: this folder is an
// older copy of it, and is not written to.
//
// Failures. A message that fails leaves its file as it was: what a short write
// left is cut off, a file made for it is removed. Later messages of that file
// are dropped without a word until one comes whose offset is not past the end.
// When a sync fails the pages may be lost though the kernel calls them clean,
// so the next sync would succeed without them: the file goes back, for the
// purposes of offsets and sealing, to the size that was last known durable,
// and is trusted again only for what is sent again.
//
// Other programs. Each round and each Seal looks whether the growing files are
// still there under their names, and not shorter than what was written: what
// another program has deleted, renamed or cut fails like a message that could
// not be written, and is not appended to any more.
//
// fsync = off says that the operator takes the page cache for durable: Synced
// then follows Written at once and only Write and Sync call fsync.
//
// Invariants:
//   - No name leaves the folder: names are checked, and os.Root resolves them.
//   - Lock order: file.mu before Space.mu; neither is held while the other
//     kind of call (gate, session) waits for a peer.
//   - Written and Synced only grow; a failure is handed out before any Written
//     or Synced that passes it.
//
// Goroutines: none of its own. The owner calls Run, which syncs and, if need
// be, counts what the folder holds; it ends with its context, after a last
// sync. Run must be running for Synced to come.
package space
