// Package inspect says of a stretch of time how much of it should have been
// recorded, how much was, and why the rest is missing. It is pure: what the
// archive tells goes in, sums and sentences come out.
//
//	ranges, gaps of a stream ─▶ Sum ─▶ per hour, day or month: expected, recorded, missing
//	                         └▶ Why ─▶ one sentence about one instant, and where footage is near
//	its capture ─▶ Tail ─▶ gap from the last footage until now, of an outage that goes on
//
// Expected is all time between the stream's first footage and now (or its last
// footage, where nobody records it any more), less what its schedule leaves out
// and what was switched off on purpose. Days are those of the server's zone:
// 23 or 25 hours when the clock is changed. A stream that never had footage is
// expected since it was added. Where a schedule says off nothing is expected,
// whatever went wrong meanwhile, nor while a stream was switched off, nor before
// footage that a rule took, where older is kept.
//
// What does not belong here: the catalogue (archive), schedules (schedule), the
// API's words. No goroutine, no clock.
package inspect
