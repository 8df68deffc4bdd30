// Package retain decides which files go, and which keep their key frames only.
// It is pure: facts and rules in, a plan out; archive carries the plan out.
//
//	streams (rules, bytes, oldest files) ─┐
//	                                      ├─▶ Plan ─▶ deletions in order, each with its reason
//	spaces (bytes wanted, oldest files)  ─┘         ─▶ what is still short, which promises break
//	pools (groom-after, whole files)     ───▶ Groom ─▶ groomings in order, each with its gain
//
// What does not belong here: the catalogue, storage, pins, clocks. No goroutine.
//
// Invariants: a locked file never goes and is never groomed; a file goes at most once; the oldest
// of a stream goes before its younger ones; the same input gives the same plan.
package retain
