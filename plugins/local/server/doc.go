// Package server answers the storage protocol (plugin.proto, Storage) with
// spaces of package space.
//
//	core ══Append══▶ receiver goroutine ─▶ space.Session.Append ─▶ disk
//	     ◀═Written, Synced, Failed══ handler goroutine ◀─ Session.Next
//	core ══unary calls══▶ space, at most 64 of a space at a time
//	core ──side socket──▶ read-only descriptors (SCM_RIGHTS)
//
// What does not belong here: how files are kept (space), the process (main).
//
// Reasons become codes of gRPC so: NO_SPACE and LIMIT ResourceExhausted,
// READ_ONLY PermissionDenied, IO_ERROR and SYNC_FAILED DataLoss, NOT_FOUND
// NotFound, BAD_OFFSET OutOfRange, bad names InvalidArgument, existing names
// AlreadyExists, a space that is not open, is being opened, is gone or stuck
// Unavailable, an Append that another one replaced Aborted. FailedPrecondition
// means STALE_EPOCH and nothing else, because a core that reads it gives up.
//
// Invariants:
//   - A stuck disk stalls calls of its own space only: spaces share no lock
//     that is held during a system call, and calls of a space are bounded, so
//     that threads stuck in the kernel are, too.
//   - A descriptor is handed out only for a space whose file system is local
//     (see space.Space.Local), and is always read-only.
//
// Goroutines: one per open space (space.Run) and one receiver per Append, all
// waited for by Close; the side socket's belong to ServeDescriptors.
package server
